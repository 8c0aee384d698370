"""Rotary positions of a stack: how fast queries and keys turn, and how much of a head does."""

from __future__ import annotations

from dataclasses import dataclass

from tfbook.checks import require, require_choice, require_positive

SCALINGS = ("linear", "dynamic", "yarn", "llama3")


@dataclass(frozen=True, kw_only=True)
class ScalingConfig:
    """How the frequencies change for sequences beyond the trained length.

    Args:
        kind: one of ``SCALINGS``; each is a class of :mod:`tfbook.positions`.
        factor: new length over trained length, at least 1.
        original_length: the trained length, tokens; ``linear`` does not need it.
        low_freq_factor: of ``llama3``.
        high_freq_factor: of ``llama3``.
        beta_fast: of ``yarn``.
        beta_slow: of ``yarn``.
        attention_factor: of ``yarn``; None means ``0.1·ln(factor) + 1``.
        truncate: of ``yarn``.

    Raises:
        ValueError: an unknown kind, a factor below 1, or a length below one.

    Example:
        >>> ScalingConfig(kind="linear", factor=4.0).original_length
        8192

    Source: see :class:`tfbook.positions.YaRNScaling` and its neighbours. Chapter: 12.
    """

    kind: str
    factor: float
    original_length: int = 8192
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_choice("kind", self.kind, SCALINGS)
        require(
            self.factor >= 1,
            f"factor={self.factor} must be at least 1; it is new length over old",
        )
        require_positive("original_length", self.original_length)


@dataclass(frozen=True, kw_only=True)
class RotaryConfig:
    """Rotary positions of a stack.

    Args:
        base: the longest wavelength is ``2π·base`` tokens (nearly).
        d_rotary: how many features of a head are turned, even; None means all.
        scaling: changes the frequencies for sequences beyond the trained length.

    Raises:
        ValueError: a base that is not above 1, or an odd ``d_rotary``.

    Example:
        >>> RotaryConfig(base=100_000.0).d_rotary

    Source: Su et al. 2021, RoFormer, section 3.2.2. Chapter: 12.
    """

    base: float = 10_000.0
    d_rotary: int | None = None
    scaling: ScalingConfig | None = None

    def __post_init__(self) -> None:
        """Check the sizes."""
        require(self.base > 1, f"base={self.base} must be above 1; the usual is 10000")
        require(
            self.d_rotary is None or (self.d_rotary > 0 and self.d_rotary % 2 == 0),
            f"d_rotary={self.d_rotary} must be even and at least 2: features are turned in pairs; "
            "use an even number, or None for all",
        )
