"""Rotary settings of another library, translated both ways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfbook.checks import require
from tfbook.models.config import RotaryConfig, ScalingConfig
from tfbook.models.convert.settings import Settings, required


def read_rotary(settings: Settings, *, d_head: int, base: float, fraction: float) -> RotaryConfig:
    """Translate the rotary settings, of transformers 5 or earlier.

    Args:
        settings: their configuration.
        d_head: width of a head.
        base: where it is missing.
        fraction: of a head that is turned, where it is missing.

    Returns:
        Ours.

    Raises:
        ValueError: an unknown scaling, settings for each layer, or an odd number of features.
    """
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    require(
        not any(isinstance(value, Mapping) for value in rope.values()),
        f"config has rotary settings for each kind of layer, {sorted(rope)}; only one for all "
        "layers is known here",
    )
    given = rope.get("partial_rotary_factor", settings.get("partial_rotary_factor"))
    fraction = fraction if given is None else float(given)
    d_rotary = int(d_head * fraction)
    require(
        d_rotary > 0 and d_rotary % 2 == 0,
        f"config has partial_rotary_factor={fraction}, which turns {d_rotary} of {d_head} "
        "features; features are turned in pairs, so the number must be even",
    )
    return RotaryConfig(
        base=float(rope.get("rope_theta") or settings.get("rope_theta") or base),
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
    """
    length, scaling = int(settings.get("max_position_embeddings", default)), rotary.scaling
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
    length = settings.get("max_position_embeddings")
    trained = settings.get("original_max_position_embeddings")
    trained = trained or rope.get("original_max_position_embeddings") or length
    if kind == "default":
        return None
    require(
        kind in ("linear", "dynamic", "yarn", "llama3"),
        f"config has rope_type={kind!r}, which is not known here; use default, linear, dynamic, "
        "yarn or llama3",
    )
    if kind == "linear":
        return ScalingConfig(kind=kind, factor=required(rope, "factor"))
    if kind == "dynamic":
        length = required(settings, "max_position_embeddings")
        return ScalingConfig(kind=kind, factor=required(rope, "factor"), original_length=length)
    trained = required(settings, "max_position_embeddings") if trained is None else trained
    if kind == "yarn":
        return _read_yarn(rope, trained, length)
    return ScalingConfig(
        kind=kind,
        factor=required(rope, "factor"),
        original_length=trained,
        low_freq_factor=required(rope, "low_freq_factor"),
        high_freq_factor=required(rope, "high_freq_factor"),
    )


def _read_yarn(rope: Settings, trained: int, length: int | None) -> ScalingConfig:
    factor = rope.get("factor") or (length or trained) / trained
    attention_factor = rope.get("attention_factor")
    mscale, of_all = rope.get("mscale"), rope.get("mscale_all_dim")
    if attention_factor is None and mscale and of_all:
        # DeepSeek's two numbers; the usual attention factor is that of 1 over 0.
        growth = 0.1 * math.log(factor)
        attention_factor = (mscale * growth + 1) / (of_all * growth + 1)
    return ScalingConfig(
        kind="yarn",
        factor=factor,
        original_length=trained,
        beta_fast=rope.get("beta_fast") or 32.0,
        beta_slow=rope.get("beta_slow") or 1.0,
        attention_factor=attention_factor,
        truncate=rope.get("truncate", True),
    )
