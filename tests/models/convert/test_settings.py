"""Single settings of theirs, translated and refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from converting import IDS
from transformers import LlamaConfig
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from tfbook.models import RotaryConfig, ScalingConfig, StackConfig
from tfbook.models.blocks import build_activation
from tfbook.models.convert.rotary import (
    read_max_length,
    read_rotary,
    write_max_length,
    write_rotary,
)
from tfbook.models.convert.settings import (
    ACTIVATIONS,
    read_activation,
    require_setting,
    required,
    write_activation,
)
from tfbook.models.positions import build_rotate


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_theirs_are(name: str) -> None:
    ours = read_activation({"hidden_act": name}, "hidden_act", "relu")
    config = StackConfig(d_model=2, n_heads=1, d_ff=2, n_layers=1, activation=ours)
    x = torch.linspace(-4, 4, 101)
    assert (build_activation(config)(x) - ACT2FN[name](x)).abs().max() < 1e-6
    assert read_activation({"act": write_activation(ours)}, "act", "relu") == ours


def test_what_is_missing_or_another() -> None:
    assert read_activation({}, "hidden_act", "silu") == "silu"
    assert required({"n": 0}, "n") == 0
    require_setting({}, "scale", True)
    with pytest.raises(ValueError, match="config has act='mish', which is not known here; use re"):
        read_activation({"act": "mish"}, "act", "relu")
    with pytest.raises(ValueError, match=r"config has no 'n_embd'; give the whole config\.json"):
        required({"n_embd": None}, "n_embd")
    with pytest.raises(ValueError, match="config has scale=False, which no part of this package"):
        require_setting({"scale": False}, "scale", True)


LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
ROPES: list[dict[str, Any]] = [
    {"rope_type": "default"},
    {"rope_type": "default", "rope_theta": 55.0},
    {"rope_type": "linear", "factor": 3.0},
    {"rope_type": "dynamic", "factor": 3.0},
    {"rope_type": "llama3", **LLAMA3},  # the trained length is then the longest
    {"rope_type": "llama3", **LLAMA3, "original_max_position_embeddings": 9},
    {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 9},
    {"rope_type": "yarn", "factor": 3.0, "attention_factor": 0.7},
    {"rope_type": "yarn", "factor": 3.0, "mscale": 0.7, "mscale_all_dim": 0.4},
    {"rope_type": "yarn", "factor": 3.0, "beta_fast": 4.0, "beta_slow": 0.5, "truncate": False},
]


@pytest.mark.parametrize("rope", ROPES)
def test_frequencies_are_what_theirs_are(rope: dict[str, Any]) -> None:
    """And what is written of ours gives theirs again."""
    rope = {"rope_theta": 10_000.0} | rope

    def theirs(rope: dict[str, Any], n: int) -> LlamaConfig:
        return LlamaConfig(
            hidden_size=16, num_attention_heads=1, rope_parameters=rope, max_position_embeddings=n,
            vocab_size=3, **IDS,
        )  # fmt: skip

    config = theirs(dict(rope), 24)
    # An attention factor stands in the table of cosines: both get the same ones.
    ours = read_rotary(config.to_dict(), d_head=16, base=1e4, fraction=1.0)
    stack = StackConfig(d_model=16, n_heads=1, d_ff=2, n_layers=1, rotary=ours)
    length = read_max_length(config.to_dict(), ours, 2048)
    again = theirs(write_rotary(ours), write_max_length(length, ours))
    x, at = torch.randn(1, 1, 24, 16), torch.arange(24)
    rotate = build_rotate("rotary", stack)
    assert rotate is not None
    for each in (config, again):
        cos, sin = LlamaRotaryEmbedding(each)(x, at[None])
        swapped = torch.cat([-x[..., 8:], x[..., :8]], dim=-1)
        expected = x * cos[:, None] + swapped * sin[:, None]
        assert (rotate(x, at) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rope_scaling": {"type": "su"}}, "rope_type='su', which is not known here; use default"),
        ({"rope_parameters": {"a": {"rope_type": "default"}}}, r"kind of layer, \['a'\]; only one"),
        ({"partial_rotary_factor": 0.3}, "which turns 3 of 10 features; features are turned in p"),
    ],
)
def test_bad_rotary_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_rotary(settings, d_head=10, base=1e4, fraction=1.0)


def test_lengths_that_a_scaling_reaches() -> None:
    dynamic = RotaryConfig(scaling=ScalingConfig(kind="dynamic", factor=2.0, original_length=9))
    assert read_max_length({"max_position_embeddings": 9}, dynamic, 5) == 18
    assert write_max_length(18, dynamic) == 9
    yarn = RotaryConfig(scaling=ScalingConfig(kind="yarn", factor=4.0, original_length=9))
    assert read_max_length({"max_position_embeddings": 9}, yarn, 5) == 36
    assert read_max_length({"max_position_embeddings": 40}, yarn, 5) == 40
    assert read_max_length({}, RotaryConfig(), 5) == 5
