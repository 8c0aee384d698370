from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from parity import close
from torch import Tensor
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from tfbook.positions import (
    DynamicNTKScaling,
    LinearScaling,
    Llama3Scaling,
    RotaryEmbedding,
    RotaryScaling,
    YaRNScaling,
)
from tfbook.positions.frequencies import frequencies

N, WIDTH = 41, 26  # longer than the trained length of 16; thirteen pairs
TRAINED = {"original_max_position_embeddings": 16}
LONGER = {"original_max_position_embeddings": 2048}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
CASES: list[tuple[RotaryScaling, dict[str, Any]]] = [
    (LinearScaling(3.0), {"rope_type": "linear", "factor": 3.0}),
    (DynamicNTKScaling(2.0, 16), {"rope_type": "dynamic", "factor": 2.0}),
    (DynamicNTKScaling(1.0, 16), {"rope_type": "dynamic", "factor": 1.0}),
    (YaRNScaling(4.0, 16, beta_fast=2, beta_slow=0.1), {"beta_fast": 2, "beta_slow": 0.1}),
    (YaRNScaling(4.0, 2048), LONGER),
    (YaRNScaling(4.0, 2048, truncate=False), {"truncate": False, **LONGER}),
    (YaRNScaling(4.0, 16, attention_factor=0.7), {"attention_factor": 0.7}),
    (
        Llama3Scaling(8.0, original_length=16),
        {"rope_type": "llama3", "factor": 8.0, **LLAMA3},
    ),
    (
        Llama3Scaling(8.0, original_length=512),
        {"rope_type": "llama3", "factor": 8.0, **LLAMA3, "original_max_position_embeddings": 512},
    ),
]  # fmt: skip


def theirs(parameters: dict[str, Any], base: float) -> LlamaRotaryEmbedding:
    """Llama's module; a case without a type is a YaRN by four."""
    yarn = {"rope_type": "yarn", "factor": 4.0}
    config = LlamaConfig(
        hidden_size=3 * WIDTH,
        num_attention_heads=3,
        max_position_embeddings=16,
        rope_parameters={"rope_theta": base, **yarn, **TRAINED, **parameters},
    )
    return LlamaRotaryEmbedding(config)


@pytest.mark.parametrize(("scaling", "parameters"), CASES)
@pytest.mark.parametrize("base", [10_000.0, 500.0])
def test_llama(base: float, scaling: RotaryScaling, parameters: dict[str, Any]) -> None:
    x = torch.randn(2, 3, N, WIDTH)
    positions = torch.arange(N)
    ours = RotaryEmbedding(WIDTH, base=base, scaling=scaling)(x, positions)
    expected, _ = apply_rotary_pos_emb(x, x, *theirs(parameters, base)(x, positions[None]))
    close(ours, expected)
    # The case means something: plain frequencies are far from it.
    plain = RotaryEmbedding(WIDTH, base=base)(x, positions)
    assert (plain - ours).abs().max() > 0.05


@pytest.mark.parametrize(("scaling", "parameters"), CASES)
def test_the_frequencies_of_each_pair(scaling: RotaryScaling, parameters: dict[str, Any]) -> None:
    plain = frequencies(WIDTH)
    ours = scaling.frequencies(plain, base=10_000.0, length=torch.tensor([float(N)]))
    module = theirs(parameters, 10_000.0)
    module(torch.zeros(1), torch.arange(N)[None])  # dynamic: sets the frequencies
    torch.testing.assert_close(ours.float(), module.inv_freq, rtol=1e-5, atol=0)
    assert scaling.amplitude == pytest.approx(module.attention_scaling)


