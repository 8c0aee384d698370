"""Processors that lower the logits of tokens that occurred before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import require
from tfbook.generation.arguments import require_number


@dataclass(frozen=True)
class RepetitionPenalty:
    r"""Make every token that occurred before less probable, those of the prompt included.

    .. math:: z_w \leftarrow \begin{cases} z_w / \theta & z_w \ge 0 \\ z_w \theta & z_w < 0
        \end{cases} \quad\text{for } w \in \text{ids}

    The paper divides whatever the sign, which would make a negative logit larger. What is done
    here is what all libraries do. The result depends on where the logits have their zero.

    Args:
        penalty: :math:`\theta > 0`; 1 changes nothing, below 1 rewards repetition.

    Raises:
        ValueError: it is not positive, or not finite.

    Example:
        >>> RepetitionPenalty(2.0)(torch.tensor([[0, 1, 0]]), torch.tensor([[4.0, -4.0, 4.0]]))
        tensor([[ 2., -8.,  4.]])

    Source: Keskar et al. 2019, section 4.1. Chapter: 23.
    """

    penalty: float

    def __post_init__(self) -> None:
        """Check the range."""
        require_number("repetition_penalty", self.penalty)
        require(
            0 < self.penalty < float("inf"),
            f"repetition_penalty={self.penalty} must be positive and finite; 1 changes nothing",
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Lower the logits of tokens seen.

        Args:
            ids: of the tokens so far; negative ones are padding.
            logits: of the next token.

        Returns:
            New logits.
        """
        lower = torch.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return torch.where(_counts(ids, logits) > 0, lower, logits)


@dataclass(frozen=True)
class FrequencyPenalty:
    r"""Lower a token's logit by how often it was written, and once for having been written.

    .. math:: z_w \leftarrow z_w - \alpha_f\, c_w - \alpha_p\, [c_w > 0]

    with :math:`c_w` the count among the tokens behind the prompt.

    Args:
        frequency: :math:`\alpha_f`, nats; negative rewards repetition.
        presence: :math:`\alpha_p`, nats.
        prompt_length: tokens of ``ids`` that are not counted, padding included.

    Raises:
        ValueError: a penalty is not finite, or the length is negative.

    Example:
        >>> penalty = FrequencyPenalty(0.5, presence=1.0, prompt_length=1)
        >>> penalty(torch.tensor([[1, 0, 0]]), torch.tensor([[4.0, 4.0]]))
        tensor([[2., 4.]])

    Source: OpenAI's interface, "Frequency and presence penalties". Chapter: 23.
    """

    frequency: float
    presence: float = 0.0
    prompt_length: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("frequency", "presence"):
            value = getattr(self, name)
            require_number(f"{name}_penalty", value)
            require(
                abs(value) < float("inf"),
                f"{name}_penalty={value} must be finite; to forbid tokens use BannedTokens",
            )
        require(
            self.prompt_length >= 0,
            f"prompt_length={self.prompt_length} must be at least 0; give the width of the prompt",
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Lower the logits of tokens written.

        Args:
            ids: of the tokens so far; negative ones are padding.
            logits: of the next token.

        Returns:
            New logits.
        """
        counts = _counts(ids[:, self.prompt_length :], logits)
        return logits - self.frequency * counts - self.presence * (counts > 0)


def _counts(ids: Tensor, logits: Tensor) -> Tensor:
    """How often every token of the vocabulary occurs in each row; padding goes to a spare column.

    ``(rows, vocab)``, of the dtype of the logits.
    """
    vocab = logits.shape[-1]
    counts = logits.new_zeros(logits.shape[0], vocab + 1)
    at = torch.where(ids < 0, vocab, ids)
    return counts.scatter_add_(1, at, torch.ones_like(at, dtype=logits.dtype))[:, :vocab]
