"""Feed-forward layers with a gate: GLU and its relatives."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tfbook.checks import require_positive, require_probability
from tfbook.layers.feed_forward import Activation


class GatedFeedForward(nn.Module):
    r"""Widen twice, let one half gate the other, narrow.

    .. math:: \operatorname{FFN}(x) = \bigl(\phi(x W_{gate} + b_{gate}) \odot
              (x W_{up} + b_{up})\bigr) W_{down} + b_{down}

    The activation names the variant: ``torch.sigmoid`` gives GLU, ``F.relu`` ReGLU, ``F.gelu``
    GEGLU, ``F.silu`` SwiGLU. There are three matrices instead of two; :func:`gated_width` gives
    the ``d_ff`` for as many parameters.

    Args:
        d_model: width of input and output.
        d_ff: inner width.
        activation: :math:`\phi`, elementwise, of the gate.
        dropout_p: probability of dropping an inner feature in training.
        bias: whether the three maps add a bias; the paper has none.

    Raises:
        ValueError: a width below one, or a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> GatedFeedForward(4, gated_width(16))(torch.zeros(2, 3, 4)).shape
        torch.Size([2, 3, 4])

    Source: Shazeer 2020, equations 5 and 6. Chapter: 14.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        *,
        activation: Activation = F.silu,
        dropout_p: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        require_positive("d_model", d_model)
        require_positive("d_ff", d_ff)
        require_probability("dropout_p", dropout_p)
        self.activation, self.dropout_p = activation, dropout_p
        self.w_gate = nn.Linear(d_model, d_ff, bias=bias)
        self.w_up = nn.Linear(d_model, d_ff, bias=bias)
        self.w_down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Transform each position of ``x``, shape ``(…, d_model)``, alone."""
        inner = self.activation(self.w_gate(x)) * self.w_up(x)
        if self.training and self.dropout_p:
            inner = F.dropout(inner, self.dropout_p)
        return self.w_down(inner)


def gated_width(d_ff: int, *, multiple_of: int = 1) -> int:
    r"""Give the inner width at which a gated layer has as many weights as a plain one.

    .. math:: 3\, d_{model}\, d_{gated} = 2\, d_{model}\, d_{ff} \;\Rightarrow\;
              d_{gated} = \tfrac{2}{3} d_{ff}

    Args:
        d_ff: inner width of the plain layer.
        multiple_of: round up to a multiple of this, which fast kernels prefer.

    Returns:
        The inner width of the gated layer, rounded up.

    Raises:
        ValueError: an argument is below one.

    Example:
        >>> gated_width(3072), gated_width(4 * 4096, multiple_of=256)
        (2048, 11008)

    Source: Shazeer 2020, section 2; Touvron et al. 2023, section 2.2 (Llama). Chapter: 14.
    """
    require_positive("d_ff", d_ff)
    require_positive("multiple_of", multiple_of)
    return -(-2 * d_ff // (3 * multiple_of)) * multiple_of
