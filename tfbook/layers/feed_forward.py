"""The feed-forward layer: the same two-layer network at every position."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tfbook.checks import require_positive, require_probability

Activation = Callable[[Tensor], Tensor]


def squared_relu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Square the positive part: :math:`\max(0, x)^2`.

    Args:
        x: any shape.

    Returns:
        Shape and dtype of ``x``.

    Example:
        >>> import torch
        >>> squared_relu(torch.tensor([-2.0, 0.5, 3.0]))
        tensor([0.0000, 0.2500, 9.0000])

    Source: So et al. 2021, section 3 (Primer). Chapter: 14.
    """
    return F.relu(x).square()


class FeedForward(nn.Module):
    r"""Widen, bend, narrow, at every position alike.

    .. math:: \operatorname{FFN}(x) = \phi(x W_{up} + b_{up})\, W_{down} + b_{down}

    Args:
        d_model: width of input and output.
        d_ff: inner width.
        activation: :math:`\phi`, elementwise: ``F.relu`` (2017), ``F.gelu`` (BERT, exact),
            ``functools.partial(F.gelu, approximate="tanh")`` (GPT-2), ``F.silu``,
            :func:`squared_relu`, ….
        dropout_p: probability of dropping an inner feature in training.
        bias: whether the two maps add a bias.

    Raises:
        ValueError: a width below one, or a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> FeedForward(4, 16)(torch.zeros(2, 3, 4)).shape
        torch.Size([2, 3, 4])

    Source: Vaswani et al. 2017, equation 2. Chapter: 14.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        *,
        activation: Activation = F.relu,
        dropout_p: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        require_positive("d_model", d_model)
        require_positive("d_ff", d_ff)
        require_probability("dropout_p", dropout_p)
        self.activation, self.dropout_p = activation, dropout_p
        self.w_up = nn.Linear(d_model, d_ff, bias=bias)
        self.w_down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Transform each position of ``x``, shape ``(…, d_model)``, alone."""
        inner = self.activation(self.w_up(x))
        if self.training and self.dropout_p:
            inner = F.dropout(inner, self.dropout_p)
        return self.w_down(inner)
