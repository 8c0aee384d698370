from typing import Any

import pytest
import torch
from hugging_face import copy_gpt2
from measuring import allocated_bytes
from parity import close, randomized
from tiny import VOCAB, causal_lm, stack
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from tfbook.models import CausalLM, CausalLMConfig

B, N = 3, 7


def ids(n: int = N) -> Tensor:
    return torch.randint(0, VOCAB, (B, n))


def gpt2(dtype: torch.dtype) -> tuple[CausalLM, GPT2LMHeadModel]:
    """A pre-norm model with GELU is GPT-2; its linear weights are transposed and fused."""
    decoder = stack(placement="pre", activation="gelu", n_layers=3)
    ours = causal_lm(dtype, decoder=decoder)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=19,
        n_embd=22,
        n_layer=3,
        n_head=2,
        n_inner=13,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=1,
    )
    theirs = GPT2LMHeadModel(config).to(dtype).eval()
    body = theirs.transformer
    body.wte.weight.data = ours.embedding.weight.data.clone()
    theirs.lm_head.weight = body.wte.weight
    body.wpe.weight.data = ours.embedding.positions.table.data.clone()
    body.ln_f.load_state_dict(ours.decoder.final_norm.state_dict())
    for block, layer in zip(ours.decoder.blocks, body.h, strict=True):
        copy_gpt2(block, layer)
    return ours, theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pre_norm_model_is_gpt_2(dtype: torch.dtype) -> None:
    ours, theirs = gpt2(dtype)
    tokens = ids()
    close(ours(tokens), theirs(tokens).logits)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_the_future_does_not_leak(placement: str, positions: str) -> None:
    model = causal_lm(decoder=stack(placement=placement), positions=positions)
    tokens = ids()
    logits = model(tokens)
    for t in range(1, N):
        changed = tokens.clone()
        changed[:, t:] = (changed[:, t:] + 1) % VOCAB
        assert model(changed)[:, :t].equal(logits[:, :t])
    embedded: list[Tensor] = []
    model.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    out = model(tokens)
    (gradient,) = torch.autograd.grad((out[0, 3] * torch.arange(VOCAB)).sum(), embedded[0])
    seen = gradient[0].abs().sum(dim=-1) > 0
    assert seen.tolist() == [i <= 3 for i in range(N)]


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("pieces", [[1] * N, [4, 3], [2, 1, 4]])
def test_cached_equals_uncached(pieces: list[int], positions: str) -> None:
    decoder = stack(placement="pre", n_kv_heads=1)
    model = causal_lm(torch.float64, decoder=decoder, positions=positions)
    tokens = ids()
    cache = model.new_cache(B, N)
    outputs = [model(piece, cache=cache) for piece in tokens.split(pieces, dim=1)]
    close(torch.cat(outputs, dim=1), model(tokens))


def test_a_prompt_padded_on_the_left_equals_one_that_is_not() -> None:
    model = causal_lm(torch.float64)
    tokens = ids(5)
    padded = torch.cat([torch.zeros(B, 2, dtype=torch.int64), tokens], dim=1)
    mask = (torch.arange(7) >= 2)[None, None, None].expand(B, 1, 1, 7)
    positions = (torch.arange(7) - 2).clamp(min=0)
    close(model(padded, mask=mask, positions=positions)[:, 2:], model(tokens))


def test_without_positions_order_still_shows_through_causality() -> None:
    model = causal_lm(torch.float64, positions="none")
    tokens = ids()
    swapped = tokens[:, [1, 0, *range(2, N)]]
    # The last token sees the same set; the order of what it sees reaches it by the second layer.
    assert (model(tokens)[:, -1] - model(swapped)[:, -1]).abs().max() > 1e-3


def test_options() -> None:
    tied, untied = causal_lm(), causal_lm(tie_output=False)
    assert tied.head.weight is tied.embedding.weight
    assert untied.head.weight is not untied.embedding.weight
    assert tied.embedding.scale == 1.0
    assert causal_lm(scaled_embeddings=True).embedding.scale == 22**0.5


def test_bfloat16() -> None:
    model = causal_lm()
    tokens = ids()
    expected = model(tokens)
    logits = model.bfloat16()(tokens)
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).abs().mean() < 0.05


def test_the_cache_has_the_models_dtype() -> None:
    assert causal_lm(torch.bfloat16).new_cache(1, 2).keys.dtype == torch.bfloat16


