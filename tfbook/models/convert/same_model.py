"""Whether two configurations describe the same model."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from tfbook.models.config import RotaryConfig, StackConfig
from tfbook.models.positions import build_scaling

# The first is resolved into three others, and nothing that a trained model gives depends on the
# second.
WITHOUT_EFFECT = ("bias", "dropout_p")
USUAL_EPS = {"layer_norm": 1e-5, "rms_norm": 1e-6}


def differences(one: nn.Module, other: nn.Module) -> list[str]:
    """Name the choices in which two models differ, whatever way they were written down.

    Args:
        one: a model.
        other: a model.

    Returns:
        Names of the fields of their configurations, with the values of the second.
    """
    a, b = _plain(one.config), _plain(other.config)
    if type(one) is not type(other):
        return [f"class={type(other).__name__}"]
    return [f"{name}={b.get(name)!r}" for name in a if a[name] != b.get(name)]


def _plain(config: Any) -> dict[str, Any]:
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    if isinstance(config, StackConfig):
        values |= _resolved(config)
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("encoder", "decoder"):
            plain |= {f"{name}.{inner}": v for inner, v in _plain(value).items()}
        elif name not in WITHOUT_EFFECT:
            plain[name] = value
    return plain


def _resolved(stack: StackConfig) -> dict[str, Any]:
    rotary = stack.rotary or RotaryConfig()
    attention_bias, output_bias, feed_forward_bias = stack.biases
    return {
        "n_kv_heads": stack.kv_heads,
        "head_width": stack.d_head,
        "attention_bias": attention_bias,
        "output_bias": output_bias,
        "feed_forward_bias": feed_forward_bias,
        "norm_eps": USUAL_EPS.get(stack.norm) if stack.norm_eps is None else stack.norm_eps,
        "feed_forward_rank": stack.feed_forward_rank if stack.feed_forward == "low_rank" else None,
        "rotary": (
            rotary.base,
            rotary.d_rotary or stack.d_head,
            None if rotary.scaling is None else build_scaling(rotary.scaling),
        ),
    }
