"""Perplexity with windows and strides, per token, per character and per byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from tfbook.evaluation import TextScore, perplexity, token_losses
from tfbook.models import CausalLM, CausalLMConfig, StackConfig

VOCAB = 11


class Table(nn.Module):
    """A bigram model: the logits depend on the last token alone."""

    def __init__(self, vocab_size: int = VOCAB) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.logits = nn.Parameter(torch.randn(vocab_size, vocab_size, generator=generator))

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits[ids]


class Watch(nn.Module):
    """Makes the loss of a token say how many tokens were read before it: ln(1 + 2 / n_read)."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, ids: Tensor) -> Tensor:
        self.shapes.append(tuple(ids.shape))
        n_read = torch.arange(1, ids.shape[1] + 1).double()
        logits = torch.zeros(*ids.shape, 3, dtype=torch.float64)
        logits[..., 1] = n_read.log()
        return logits


def contexts(n: int, prompt: int, window: int, stride: int, batch_tokens: int = 64) -> list[int]:
    """How many tokens were read before each of ``n`` tokens."""
    losses = token_losses(
        Watch(), [1] * n, prompt=[0] * prompt, window=window, stride=stride,
        batch_tokens=batch_tokens,
    )  # fmt: skip
    return [round(2 / math.expm1(loss)) for loss in losses.tolist()]


def tiny_model() -> CausalLM:
    stack = StackConfig(d_model=12, n_heads=3, d_ff=20, n_layers=2, placement="pre", dropout_p=0.0)
    torch.manual_seed(0)
    config = CausalLMConfig(vocab_size=VOCAB, decoder=stack, max_length=37, positions="rotary")
    model = CausalLM(config).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def some_ids(n: int, seed: int = 0) -> list[int]:
    return torch.randint(VOCAB, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_by_hand() -> None:
    # From token 0 the next is 0, 1 or 2 with probability 1/2, 1/4, 1/4; from 1 always 1/3.
    table = torch.tensor([[0.5, 0.25, 0.25], [1 / 3] * 3, [1 / 3] * 3]).log()
    score = perplexity(lambda ids: table[ids], [1, 2], "añb", prompt=[0], window=2, stride=1)
    assert score.nats == pytest.approx(math.log(12), rel=1e-6)
    assert (score.n_tokens, score.n_characters, score.n_bytes) == (2, 3, 4)
    assert score.perplexity == pytest.approx(12 ** (1 / 2), rel=1e-6)
    assert score.perplexity_per_character == pytest.approx(12 ** (1 / 3), rel=1e-6)
    assert score.perplexity_per_byte == pytest.approx(12 ** (1 / 4), rel=1e-6)
    assert score.nats_per_token == pytest.approx(math.log(12) / 2, rel=1e-6)
    assert score.bits_per_token == pytest.approx(math.log2(12) / 2, rel=1e-6)
    assert score.bits_per_character == pytest.approx(math.log2(12) / 3, rel=1e-6)
    assert score.bits_per_byte == pytest.approx(math.log2(12) / 4, rel=1e-6)


@pytest.mark.parametrize("vocab_size", [2, 7, 64])
def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(vocab_size: int) -> None:
    score = perplexity(
        lambda ids: torch.full((*ids.shape, vocab_size), 3.0), [1, 0, 1, 1, 0], "abcde",
        prompt=[0], window=3,
    )  # fmt: skip
    assert score.perplexity == pytest.approx(vocab_size, rel=1e-6)


def test_equals_the_chain_rule_when_the_text_fits() -> None:
    model, prompt, ids = tiny_model(), some_ids(3, seed=1), some_ids(13)
    row = prompt + ids
    one_by_one = [
        -model(torch.tensor([row[:t]]))[0, -1].log_softmax(-1)[row[t]].item()
        for t in range(len(prompt), len(row))
    ]
    for window in (15, 16, 31):
        losses = token_losses(model, ids, prompt=prompt, window=window)
        torch.testing.assert_close(losses, torch.tensor(one_by_one, dtype=torch.float64))


def test_equals_the_loss_of_hugging_face() -> None:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_embd=12,
        n_head=3,
        n_layer=2,
        n_positions=31,
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs = GPT2LMHeadModel(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    row = torch.tensor(some_ids(23))
    with torch.no_grad():
        loss = theirs(row[None], labels=row[None]).loss.item()
    score = perplexity(lambda ids: theirs(ids).logits, row[1:], "x" * 22, prompt=row[:1], window=31)
    assert loss > 1
    assert score.nats_per_token == pytest.approx(loss, rel=1e-5)


def test_stride_one_gives_every_token_a_full_window() -> None:
    model, prompt, ids, window = tiny_model(), some_ids(2, seed=1), some_ids(19), 7
    row = prompt + ids
    expected = [
        -model(torch.tensor([row[max(0, t - window) : t]]))[0, -1].log_softmax(-1)[row[t]].item()
        for t in range(len(prompt), len(row))
    ]
    losses = token_losses(model, ids, prompt=prompt, window=window, stride=1, batch_tokens=29)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))
    assert contexts(19, 2, window, 1) == [2, 3, 4, 5, 6] + [7] * 14


