"""The one-token step beside the ordinary forward pass of the same model."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from measuring import allocated_bytes
from parity import FLOATS, close
from tiny import VOCAB, causal_lm, stack
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.compression import quantize_int8
from tfbook.models import CausalLM
from tfbook.models.decoding_step import DecodingStep, decoding_step
from tfbook.positions import LinearScaling, RotaryEmbedding

B, N = 3, 13
LLAMA = dict(norm="rms_norm", feed_forward="gated", activation="silu", bias=False)
GPT_2 = dict(norm="layer_norm", feed_forward="plain", activation="gelu_tanh", bias=True)
MODELS = {
    "llama": partial(causal_lm, decoder=stack(placement="pre", **LLAMA), positions="sinusoidal"),
    "gpt-2": partial(causal_lm, decoder=stack(placement="pre", **GPT_2), positions="learned"),
    "grouped, rotary": partial(
        causal_lm,
        decoder=stack(placement="pre", d_model=60, n_heads=6, n_kv_heads=2, **LLAMA),
        positions="rotary",
        tie_output=False,
    ),
    "multi-query, interleaved, biases": partial(
        causal_lm,
        decoder=stack(placement="pre", d_model=30, n_heads=3, n_kv_heads=1, **GPT_2),
        positions="rotary_interleaved",
    ),
    "parallel": partial(
        causal_lm,
        decoder=stack(placement="parallel", d_model=20, norm="rms_norm"),
        positions="rotary",
    ),
    "other norms": partial(
        causal_lm, decoder=stack(placement="pre", norm="scale_norm"), positions="none"
    ),
    "window": partial(
        causal_lm,
        decoder=stack(placement="pre", d_model=60, n_heads=6, n_kv_heads=2, window=5, **LLAMA),
        positions="rotary",
    ),
}


def ids(n: int, batch: int = B) -> Tensor:
    return torch.randint(0, VOCAB, (batch, n), generator=torch.Generator().manual_seed(n))


def prompted(model: CausalLM, padding: Tensor | None = None, *, batch: int = B) -> KVCache:
    cache = model.new_cache(batch, N, padding=padding)
    for piece in ids(5, batch).split(3, dim=1):
        model(piece, cache=cache)
    return cache


@pytest.mark.parametrize("padding", [None, torch.tensor([0, 2, 4])], ids=["whole", "padded"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_step_is_the_ordinary_pass(name: str, dtype: torch.dtype, padding: Tensor | None) -> None:
    model = MODELS[name](dtype)
    ordinary, fast = prompted(model, padding), prompted(model, padding)
    step = decoding_step(model)
    assert isinstance(step, DecodingStep)
    tokens = ids(1)
    for _ in range(N - 5):
        expected = model(tokens, cache=ordinary, last=1)
        logits = step(tokens, fast)
        close(logits, expected)
        tokens = expected[:, -1].argmax(dim=-1, keepdim=True)
        assert tokens.equal(logits[:, -1].argmax(dim=-1, keepdim=True))
    close(fast.keys, ordinary.keys)
    close(fast.values, ordinary.values)
    assert fast.positions.equal(ordinary.positions)
    with pytest.raises(RuntimeError, match=f"holds {N} of max_length={N} tokens"):
        step(tokens, fast)


@torch.no_grad()
def test_one_sequence_and_rotations_that_are_changed() -> None:
    """Partial rotation of scaled frequencies, and batch 1, which has kernels of its own."""
    decoder = stack(placement="pre", d_model=60, n_heads=6, n_kv_heads=2, **LLAMA)
    for layout in ("halves", "interleaved"):
        model = causal_lm(torch.float64, decoder=decoder, positions="rotary")
        for block in model.decoder.blocks:
            block.attention.rotate = RotaryEmbedding(
                10, d_rotary=6, layout=layout, scaling=LinearScaling(3.0)
            )
        ordinary, fast = prompted(model, batch=1), prompted(model, batch=1)
        step = decoding_step(model.eval())
        assert isinstance(step, DecodingStep)
        for token in ids(8, 1).split(1, dim=1):
            close(step(token, fast), model(token, cache=ordinary, last=1))


@pytest.mark.parametrize("batch", [1, 3, 13])
@pytest.mark.parametrize("name", ["grouped, rotary", "gpt-2"])
@torch.no_grad()
def test_other_weight_types(name: str, batch: int) -> None:
    for model in (MODELS[name]().bfloat16(), quantize_int8(MODELS[name]()).bfloat16()):
        model.eval()
        ordinary, fast = (prompted(model, batch=batch) for _ in range(2))
        step = decoding_step(model)
        assert isinstance(step, DecodingStep)
        for token in ids(5, batch).split(1, dim=1):
            error = (step(token, fast) - model(token, cache=ordinary, last=1)).float().abs()
            assert error.mean() < 0.02
            assert error.max() < 0.3


def test_more_tokens_take_the_ordinary_pass() -> None:
    model = MODELS["gpt-2"]()
    ordinary, fast = prompted(model), prompted(model)
    assert decoding_step(model)(ids(4), fast).equal(model(ids(4), cache=ordinary, last=1))


class Wrapped(nn.Module):
    """What a fine-tuning library puts in the place of a layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + 1.0


def hooked() -> CausalLM:
    model = MODELS["gpt-2"]()
    model.decoder.blocks[1].feed_forward.register_forward_hook(lambda *call: call[2] + 1.0)
    return model


def patched() -> CausalLM:
    model = MODELS["gpt-2"]()
    model.decoder.blocks[1].feed_forward.forward = torch.zeros_like
    return model