def test_training_learns_a_copying_task() -> None:
    """The next token is the one before the last: attention must look back."""
    model = randomized(CausalLM(CausalLMConfig(vocab_size=VOCAB, decoder=stack(placement="pre"))))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    tokens = torch.randint(0, VOCAB, (16, 2)).repeat(1, 4)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(
            model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(ids=torch.full((B, N), VOCAB)), r"ids=31…31 must lie in \[0, vocab_size=31\)"),
        (dict(ids=torch.zeros(B, 20).long()), "ids reaches length 20, beyond .*max_length=19"),
        (dict(ids=torch.zeros(N).long()), r"add the batch axis with ids\[None\]"),
        (dict(ids=torch.zeros(B, 0).long()), "with n at least 1|both at least 1"),
        (dict(ids=ids(), positions=torch.arange(N) + 13), r"positions=13…19 must lie in \[0"),
        (dict(ids=ids(), positions=torch.tensor([3])), r"positions has shape \(1,\)"),
        (dict(ids=ids(), mask=torch.ones(N, N)), "mask has dtype torch.float32"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    model = causal_lm()
    assert isinstance(model, CausalLM)
    arguments = {k: v.to(model.head.weight.device) for k, v in arguments.items()}
    with pytest.raises(ValueError, match=message):
        model(arguments.pop("ids"), **arguments)


def test_a_full_cache() -> None:
    model = causal_lm()
    assert isinstance(model, CausalLM)
    cache = model.new_cache(B, 4)
    model(ids(3), cache=cache)
    with pytest.raises(RuntimeError, match="holds 3 of max_length=4 tokens and has no room for 2"):
        model(ids(2), cache=cache)
    assert cache.length == 3
    with pytest.raises(ValueError, match="ids reaches length 20"):
        model(ids(17), cache=cache)
    with pytest.raises(ValueError, match="max_length=0 must be at least 1"):
        model.new_cache(B, 0)


def test_the_head_for_the_last_tokens_alone() -> None:
    model, tokens = causal_lm(torch.float64), ids()
    whole = model(tokens)
    assert model(tokens, last=2).equal(whole[:, -2:])
    assert model(tokens, last=N).equal(whole)
    called: list[int] = []
    model.head.register_forward_hook(lambda *call: called.append(call[1][0].shape[1]))
    cache = model.new_cache(B, N)
    close(model(tokens, cache=cache, last=1), whole[:, -1:])
    assert called == [1]
    for last in (0, N + 1):
        with pytest.raises(ValueError, match=rf"last={last} must lie in \[1, 7\]"):
            model(tokens, last=last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_last_tokens_of_a_batch_do_not_copy_the_table_for_every_row(
    dtype: torch.dtype,
) -> None:
    config = CausalLMConfig(vocab_size=20_011, decoder=stack(), max_length=13)
    model = CausalLM(config).to(dtype).eval().requires_grad_(False)
    batch = torch.ones(7, 11, dtype=torch.int64)
    assert allocated_bytes(lambda: model(batch, last=1)) < 3 * model.head.weight.nbytes


@pytest.mark.parametrize("pieces", [[1] * 9, [4, 5], [9]])
@pytest.mark.parametrize("window", [None, 3])
def test_padding_told_to_the_cache(pieces: list[int], window: int | None) -> None:
    """Rows of different lengths, each as if it were alone; chunks equal one pass."""
    decoder = stack(placement="pre", n_kv_heads=1, window=window)
    model = causal_lm(torch.float64, decoder=decoder)
    tokens, padding = ids(9), torch.tensor([0, 4, 2])
    cache = model.new_cache(B, 9, padding=padding)
    outputs = [model(piece, cache=cache) for piece in tokens.split(pieces, dim=1)]
    logits = torch.cat(outputs, dim=1)
    for row, n in enumerate(padding.tolist()):
        close(logits[row : row + 1, n:], model(tokens[row : row + 1, n:]))
    # The table of positions is long enough for every row without its padding.
    longer = model.new_cache(1, 21, padding=torch.tensor([2]))
    model(torch.zeros(1, 21, dtype=torch.int64), cache=longer)
    with pytest.raises(ValueError, match=r"padding=\[21\] must lie in \[0, max_length=21\)"):
        model.new_cache(1, 21, padding=torch.tensor([21]))


def test_crop_and_repeat_continue_as_if_nothing_had_been() -> None:
    model, tokens = causal_lm(torch.float64, decoder=stack(placement="pre", window=4)), ids(9)
    cache = model.new_cache(B, 9, spare=3)
    model(tokens[:, :7], cache=cache)
    cache.crop(5)
    twice = cache.repeat(2)
    close(model(tokens[:, 5:], cache=cache), model(tokens)[:, 5:])
    doubled = tokens.repeat_interleave(2, dim=0)
    close(model(doubled[:, 5:], cache=twice), model(doubled)[:, 5:])