def test_windows_side_by_side() -> None:
    assert contexts(10, 1, window=4, stride=4) == [1, 2, 3, 4, 1, 2, 3, 4, 3, 4]
    assert contexts(10, 1, window=4, stride=2) == [1, 2, 3, 4, 3, 4, 3, 4, 3, 4]


def test_a_long_prompt_is_cut_at_its_beginning() -> None:
    assert contexts(5, 9, window=4, stride=2) == [4, 3, 4, 3, 4]
    table = Table()
    short = token_losses(table, [3, 4], prompt=[5], window=3)
    torch.testing.assert_close(short, token_losses(table, [3, 4], prompt=[7] * 9 + [5], window=3))


@given(
    n=st.integers(1, 40), prompt=st.integers(1, 9), window=st.integers(1, 12), data=st.data(),
    batch_tokens=st.integers(1, 50),
)  # fmt: skip
def test_every_token_is_scored_once_with_enough_context(
    n: int, prompt: int, window: int, data: st.DataObject, batch_tokens: int
) -> None:
    stride = data.draw(st.integers(1, window))
    ids, before = some_ids(n), some_ids(prompt, seed=1)
    table = Table()
    losses = token_losses(
        table, ids, prompt=before, window=window, stride=stride, batch_tokens=batch_tokens
    )
    # A model that reads one token back gives the same losses for every window and stride.
    log_p = table.logits.log_softmax(-1).double()
    pairs = zip([before[-1], *ids], ids, strict=False)
    expected = torch.tensor([-log_p[a, b].item() for a, b in pairs], dtype=torch.float64)
    torch.testing.assert_close(losses, expected)
    seen = contexts(n, prompt, window, stride, batch_tokens)
    assert all(min(window - stride + 1, prompt + t) <= c <= window for t, c in enumerate(seen))


def test_batches_hold_no_more_than_they_may() -> None:
    model = Watch()
    token_losses(model, [1] * 40, prompt=[0], window=8, stride=4, batch_tokens=17)
    assert all(rows * n <= 17 for rows, n in model.shapes)
    assert sum(rows for rows, _ in model.shapes) == 9


