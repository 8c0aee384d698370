"""Rotary settings of another library, translated both ways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfbook.checks import require
from tfbook.models.config import RotaryConfig, ScalingConfig
from tfbook.models.convert.settings import (
    Settings,
    read_flag,
    read_group,
    read_int,
    read_number,
    required_number,
    required_size,
)


def read_rotary(settings: Settings, *, d_head: int, base: float, fraction: float) -> RotaryConfig:
    """Translate the rotary settings, of transformers 5 or earlier.

    With both ``rope_scaling`` and ``rope_parameters`` the first counts alone, as in transformers 5.

    Args:
        settings: their configuration.
        d_head: width of a head.
        base: where it is missing.
        fraction: of a head that is turned, where it is missing.

    Returns:
        Ours.

    Raises:
        ValueError: an unknown scaling, settings for each layer, a value of another type, or an odd
            number of features.
    """
    rope = read_group(settings, "rope_scaling") or read_group(settings, "rope_parameters")
    require(
        not any(isinstance(value, Mapping) for value in rope.values()),
        f"config has rotary settings for each kind of layer, {sorted(rope)}; only one for all "
        "layers is known here",
    )
    where = rope if "partial_rotary_factor" in rope else settings
    given = read_number(where, "partial_rotary_factor", None)
    fraction = fraction if given is None else given
    d_rotary = int(d_head * fraction)
    require(
        d_rotary > 0 and d_rotary % 2 == 0,
        f"config has partial_rotary_factor={fraction}, which turns {d_rotary} of {d_head} "
        "features; features are turned in pairs, so the number must be even",
    )
    inside, beside = (read_number(where, "rope_theta", None) for where in (rope, settings))
    return RotaryConfig(
        base=inside or beside or base,
        d_rotary=None if d_rotary == d_head else d_rotary,
        scaling=_read_scaling(settings, rope),
    )


def write_rotary(rotary: RotaryConfig) -> dict[str, Any]:
    """Translate rotary settings back.

    Args:
        rotary: ours; how many features are turned is left to the caller.

    Returns:
        Their ``rope_parameters``.
    """
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": rotary.base}
    scaling = rotary.scaling
    if scaling is None:
        return rope
    rope |= {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind in ("llama3", "yarn"):
        rope["original_max_position_embeddings"] = scaling.original_length
    if scaling.kind == "llama3":
        rope["low_freq_factor"] = scaling.low_freq_factor
        rope["high_freq_factor"] = scaling.high_freq_factor
    if scaling.kind == "yarn":
        rope |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        rope["truncate"] = scaling.truncate
        if scaling.attention_factor is not None:
            rope["attention_factor"] = scaling.attention_factor
    return rope


def read_max_length(settings: Settings, rotary: RotaryConfig, default: int) -> int:
    """Give the longest sequence: the length that a scaling reaches, where there is one.

    Args:
        settings: their configuration.
        rotary: ours.
        default: theirs.

    Returns:
        Tokens.

    Raises:
        ValueError: their length is no whole number.
    """
    length, scaling = read_int(settings, "max_position_embeddings", default), rotary.scaling
    if scaling is None or scaling.kind not in ("dynamic", "yarn"):
        return length
    return max(length, int(scaling.factor * scaling.original_length))


def write_max_length(max_length: int, rotary: RotaryConfig) -> int:
    """Give their ``max_position_embeddings``: with dynamic scaling it is the trained length.

    Args:
        max_length: ours, tokens.
        rotary: ours.

    Returns:
        Tokens.
    """
    scaling = rotary.scaling
    return scaling.original_length if scaling and scaling.kind == "dynamic" else max_length


def _read_scaling(settings: Settings, rope: Settings) -> ScalingConfig | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    require(
        kind in ("linear", "dynamic", "yarn", "llama3"),
        f"config has rope_type={kind!r}, which is not known here; use default, linear, dynamic, "
        "yarn or llama3",
    )
    if kind == "linear":
        return ScalingConfig(kind=kind, factor=required_number(rope, "factor"))
    if kind == "dynamic":
        length = required_size(settings, "max_position_embeddings")
        factor = required_number(rope, "factor")
        return ScalingConfig(kind=kind, factor=factor, original_length=length)
    beside, inside = (
        read_int(where, "original_max_position_embeddings", None) for where in (settings, rope)
    )
    trained = beside or inside or required_size(settings, "max_position_embeddings")
    if kind == "yarn":
        return _read_yarn(rope, trained, read_int(settings, "max_position_embeddings", None))
    return ScalingConfig(
        kind=kind,
        factor=required_number(rope, "factor"),
        original_length=trained,
        low_freq_factor=required_number(rope, "low_freq_factor"),
        high_freq_factor=required_number(rope, "high_freq_factor"),
    )


def _read_yarn(rope: Settings, trained: int, length: int | None) -> ScalingConfig:
    factor = read_number(rope, "factor", None) or (length or trained) / trained
    attention_factor = read_number(rope, "attention_factor", None)
    mscale, of_all = (read_number(rope, name, None) for name in ("mscale", "mscale_all_dim"))
    if attention_factor is None and mscale and of_all:
        # DeepSeek's two numbers; the usual attention factor is that of 1 over 0.
        growth = 0.1 * math.log(factor)
        attention_factor = (mscale * growth + 1) / (of_all * growth + 1)
    return ScalingConfig(
        kind="yarn",
        factor=factor,
        original_length=trained,
        beta_fast=read_number(rope, "beta_fast", None) or 32.0,
        beta_slow=read_number(rope, "beta_slow", None) or 1.0,
        attention_factor=attention_factor,
        truncate=read_flag(rope, "truncate", True),
    )
