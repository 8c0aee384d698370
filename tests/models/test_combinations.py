"""Any parts go together, but for those that stand in one list: built, trained, decoded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from parity import close, randomized
from repository import ROOT

from tfbook.models import (
    CausalLM,
    CausalLMConfig,
    RotaryConfig,
    ScalingConfig,
    StackConfig,
    TextEncoder,
    TextEncoderConfig,
)
from tfbook.models.combinations import ILLEGAL, require_legal
from tfbook.models.config import NORMS, PLACEMENTS, POSITIONS
from tfbook.models.stacks import build_decoder, build_encoder

VOCAB, N = 11, 5
HEADS: dict[str, dict[str, Any]] = {"full": {}, "grouped": {"n_kv_heads": 1}}
FEED_FORWARDS: dict[str, dict[str, Any]] = {
    "plain": {"activation": "squared_relu"},
    "gated": {"feed_forward": "gated", "activation": "silu", "bias": False},
    "low rank": {"feed_forward": "low_rank", "feed_forward_rank": 2, "activation": "gelu_tanh"},
    "chunked": {"feed_forward_chunk": 2, "activation": "gelu"},
    "shared": {"share_feed_forward": True},
}
LEAKS = {norm for illegal in ILLEGAL for norm in illegal.choices.get("norm", ())}
# Three heads are no power of two; one layer is enough where nothing is shared.
SIZES = {"d_model": 12, "n_heads": 3, "d_ff": 5, "dropout_p": 0.0}


def stack(heads: str, feed_forward: str, norm: str, placement: str) -> StackConfig:
    choices = {**HEADS[heads], **FEED_FORWARDS[feed_forward]}
    n_layers = 2 if feed_forward == "shared" else 1
    return StackConfig(**SIZES, n_layers=n_layers, norm=norm, placement=placement, **choices)


def causal_lm(config: StackConfig, positions: str) -> CausalLM:
    tied = positions != "concatenated"
    return CausalLM(
        CausalLMConfig(
            vocab_size=VOCAB, decoder=config, positions=positions, max_length=16, tie_output=tied
        )
    )


def text_encoder(config: StackConfig, positions: str) -> TextEncoder:
    return TextEncoder(
        TextEncoderConfig(vocab_size=VOCAB, encoder=config, positions=positions, max_length=16)
    )


def train_a_step(model: torch.nn.Module, ids: torch.Tensor) -> None:
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    model(ids).sin().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
    optimizer.step()
    moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2


def decode_with_a_cache(model: CausalLM, ids: torch.Tensor) -> None:
    model.eval()
    with torch.no_grad():
        whole = model(ids)
        cache = model.new_cache(batch=len(ids), max_length=N)
        parts = [model(ids[:, s], cache=cache) for s in (slice(0, 2), slice(2, 3), slice(3, N))]
    size = whole.abs().max()
    assert size > 1e-3, "the outputs vanish: their agreement means nothing"
    close(torch.cat(parts, dim=1) / size, whole / size)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_every_combination_trains_and_decodes(positions: str, norm: str) -> None:
    ids = torch.randint(VOCAB, (2, N))
    for heads, feed_forward, placement in itertools.product(HEADS, FEED_FORWARDS, PLACEMENTS):
        config = stack(heads, feed_forward, norm, placement)
        build = text_encoder if norm in LEAKS else causal_lm
        model = randomized(build(config, positions))
        train_a_step(model, ids)
        if isinstance(model, CausalLM):
            decode_with_a_cache(model, ids)


@pytest.mark.parametrize("illegal", ILLEGAL, ids=lambda i: "-".join(i.choices))
def test_what_does_not_go_together_raises(illegal: Any) -> None:
    for field, values in illegal.choices.items():
        for value in values:
            config = StackConfig(**SIZES, n_layers=1, **{field: value})
            cross_attention = bool(illegal.cross_attention)
            with pytest.raises(ValueError, match=f"{field}='{value}' does not work in this stack"):
                build_decoder(config, cross_attention=cross_attention)
            with pytest.raises(ValueError, match=f"{field}='{value}' does not work in this stack"):
                require_legal(
                    config, positions="none", causal=True, cross_attention=cross_attention
                )
            build_encoder(config)


def test_rotary_settings_need_rotary_positions() -> None:
    config = StackConfig(**SIZES, n_layers=1, rotary=RotaryConfig(d_rotary=2))
    with pytest.raises(ValueError, match="turns nothing with positions='learned'; give position"):
        require_legal(config, positions="learned", causal=True, cross_attention=False)
    with pytest.raises(ValueError, match="turns nothing with positions='none'"):
        build_encoder(config)
    build_decoder(config, positions="rotary_interleaved", cross_attention=False)


OPTIONS: dict[str, dict[str, Any]] = {
    "wide heads": {"head_width": 6},
    "a window": {"window": 2},
    "some biases": {"bias": False, "output_bias": True},
    "part of each head": {"rotary": RotaryConfig(d_rotary=2, base=9.0)},
    "scaled": {"rotary": RotaryConfig(scaling=ScalingConfig(kind="yarn", factor=2.0))},
    "epsilon": {"norm_eps": 0.1},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains_and_decodes_and_does_something(option: str) -> None:
    ids = torch.randint(VOCAB, (2, N))
    for placement in PLACEMENTS:
        sizes = {**SIZES, "n_layers": 2, "placement": placement, "n_kv_heads": 1}
        model = randomized(causal_lm(StackConfig(**sizes, **OPTIONS[option]), "rotary"))
        plain = causal_lm(StackConfig(**sizes), "rotary").eval()
        try:
            plain.load_state_dict(model.state_dict())
        except RuntimeError:  # other parameters
            assert option in ("wide heads", "some biases")
        else:
            assert (plain(ids) - model(ids)).abs().max() > 1e-3
        train_a_step(model, ids)
        decode_with_a_cache(model, ids)


def test_a_window_hides_what_is_before_it() -> None:
    """Two layers with a window of two: a token reaches two further, and no more."""
    config = StackConfig(**SIZES, n_layers=2, window=2)
    ids = torch.randint(VOCAB, (1, N))
    other = ids.clone()
    other[:, 0] = (other[:, 0] + 1) % VOCAB
    model = randomized(causal_lm(config, "none"))
    changed = (model(ids) - model(other)).abs().amax((0, 2)) > 0
    assert changed.tolist() == [True, True, True, False, False]
    both_sides = randomized(text_encoder(config, "none"))
    changed = (both_sides(ids) - both_sides(other)).abs().amax((0, 2)) > 0
    assert changed.tolist() == [True, True, True, False, False]


def test_a_batch_norm_lets_the_future_leak() -> None:
    """The reason for the first exception: forced into a causal stack, it shows tokens to come."""
    model = randomized(text_encoder(stack("full", "plain", "batch_norm", "pre"), "learned")).train()
    ids = torch.randint(VOCAB, (2, N))
    later = ids.clone()
    later[:, -1] = (later[:, -1] + 1) % VOCAB
    causal = torch.ones(N, N, dtype=torch.bool).tril()
    outputs = [model.encoder(model.embedding(x), mask=causal)[:, 0] for x in (ids, later)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def pairs_of(row: tuple[str, ...]) -> set[tuple[int, int, str, str]]:
    return {(i, j, row[i], row[j]) for i, j in itertools.combinations(range(len(row)), 2)}


def covering() -> Iterator[tuple[str, ...]]:
    """Few rows in which every pair of choices stands (greedily)."""
    axes = (list(HEADS), list(FEED_FORWARDS), list(NORMS), list(PLACEMENTS), list(POSITIONS))
    rows = list(itertools.product(*axes))
    missing = set().union(*(pairs_of(row) for row in rows))
    while missing:
        best = max(rows, key=lambda row: len(pairs_of(row) & missing))
        missing -= pairs_of(best)
        yield best


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_every_pair_of_choices_compiles_without_a_graph_break() -> None:
    ids = torch.randint(VOCAB, (2, N))
    for heads, feed_forward, norm, placement, positions in covering():
        torch.compiler.reset()
        config = stack(heads, feed_forward, norm, placement)
        build = text_encoder if norm in LEAKS else causal_lm
        model = randomized(build(config, positions)).eval()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        ours, plain = compiled(ids), model(ids)
        size = plain.abs().max()
        close(ours / size, plain / size)


def test_the_exceptions_are_documented() -> None:
    page = (ROOT / "book" / "api" / "models.md").read_text("utf-8")
    for illegal in ILLEGAL:
        for field, values in illegal.choices.items():
            for value in values:
                assert f'`{field}="{value}"`' in page