def test_half_precision_logits_are_scored_in_single() -> None:
    table = Table()
    whole = perplexity(table, some_ids(9), "x", prompt=[0], window=4)
    half = perplexity(lambda ids: table(ids).bfloat16(), some_ids(9), "x", prompt=[0], window=4)
    assert half.nats == pytest.approx(whole.nats, rel=1e-2)
    assert half.nats != whole.nats


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": []}, "ids is empty, but must hold at least one token"),
        ({"text": ""}, "text is empty; give the text that ids stand for"),
        ({"prompt": []}, "prompt is empty, but must hold at least one token; give the begin"),
        ({"ids": torch.zeros(2, 3).long()}, r"ids has shape \(2, 3\)"),
        ({"ids": torch.zeros(3)}, "ids has shape .* and dtype torch.float32"),
        ({"ids": [3, VOCAB]}, r"ids=3…11 must lie in \[0, vocab=11\)"),
        ({"ids": [3.9, 4.2]}, r"ids=\[3.9, 4.2\] must be one row of integers; encode the text"),
        ({"ids": "ab"}, "ids='ab' must be one row of integers"),
        ({"ids": None}, "ids=None must be one row of integers"),
        ({"ids": [[3, 4]]}, r"ids=\[\[3, 4\]\] must be one row of integers; .* one text at a time"),
        ({"ids": [3, 1 << 70]}, "ids=.* must be one row of integers"),
        ({"prompt": 0}, "prompt=0 must be one row of integers"),
        ({"prompt": "a"}, "prompt='a' must be one row of integers"),
        ({"text": b"ab"}, "text=b'ab' must be a string; give the text that ids stand for"),
        ({"text": None}, "text=None must be a string"),
        ({"window": "4"}, "window='4' must be an integer; give a number of tokens"),
        ({"window": 4.0}, "window=4.0 must be an integer"),
        ({"stride": 1.5}, "stride=1.5 must be an integer"),
        ({"batch_tokens": None}, "batch_tokens=None must be an integer"),
        ({"window": 0}, "window=0 must be at least 1"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be at least 1"),
        ({"stride": 0}, r"stride=0 must lie in \[1, window=4\]"),
        ({"stride": 5}, r"stride=5 must lie in \[1, window=4\]; a longer one"),
    ],
)
def test_bad_input(changed: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {"ids": [3, 4], "text": "ab", "prompt": [0], "window": 4}
    arguments = {**usual, **changed}
    with pytest.raises(ValueError, match=message):
        perplexity(Table(), **arguments)  # type: ignore[arg-type]
    del arguments["text"]
    if "text" not in changed:
        with pytest.raises(ValueError, match=message):
            token_losses(Table(), **arguments)  # type: ignore[arg-type]


# numpy's numbers are none of the types that the signatures name.
@pytest.mark.unchecked_shapes
def test_integers_of_every_kind_are_ids() -> None:
    expected = token_losses(Table(), [3, 4], prompt=[0], window=4)
    row = np.array([3, 4])
    for ids in (row, list(row), list(torch.tensor([3, 4])), torch.tensor(row, dtype=torch.int16)):
        assert token_losses(Table(), ids, prompt=row[:1] * 0, window=np.int64(4)).equal(expected)


def test_surrogates_count_as_the_tokenizers_read_them() -> None:
    def counts(text: str) -> tuple[int, int]:
        score = perplexity(Table(), [3, 4], text, prompt=[0], window=4)
        return score.n_characters, score.n_bytes

    assert counts("a\ud800") == counts("a\ufffd") == (2, 4)
    assert counts("\ud83d\ude00!") == counts("😀!") == (2, 5)


def test_the_text_is_looked_at_before_the_model_reads() -> None:
    model = Watch()
    for text in ("", 3):
        with pytest.raises(ValueError, match="text"):
            perplexity(model, [1, 2], text, prompt=[0], window=4)  # type: ignore[arg-type]
    assert model.shapes == []


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_logits_without_a_distribution(bad: float) -> None:
    def broken(ids: Tensor) -> Tensor:
        return torch.full((*ids.shape, VOCAB), bad)

    with pytest.raises(ValueError, match=r"2 of 2 losses are NaN; look for NaN or infinity"):
        perplexity(broken, [3, 4], "ab", prompt=[0], window=4)


def test_an_impossible_token_costs_infinity() -> None:
    def never_four(ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, VOCAB).index_fill(-1, torch.tensor(4), -math.inf)

    score = perplexity(never_four, [3, 4], "ab", prompt=[0], window=4)
    assert score.nats == score.perplexity == score.bits_per_byte == math.inf


def test_perplexities_beyond_every_float_are_infinite() -> None:
    def sure(ids: Tensor) -> Tensor:
        return 1000.0 * nn.functional.one_hot(torch.zeros_like(ids), VOCAB)

    score = perplexity(sure, [3, 4], "ab", prompt=[0], window=4)
    assert score.nats == pytest.approx(2000)
    assert score.perplexity == score.perplexity_per_character == score.perplexity_per_byte
    assert score.perplexity == math.inf
    assert score.nats_per_token == pytest.approx(1000)


def test_counts_below_one() -> None:
    with pytest.raises(ValueError, match="n_bytes=0 must be at least 1"):
        TextScore(nats=1.0, n_tokens=1, n_characters=1, n_bytes=0)