def wrapped() -> CausalLM:
    model = MODELS["gpt-2"]()
    block = model.decoder.blocks[0]
    block.attention.w_v = Wrapped(block.attention.w_v)
    return model


def other_attention() -> CausalLM:
    model = MODELS["gpt-2"]()
    model.decoder.blocks[0].attention.attend = lambda q, k, v, **options: torch.zeros_like(q)
    return model


UNKNOWN = {
    "post-norm": lambda: causal_lm(decoder=stack(placement="post")),
    "sandwich": lambda: causal_lm(decoder=stack(placement="sandwich")),
    "alibi": lambda: causal_lm(positions="alibi"),
    "shaw": lambda: causal_lm(positions="shaw"),
    "low rank": lambda: causal_lm(
        decoder=stack(placement="pre", feed_forward="low_rank", feed_forward_rank=5)
    ),
    "training": lambda: MODELS["gpt-2"]().train(),
    "hooked": hooked,
    "patched": patched,
    "wrapped": wrapped,
    "other attention": other_attention,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_a_step_does_not_know_takes_the_ordinary_pass(name: str) -> None:
    model = UNKNOWN[name]()
    step = decoding_step(model)
    assert not isinstance(step, DecodingStep)
    ordinary, fast = prompted(model), prompted(model)
    assert step(ids(1), fast).equal(model(ids(1), cache=ordinary, last=1))
    with pytest.raises(ValueError, match=r"use decoding_step\(model\), which then takes"):
        DecodingStep(model)


def test_a_cache_without_the_window_takes_the_ordinary_pass() -> None:
    model = MODELS["window"](torch.float64)
    sizes = dict(n_layers=2, batch=B, n_kv_heads=2, max_length=N, d_head=10, dtype=torch.float64)
    whole, step = KVCache(**sizes), decoding_step(model)
    bounded = prompted(model)
    model(ids(5), cache=whole)
    for token in ids(8).split(1, dim=1):
        close(step(token, whole), step(token, bounded))


def test_bad_input() -> None:
    model = MODELS["gpt-2"]()
    step = decoding_step(model)
    with pytest.raises(ValueError, match=r"ids=31…31 must lie in \[0, vocab_size=31\)"):
        step(torch.tensor([[VOCAB]] * B), prompted(model))
    with pytest.raises(ValueError, match=r"keys have shape .* but the cache was made for"):
        step(ids(1, 2), prompted(model))
    sizes = dict(n_layers=2, batch=1, n_kv_heads=2, max_length=9, d_head=11)
    for name, size in dict(n_kv_heads=1, d_head=22, dtype=torch.bfloat16).items():
        with pytest.raises(ValueError, match=r"but the cache (was made for|holds)"):
            step(ids(1, 1), KVCache(**{**sizes, name: size}))
    with pytest.raises(ValueError, match="cache was made for 3 layers, but there are 2"):
        step(ids(1, 1), KVCache(**{**sizes, "n_layers": 3}))
    cache = model.new_cache(1, 20)
    model(ids(19, 1), cache=cache)
    with pytest.raises(ValueError, match="ids reaches length 20, beyond the model's max_length=19"):
        step(ids(1, 1), cache)


@pytest.mark.parametrize("padding", [None, torch.tensor([0, 2])], ids=["whole", "padded"])
@pytest.mark.parametrize("fast", [True, False])
def test_no_step_copies_the_cache(fast: bool, padding: Tensor | None) -> None:
    """What a step allocates does not grow with what is kept; a mask is one number a key."""
    decoder = stack(placement="pre", d_model=64, n_heads=4, n_kv_heads=2, **LLAMA)
    model = causal_lm(decoder=decoder, positions="rotary", max_length=4000)

    def of_step(length: int) -> tuple[int, int]:
        cache = model.new_cache(2, 2000, padding=padding)
        ordinary: Any = partial(model, last=1)
        step = decoding_step(model) if fast else lambda ids, cache: ordinary(ids, cache=cache)
        cache.advance(length, positions=cache.next_positions(length))
        step(ids(1, 2), cache)  # once without counting
        before = cache.both.data_ptr()
        with torch.no_grad():
            allocated = allocated_bytes(lambda: step(ids(1, 2), cache))
        assert cache.both.data_ptr() == before
        return allocated, 2 * cache.n_bytes * (length + 2) // 2000

    (short, _), (long, kept) = of_step(1000), of_step(1900)
    of_masks = 0 if padding is None else 2 * 3 * 4 * 2 * 900
    assert long - short <= of_masks + 200
    assert of_masks < kept / 4


@torch.no_grad()
def test_ten_thousand_tokens_with_a_window_in_bounded_memory() -> None:
    decoder = stack(placement="pre", d_model=20, n_heads=2, n_kv_heads=1, window=64, **LLAMA)
    model = causal_lm(decoder=decoder, positions="rotary", max_length=20_000)
    cache, tokens = model.new_cache(1, 11_000), ids(10_000, 1)
    size = cache.n_bytes
    assert size == 2 * 2 * 64 * 10 * 4
    allocated = []
    for piece in tokens.split(500, dim=1):
        allocated.append(allocated_bytes(lambda piece=piece: model(piece, cache=cache, last=1)))
    assert max(allocated[1:]) < 1.01 * min(allocated[1:])
    assert (cache.length, cache.n_bytes, cache.keys.shape[3]) == (10_000, size, 64)
    step = decoding_step(model)
    logits = torch.cat([step(token, cache) for token in ids(200, 1).split(1, dim=1)], dim=1)
    # Two layers reach back twice the window, and no further.
    recent = torch.cat([tokens, ids(200, 1)], dim=1)[:, -400:]
    expected = model(recent, positions=torch.arange(9_800, 10_200))
    close(logits, expected[:, -200:])
