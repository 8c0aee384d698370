"""Single settings of theirs, translated and refused."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from converting import IDS
from transformers import GPTNeoXConfig, LlamaConfig
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
    read_flag,
    read_group,
    read_int,
    read_number,
    require_setting,
    required,
    required_number,
    required_size,
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


GOOD: list[tuple[Any, object, object]] = [
    (lambda s: read_int(s, "x", 7), 5, 5),
    (lambda s: read_int(s, "x", 7), np.int64(5), 5),
    (lambda s: read_int(s, "x", None), None, None),
    (lambda s: read_int(s, "y", 7), 5, 7),
    (lambda s: read_number(s, "x", 0.1), 5, 5.0),
    (lambda s: read_number(s, "x", None), None, None),
    (lambda s: read_number(s, "y", 0.1), 5, 0.1),
    (lambda s: read_flag(s, "x", True), False, False),
    (lambda s: read_flag(s, "y", True), False, True),
    (lambda s: read_group(s, "x"), {"a": 1}, {"a": 1}),
    (lambda s: read_group(s, "x"), None, {}),
    (lambda s: read_group(s, "y"), 5, {}),
    (lambda s: required_size(s, "x"), 5, 5),
    (lambda s: required_number(s, "x"), 0, 0.0),
]


@pytest.mark.parametrize(("read", "given", "expected"), GOOD)
def test_values_of_their_type(read: Any, given: object, expected: object) -> None:
    value = read({"x": given})
    assert value == expected
    assert type(value) is type(expected)


BAD_VALUES = [
    (lambda s: read_int(s, "x", 7), "two", "config has x='two', which must be a whole number"),
    (lambda s: read_int(s, "x", 7), 2.0, "config has x=2.0, which must be a whole number"),
    (lambda s: read_int(s, "x", None), True, "config has x=True, which must be a whole number"),
    (lambda s: read_int(s, "x", 7), None, "config has x=None, which must be a whole number"),
    (lambda s: read_number(s, "x", 0.1), "1e-5", "config has x='1e-5', which must be a finite num"),
    (lambda s: read_number(s, "x", None), True, "config has x=True, which must be a finite number"),
    (lambda s: read_number(s, "x", 0.1), float("inf"), "config has x=inf, which must be a finite "),
    (lambda s: read_flag(s, "x", True), "false", "config has x='false', which must be true or"),
    (lambda s: read_flag(s, "x", True), None, "config has x=None, which must be true or false"),
    (lambda s: read_group(s, "x"), [1], r"config has x=\[1\], which must be an object of"),
    (lambda s: required_size(s, "x"), "two", "config has x='two', which must be a whole number"),
    (lambda s: required_size(s, "x"), 0, "config has x=0, which must be at least 1; give the"),
    (lambda s: required_size(s, "x"), None, "config has no 'x'; give the whole config"),
    (lambda s: required_number(s, "x"), "two", "config has x='two', which must be a finite numb"),
    (lambda s: required_number(s, "x"), None, "config has no 'x'; give the whole config"),
    (lambda s: read_activation(s, "x", "relu"), ["relu"], r"config has x=\['relu'\], which is not"),
    (lambda s: read_max_length({"max_position_embeddings": s["x"]}, RotaryConfig(), 5), 9.5,
     "config has max_position_embeddings=9.5, which must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "given", "message"), BAD_VALUES)
def test_values_of_another_type_are_named(read: Any, given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read({"x": given})


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
        ({"rope_parameters": "linear"}, "rope_parameters='linear', which must be an object of nam"),
        ({"rope_scaling": ["linear"]}, r"rope_scaling=\['linear'\], which must be an object"),
        ({"rope_theta": "1e4"}, "config has rope_theta='1e4', which must be a finite number"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, "config has factor='2', which must"),
        ({"rope_scaling": {"type": "yarn", "truncate": 1, "factor": 2.0,
          "original_max_position_embeddings": 9}}, "config has truncate=1, which must be true or"),
        ({"rope_parameters": {"a": {"rope_type": "default"}}}, r"kind of layer, \['a'\]; only one"),
        ({"partial_rotary_factor": 0.3}, "which turns 3 of 10 features; features are turned in p"),
    ],
)  # fmt: skip
def test_bad_rotary_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_rotary(settings, d_head=10, base=1e4, fraction=1.0)


LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 99.0}
BOTH: list[dict[str, Any]] = [
    {"rope_parameters": LINEAR, "rope_scaling": {"type": "linear", "factor": 5.0}},
    {
        "rope_parameters": LINEAR,
        "rope_scaling": {"type": "linear", "factor": 5.0},
        "rope_theta": 55.0,
    },
    {"rope_parameters": {"rope_type": "default"}, "rope_scaling": LINEAR},
    {"rope_parameters": LINEAR, "rope_scaling": None},
    {"rope_parameters": LINEAR, "rope_scaling": {}},
]


@pytest.mark.parametrize("settings", BOTH)
def test_rope_scaling_counts_before_rope_parameters(settings: dict[str, Any]) -> None:
    """As they read it: what they make of both, written out, is read as both are."""
    theirs = LlamaConfig(**copy.deepcopy(settings), **IDS).to_dict()
    assert "rope_scaling" not in theirs
    defaults: dict[str, Any] = dict(d_head=8, base=1e4, fraction=1.0)
    assert read_rotary(settings, **defaults) == read_rotary(theirs, **defaults)
    neox = {name: value for name, value in settings.items() if name != "rope_theta"}
    theirs = GPTNeoXConfig(**copy.deepcopy(neox), rotary_pct=0.5).to_dict()
    assert read_rotary(neox, **defaults | {"fraction": 0.5}) == read_rotary(theirs, **defaults)


def test_lengths_that_a_scaling_reaches() -> None:
    dynamic = RotaryConfig(scaling=ScalingConfig(kind="dynamic", factor=2.0, original_length=9))
    assert read_max_length({"max_position_embeddings": 9}, dynamic, 5) == 18
    assert write_max_length(18, dynamic) == 9
    yarn = RotaryConfig(scaling=ScalingConfig(kind="yarn", factor=4.0, original_length=9))
    assert read_max_length({"max_position_embeddings": 9}, yarn, 5) == 36
    assert read_max_length({"max_position_embeddings": 40}, yarn, 5) == 40
    assert read_max_length({}, RotaryConfig(), 5) == 5
