"""The recurrent encoder-decoder with attention: by hand, against PyTorch, and its invariants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from parity import close, randomized
from torch import Tensor, nn

from tfbook.attention import AdditiveAttention, MultiplicativeAttention
from tfbook.models.recurrent_attention import AttendingGRU

BATCH, N_S, N_T, D_HIDDEN, D_EMBEDDING, SOURCE, TARGET = 3, 7, 5, 4, 2, 11, 13
LENGTHS = torch.tensor([7, 4, 1])


def made(attention: nn.Module | None = None) -> AttendingGRU:
    return randomized(
        AttendingGRU(
            attention or AdditiveAttention(D_HIDDEN, 2 * D_HIDDEN, 3),
            source_vocab_size=SOURCE,
            target_vocab_size=TARGET,
            d_embedding=D_EMBEDDING,
            d_hidden=D_HIDDEN,
        ),
        torch.float32,
    )


def inputs() -> tuple[Tensor, Tensor]:
    return torch.randint(0, SOURCE, (BATCH, N_S)), torch.randint(0, TARGET, (BATCH, N_T))


def test_encoder_is_the_bidirectional_gru_of_torch() -> None:
    model, (source, _) = made(), inputs()
    theirs = nn.GRU(D_EMBEDDING, D_HIDDEN, batch_first=True, bidirectional=True)
    state = {}
    for name, suffix in (("forward_encoder", ""), ("backward_encoder", "_reverse")):
        for key, value in getattr(model, name).state_dict().items():
            state[key + suffix] = value
    theirs.load_state_dict(state)
    packed = nn.utils.rnn.pack_padded_sequence(
        model.source_embedding(source), LENGTHS.cpu(), batch_first=True
    )
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    got = model.encode(source, source_lengths=LENGTHS)
    for row, n in enumerate(LENGTHS.tolist()):
        close(got[row, :n], expected[row, :n])


def test_one_row_alone_gives_what_it_gives_in_a_padded_batch() -> None:
    model, (source, target) = made(), inputs()
    together = model(source, target, source_lengths=LENGTHS)
    for row, n in enumerate(LENGTHS.tolist()):
        close(together[row], model(source[[row], :n], target[[row]])[0])
    changed = source.clone()
    changed[1, 4:] = 0
    close(together[1], model(changed, target, source_lengths=LENGTHS)[1])


def test_a_step_by_hand() -> None:
    model, (source, target) = made(), inputs()
    context = model.encode(source)
    cell = nn.GRUCell(D_EMBEDDING, D_HIDDEN)
    cell.load_state_dict({k[: -len("_l0")]: v for k, v in model.decoder.state_dict().items()})
    state = torch.tanh(context[:, 0, D_HIDDEN:] @ model.start.weight.T + model.start.bias)
    logits = model(source, target)
    rows = model.alignment(source, target)
    for step in range(N_T):
        state = cell(model.target_embedding(target[:, step]), state)
        part = model.attention
        features = torch.tanh(part.w_q(state)[:, None] + part.w_k(context))
        weights = (features @ part.w_score.weight[0]).softmax(dim=-1)
        close(rows[:, step], weights)
        both = torch.cat([(weights[..., None] * context).sum(1), state], dim=-1)
        close(logits[:, step], model.output(torch.tanh(model.read(both))))


def test_the_future_does_not_leak() -> None:
    model, (source, target) = made(), inputs()
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] + 1) % TARGET
    before, after = model(source, target), model(source, changed)
    close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_takes_another_attention_and_trains() -> None:
    w = nn.Linear(D_HIDDEN, 2 * D_HIDDEN, bias=False)
    model, (source, target) = made(MultiplicativeAttention(w)), inputs()
    model(source, target, source_lengths=LENGTHS).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    rows = model.alignment(source, target, source_lengths=LENGTHS)
    close(rows.sum(-1), torch.ones(BATCH, N_T))
    assert (rows[1, :, 4:] == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s, t: m(s, t[:, :0]), r"target_ids has shape \(3, 0\).*begin token"),
        (lambda m, s, t: m(s, t[:1]), "target_ids has batch 1 and context 3"),
        (lambda m, s, t: m(s, t, source_lengths=torch.tensor([7])), "one length per sequence"),
        (lambda m, s, t: m(s, t, source_lengths=torch.tensor([7, 8, 1])), "8"),
        (lambda m, s, t: m.encode(s, source_lengths=torch.tensor([7])), "one length per sequence"),
        (lambda m, s, t: m.states(t[:, :0], m.encode(s)), "at least one position"),
        (lambda m, s, t: m.alignment(s, t[:1]), "target_ids has batch 1 and context 3"),
    ],
)
def test_bad_input(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(made(), *inputs())


@pytest.mark.parametrize(
    "name", ["source_vocab_size", "target_vocab_size", "d_embedding", "d_hidden"]
)
def test_bad_sizes(name: str) -> None:
    sizes = dict(source_vocab_size=2, target_vocab_size=3, d_embedding=5, d_hidden=7)
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        AttendingGRU(nn.Identity(), **{**sizes, name: 0})