def test_yarn_by_hand() -> None:
    # Base 4^4 and width 8: frequencies 1, 1/4, 1/16, 1/64. In 2π·16 tokens they make 16, 4, 1
    # and 1/4 turns; between 16 and 1/4 turns the ramp is 0, 1/3, 2/3, 1 in the index.
    scaling = YaRNScaling(
        4.0, round(2 * math.pi * 16), beta_fast=16, beta_slow=0.25, truncate=False
    )
    plain = torch.tensor([1, 1 / 4, 1 / 16, 1 / 64])
    gamma = torch.tensor([0, 1 / 3, 2 / 3, 1])
    ours = scaling.frequencies(plain, base=256.0)
    torch.testing.assert_close(ours, plain * (1 - gamma * 3 / 4), rtol=1e-2, atol=0)
    assert scaling.amplitude == 0.1 * math.log(4) + 1


def test_dynamic_by_hand() -> None:
    # Twice the trained length at factor 2: growth 3, so the slowest pair is slowed by 3, the
    # fastest not at all, and the middle one by √3.
    scaling = DynamicNTKScaling(2.0, 8)
    ours = scaling.frequencies(torch.ones(3), base=10.0, length=torch.tensor([16.0]))
    torch.testing.assert_close(ours, torch.tensor([1, 3**-0.5, 1 / 3]))


def test_dynamic_leaves_short_sequences_alone() -> None:
    x = torch.randn(2, 3, 16, WIDTH)
    scaled = RotaryEmbedding(WIDTH, scaling=DynamicNTKScaling(5.0, 16))
    assert scaled(x).equal(RotaryEmbedding(WIDTH)(x))


def test_dynamic_takes_the_length_of_each_sequence() -> None:
    x = torch.randn(2, 3, N, WIDTH)
    rotary = RotaryEmbedding(WIDTH, scaling=DynamicNTKScaling(2.0, 16))
    positions = torch.stack([torch.arange(N), torch.arange(N) - 30])  # one is padded on the left
    both = rotary(x, positions)
    for row in (0, 1):
        close(both[row : row + 1], rotary(x[row : row + 1], positions[row]))


def test_who_depends_on_the_length() -> None:
    """With a cache, earlier keys would have been turned with another base."""
    for scaling, _ in CASES:
        rotary = RotaryEmbedding(WIDTH, scaling=scaling)
        x = torch.randn(1, 1, N, WIDTH)
        step = rotary(x[:, :, :20], torch.arange(20))
        differs = not step.isclose(rotary(x)[:, :, :20], atol=1e-6).all()
        assert rotary.depends_on_length == scaling.depends_on_length == differs
    assert not RotaryEmbedding(WIDTH).depends_on_length


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearScaling(0.5), "factor=0.5 must be at least 1; it is new length over old"),
        (lambda: DynamicNTKScaling(0.5, 16), "factor=0.5 must be at least 1"),
        (lambda: DynamicNTKScaling(2.0, 0), "original_length=0 must be at least 1"),
        (lambda: YaRNScaling(0.5, 16), "factor=0.5 must be at least 1"),
        (lambda: YaRNScaling(2.0, 0), "original_length=0 must be at least 1"),
        (
            lambda: YaRNScaling(2.0, 16, beta_fast=1, beta_slow=32),
            "beta_slow=32 must be positive and below beta_fast=1; both count turns",
        ),
        (lambda: Llama3Scaling(0.5), "factor=0.5 must be at least 1"),
        (lambda: Llama3Scaling(8.0, original_length=0), "original_length=0 must be at least 1"),
        (lambda: Llama3Scaling(8.0, 4.0, 1.0), "low_freq_factor=4.0 must be below high_freq_fac"),
    ],
)
def test_bad_scalings(make: Callable[[], RotaryScaling], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("length", [torch.tensor([9.0])])
def test_dynamic_needs_two_pairs(length: Tensor) -> None:
    with pytest.raises(ValueError, match="d_rotary=2 must be at least 4: raising the base does"):
        DynamicNTKScaling(2.0, 8).frequencies(torch.ones(1), base=10.0, length=length)


def test_bad_frequencies() -> None:
    with pytest.raises(ValueError, match=r"d=5 must be even: two features share .* use 6"):
        frequencies(5)
    with pytest.raises(ValueError, match=r"base=1.0 must be above 1"):
        frequencies(4, base=1.0)
