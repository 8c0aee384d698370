"""Frequencies of rotary positions for sequences longer than those of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tfbook.checks import require, require_positive

# In the classes below, what has no annotation is no field: it is fixed for the class.


@runtime_checkable
class RotaryScaling(Protocol):
    """What :class:`~tfbook.positions.RotaryEmbedding` asks of its ``scaling``."""

    @property
    def amplitude(self) -> float:
        """By how much the rotated queries and keys grow."""
        ...

    @property
    def depends_on_length(self) -> bool:
        """Whether the frequencies change as the sequence grows, so that no cache may be used."""
        ...

    def frequencies(self, plain: Tensor, *, base: float, length: Tensor) -> Tensor:
        """Change the plain frequencies.

        Args:
            plain: ``base^(-2i/d)``, ``(d/2,)``, radians per token.
            base: of the plain frequencies.
            length: of each sequence, ``(…, 1)``, tokens.

        Returns:
            Shape ``(d/2,)`` or ``(…, d/2)``, radians per token.
        """
        ...


@dataclass(frozen=True)
class LinearScaling:
    r"""Slow every frequency down alike: position interpolation.

    .. math:: \omega'_i = \omega_i / s

    Args:
        factor: ``s``, new length over trained length, at least 1.

    Raises:
        ValueError: ``factor`` is below 1.

    Example:
        >>> LinearScaling(4.0).frequencies(torch.tensor([1.0, 0.5]), base=4.0)
        tensor([0.2500, 0.1250])

    Source: Chen et al. 2023, Position Interpolation. Chapter: 12.
    """

    factor: float
    amplitude = 1.0
    depends_on_length = False

    def __post_init__(self) -> None:
        _require_sizes(self.factor)

    def frequencies(
        self, plain: Float[Tensor, "pairs"], *, base: float, length: Tensor | None = None
    ) -> Float[Tensor, "pairs"]:
        """Change the plain frequencies.

        Args:
            plain: ``base^(-2i/d)``, ``(d/2,)``, radians per token.
            base, length: not used.

        Returns:
            Shape ``(d/2,)``, radians per token.
        """
        return plain / self.factor


@dataclass(frozen=True)
class DynamicNTKScaling:
    r"""Raise the base, the more the longer the sequence is; up to the trained length, not at all.

    .. math:: base' = base \cdot \Bigl(\frac{s\,n}{n_0} - (s - 1)\Bigr)^{d/(d-2)},
              \qquad n = \max(\text{length}, n_0)

    **No cache may be used with it**: earlier keys were rotated with the base of an earlier
    length, so that their offsets to new queries are wrong. ``depends_on_length`` says so. Each
    sequence has its own length, its largest position plus one. (Others take the longest yet.)

    Args:
        factor: ``s``, at least 1.
        original_length: ``n₀``, the trained length, tokens.

    Raises:
        ValueError: ``factor`` is below 1 or ``original_length`` below one; in the call, there
            is only one pair of features.

    Example:
        >>> scaling = DynamicNTKScaling(2.0, original_length=8)
        >>> scaling.frequencies(torch.tensor([1.0, 0.1]), base=100.0, length=torch.tensor([16.0]))
        tensor([1.0000, 0.0333])

    Source: Peng et al. 2023, YaRN, the section on dynamic scaling. Chapter: 12.
    """

    factor: float
    original_length: int
    amplitude = 1.0
    depends_on_length = True

    def __post_init__(self) -> None:
        _require_sizes(self.factor, self.original_length)

    def frequencies(
        self, plain: Float[Tensor, "pairs"], *, base: float, length: Float[Tensor, "*batch 1"]
    ) -> Float[Tensor, "*batch pairs"]:
        """Change the plain frequencies.

        Args:
            plain: ``base^(-2i/d)``, ``(d/2,)``, radians per token.
            base: not used: it is in ``plain``.
            length: of each sequence, ``(…, 1)``, tokens.

        Returns:
            Shape ``(…, d/2)``, radians per token.

        Raises:
            ValueError: there is only one pair.
        """
        n_pairs = plain.shape[0]
        require(
            n_pairs > 1,
            f"d_rotary={2 * n_pairs} must be at least 4: raising the base does not change the "
            "only pair's frequency; use LinearScaling",
        )
        relative = length.clamp(min=self.original_length) / self.original_length
        growth = self.factor * relative - (self.factor - 1)
        # base'^(-2i/d) = base^(-2i/d) · growth^(-2i/(d-2)), and 2i/(d-2) runs from 0 to 1.
        exponent = torch.arange(n_pairs, dtype=plain.dtype, device=plain.device) / (n_pairs - 1)
        return plain * growth**-exponent


@dataclass(frozen=True)
class YaRNScaling:
    r"""Slow only the pairs that turn seldom within the trained length, and sharpen the scores.

    .. math:: \omega'_i = (1 - \gamma_i)\,\omega_i + \gamma_i\,\frac{\omega_i}{s}, \qquad
              \gamma_i = \operatorname{clamp}\Bigl(\frac{i - i_{fast}}{i_{slow} - i_{fast}},
              0, 1\Bigr)

    where pair :math:`i_{fast}` turns ``beta_fast`` times in ``original_length`` tokens and
    pair :math:`i_{slow}` ``beta_slow`` times, rounded outwards. Queries and keys grow by the
    attention factor. In the paper :math:`\gamma` runs linearly in the number of turns; in its
    code, and here, in the index ``i``.

    Args:
        factor: ``s``, new length over trained length, at least 1.
        original_length: the trained length, tokens.
        beta_fast: pairs with more turns than this stay as they are.
        beta_slow: pairs with fewer turns than this are slowed by the whole factor.
        attention_factor: by how much queries and keys grow; None means ``0.1·ln(s) + 1``.
        truncate: round :math:`i_{fast}` down and :math:`i_{slow}` up, as the paper's code does.

    Raises:
        ValueError: ``factor`` is below 1, ``original_length`` below one, or the betas are not
            in order.

    Example:
        >>> scaling = YaRNScaling(16.0, original_length=4096)
        >>> round(scaling.amplitude, 4)
        1.2773

    Source: Peng et al. 2023, YaRN, the sections on NTK-by-parts and YaRN. Chapter: 12.
    """

    factor: float
    original_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    truncate: bool = True
    depends_on_length = False

    def __post_init__(self) -> None:
        _require_sizes(self.factor, self.original_length)
        require(
            0 < self.beta_slow < self.beta_fast,
            f"beta_slow={self.beta_slow} must be positive and below beta_fast={self.beta_fast}; "
            "both count turns, the usual are 1 and 32",
        )

    @property
    def amplitude(self) -> float:
        """The attention factor."""
        if self.attention_factor is None:
            return 0.1 * math.log(self.factor) + 1.0
        return self.attention_factor

    def frequencies(
        self, plain: Float[Tensor, "pairs"], *, base: float, length: Tensor | None = None
    ) -> Float[Tensor, "pairs"]:
        """Change the plain frequencies.

        Args:
            plain: ``base^(-2i/d)``, ``(d/2,)``, radians per token.
            base: of the plain frequencies.
            length: not used.

        Returns:
            Shape ``(d/2,)``, radians per token.
        """
        n_pairs = plain.shape[0]
        fast = self._pair_with(self.beta_fast, n_pairs, base)
        slow = self._pair_with(self.beta_slow, n_pairs, base)
        if self.truncate:
            fast, slow = math.floor(fast), math.ceil(slow)
        fast, slow = max(fast, 0), min(slow, 2 * n_pairs - 1)
        index = torch.arange(n_pairs, dtype=plain.dtype, device=plain.device)
        # Where both fall together the ramp is a step.
        gamma = ((index - fast) / max(slow - fast, 1e-3)).clamp(0, 1)
        return (1 - gamma) * plain + gamma * plain / self.factor

    def _pair_with(self, turns: float, n_pairs: int, base: float) -> float:
        """Which pair turns so often in ``original_length`` tokens: ``n₀·ω = 2π·turns``."""
        return n_pairs * math.log(self.original_length / (2 * math.pi * turns)) / math.log(base)


@dataclass(frozen=True)
class Llama3Scaling:
    r"""Slow only the pairs that turn seldom within the trained length, as Llama 3.1 does.

    .. math:: \omega'_i = \gamma_i\,\omega_i + (1 - \gamma_i)\,\frac{\omega_i}{s}, \qquad
              \gamma_i = \operatorname{clamp}\Bigl(\frac{t_i - t_{low}}{t_{high} - t_{low}},
              0, 1\Bigr), \qquad t_i = \frac{n_0\,\omega_i}{2\pi}

    with :math:`t_i` the turns of pair ``i`` in the trained length.

    Args:
        factor: ``s``, at least 1.
        low_freq_factor: pairs with fewer turns are slowed by the whole factor.
        high_freq_factor: pairs with more turns stay as they are.
        original_length: ``n₀``, the trained length, tokens.

    Raises:
        ValueError: ``factor`` is below 1, ``original_length`` below one, or the bounds are not
            in order.

    Example:
        >>> scaling = Llama3Scaling(8.0, original_length=8192)
        >>> scaling.frequencies(torch.tensor([1.0, 1e-4]), base=1e8)
        tensor([1.0000e+00, 1.2500e-05])

    Source: Meta's code of Llama 3.1 (``llama-models``, ``apply_scaling``). Chapter: 12.
    """

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_length: int = 8192
    amplitude = 1.0
    depends_on_length = False

    def __post_init__(self) -> None:
        _require_sizes(self.factor, self.original_length)
        require(
            0 <= self.low_freq_factor < self.high_freq_factor,
            f"low_freq_factor={self.low_freq_factor} must be below "
            f"high_freq_factor={self.high_freq_factor}; both count turns, Llama 3.1 has 1 and 4",
        )

    def frequencies(
        self, plain: Float[Tensor, "pairs"], *, base: float, length: Tensor | None = None
    ) -> Float[Tensor, "pairs"]:
        """Change the plain frequencies.

        Args:
            plain: ``base^(-2i/d)``, ``(d/2,)``, radians per token.
            base, length: not used.

        Returns:
            Shape ``(d/2,)``, radians per token.
        """
        turns = self.original_length * plain / (2 * math.pi)
        span = self.high_freq_factor - self.low_freq_factor
        gamma = ((turns - self.low_freq_factor) / span).clamp(0, 1)
        return gamma * plain + (1 - gamma) * plain / self.factor


def _require_sizes(factor: float, original_length: int = 1) -> None:
    require(factor >= 1, f"factor={factor} must be at least 1; it is new length over old")
    require_positive("original_length", original_length)
