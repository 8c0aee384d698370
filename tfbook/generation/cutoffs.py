"""Temperature, and cut-offs that keep the likely tokens and send the logits of others to −∞."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import is_integer, require
from tfbook.generation.arguments import require_number


@dataclass(frozen=True)
class Temperature:
    r"""Sharpen (below 1) or flatten (above 1) the distribution.

    .. math:: z \leftarrow z / \tau

    Args:
        temperature: :math:`\tau > 0`.

    Raises:
        ValueError: it is not a positive, finite number.

    Example:
        >>> Temperature(0.5)(torch.zeros(1, 0).long(), torch.tensor([[1.0, 2.0]]))
        tensor([[2., 4.]])

    Source: Ackley, Hinton and Sejnowski 1985; Holtzman et al. 2020, section 4.3. Chapter: 23.
    """

    temperature: float

    def __post_init__(self) -> None:
        """Check the range."""
        require_number("temperature", self.temperature)
        require(
            0 < self.temperature < float("inf"),
            f"temperature={self.temperature} must be positive and finite; for greedy choices leave "
            "it out",
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Divide the logits.

        Args:
            ids: not read.
            logits: of the next token.

        Returns:
            New logits.
        """
        return logits / self.temperature


@dataclass(frozen=True)
class TopK:
    r"""Keep the ``k`` largest logits, and all that equal the smallest of them.

    .. math:: z_w \leftarrow -\infty \quad\text{where } z_w < z_{(k)}

    Args:
        k: tokens kept; beyond the vocabulary, all.

    Raises:
        ValueError: it is no integer, or below one.

    Example:
        >>> TopK(2)(torch.zeros(1, 0).long(), torch.tensor([[3.0, 1.0, 2.0]]))
        tensor([[3., -inf, 2.]])

    Source: Fan, Lewis and Dauphin 2018, section 5.4. Chapter: 23.
    """

    k: int

    def __post_init__(self) -> None:
        """Check the range."""
        require(
            is_integer(self.k) and self.k >= 1,
            f"top_k={self.k!r} must be an integer of at least 1; None keeps all tokens",
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Cut off the tail.

        Args:
            ids: not read.
            logits: of the next token.

        Returns:
            New logits.
        """
        k = min(self.k, logits.shape[-1])
        return logits.masked_fill(logits < logits.topk(k).values[:, -1:], -torch.inf)


@dataclass(frozen=True)
class TopP:
    r"""Keep the smallest set of the most probable tokens whose mass reaches ``p`` (the nucleus).

    .. math:: z_w \leftarrow -\infty \quad\text{where } \sum_{v:\, p_v \le p_w} p_v \le 1 - p

    The sum runs from the least probable token upwards, so the most probable is always kept. Among
    equal tokens at the edge, those with the larger ids stay.

    Args:
        p: mass to keep, in ``(0, 1]``; 1 keeps all.

    Raises:
        ValueError: it lies outside, or is no number.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> TopP(0.7)(torch.zeros(1, 0).long(), logits).isfinite()
        tensor([[ True,  True, False]])

    Source: Holtzman et al. 2020, section 3.1. Chapter: 23.
    """

    p: float

    def __post_init__(self) -> None:
        """Check the range."""
        require_number("top_p", self.p)
        require(
            0 < self.p <= 1, f"top_p={self.p} must lie in (0, 1]; 1 or None keeps the whole mass"
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Cut off the tail.

        Args:
            ids: not read.
            logits: of the next token.

        Returns:
            New logits.
        """
        if self.p == 1:
            return logits
        ascending, order = logits.sort(dim=-1, stable=True)
        in_tail = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.p
        in_tail[:, -1] = False
        return logits.masked_fill(in_tail.scatter(1, order, in_tail), -torch.inf)


@dataclass(frozen=True)
class MinP:
    r"""Keep the tokens that have at least a share of the largest probability.

    .. math:: z_w \leftarrow -\infty \quad\text{where } p_w < p_{\min} \max_v p_v

    Args:
        p: the share, in ``(0, 1]``.

    Raises:
        ValueError: it lies outside, or is no number.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> MinP(0.5)(torch.zeros(1, 0).long(), logits).isfinite()
        tensor([[ True,  True, False]])

    Source: Nguyen et al. 2024, section 3. Chapter: 23.
    """

    p: float

    def __post_init__(self) -> None:
        """Check the range."""
        require_number("min_p", self.p)
        require(0 < self.p <= 1, f"min_p={self.p} must lie in (0, 1]; None keeps all tokens")

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Cut off the tail.

        Args:
            ids: not read.
            logits: of the next token.

        Returns:
            New logits.
        """
        p = logits.softmax(dim=-1)
        return logits.masked_fill(p < self.p * p.amax(dim=-1, keepdim=True), -torch.inf)


@dataclass(frozen=True)
class Typical:
    r"""Keep the tokens whose surprise is nearest to the entropy, up to a mass.

    .. math:: \epsilon_w = \bigl| -\log p_w - H(p) \bigr|

    The tokens with the smallest :math:`\epsilon` are kept until their mass reaches ``p``, and all
    that equal the last of them. The most probable token may be among those cut off.

    Args:
        p: mass to keep, in ``(0, 1]``; 1 keeps all.

    Raises:
        ValueError: it lies outside, or is no number.

    Example:
        >>> logits = torch.tensor([[0.9, 0.06, 0.04]]).log()
        >>> Typical(0.2)(torch.zeros(1, 0).long(), logits).isfinite()
        tensor([[ True, False, False]])

    Source: Meister et al. 2023, section 4. Chapter: 23.
    """

    p: float

    def __post_init__(self) -> None:
        """Check the range."""
        require_number("typical_p", self.p)
        require(
            0 < self.p <= 1,
            f"typical_p={self.p} must lie in (0, 1]; 1 or None keeps the whole mass",
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Cut off what is less typical.

        Args:
            ids: not read.
            logits: of the next token.

        Returns:
            New logits.
        """
        if self.p == 1:
            return logits
        log_p = logits.log_softmax(dim=-1)
        # A token that is already cut off has p log p = 0 · −∞, which counts as nothing.
        entropy = -(log_p * log_p.exp()).nansum(dim=-1, keepdim=True)
        distance = (-log_p - entropy).abs()
        nearest, order = distance.sort(dim=-1, stable=True)
        mass = logits.gather(1, order).softmax(dim=-1).cumsum(dim=-1)
        last = (mass < self.p).sum(dim=-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
        return logits.masked_fill(distance > nearest.gather(1, last), -torch.inf)
