"""Residual connections: how a sublayer joins the stream, and where the norms stand."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tfbook.checks import require_probability

Sublayer = Callable[[Tensor], Tensor]


class PreNorm(nn.Module):
    r"""Normalise what the sublayer reads.

    .. math:: y = x + \operatorname{dropout}(f(\operatorname{norm}(x)))

    The residual stream itself is never normalised, so a stack needs one norm at its end.

    Args:
        norm: the normalisation.
        dropout_p: probability of dropping a feature of the sublayer's output in training.

    Raises:
        ValueError: a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> PreNorm(nn.Identity())(torch.ones(2), lambda x: 2 * x)
        tensor([3., 3.])

    Source: Xiong et al. 2020, table 1. Chapter: 13.
    """

    def __init__(self, norm: nn.Module, *, dropout_p: float = 0.0) -> None:
        super().__init__()
        require_probability("dropout_p", dropout_p)
        self.norm, self.dropout_p = norm, dropout_p

    def forward(self, x: Tensor, sublayer: Sublayer) -> Tensor:
        """Add what ``sublayer`` makes of the normalised ``x``, shape ``(batch, n, d_model)``."""
        return x + F.dropout(sublayer(self.norm(x)), self.dropout_p, self.training)


class PostNorm(nn.Module):
    r"""Normalise the sum: :math:`y = \operatorname{norm}(x + \operatorname{dropout}(f(x)))`.

    Args:
        norm: the normalisation.
        dropout_p: probability of dropping a feature of the sublayer's output in training.

    Raises:
        ValueError: a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> PostNorm(nn.Identity())(torch.ones(2), lambda x: 2 * x)
        tensor([3., 3.])

    Source: Vaswani et al. 2017, section 3.1. Chapter: 13.
    """

    def __init__(self, norm: nn.Module, *, dropout_p: float = 0.0) -> None:
        super().__init__()
        require_probability("dropout_p", dropout_p)
        self.norm, self.dropout_p = norm, dropout_p

    def forward(self, x: Tensor, sublayer: Sublayer) -> Tensor:
        """Normalise ``x`` plus what ``sublayer`` makes of it, shape ``(batch, n, d_model)``."""
        return self.norm(x + F.dropout(sublayer(x), self.dropout_p, self.training))


class BranchNorm(nn.Module):
    r"""Normalise what the sublayer gives, before it joins the stream.

    .. math:: y = x + \operatorname{dropout}(\operatorname{norm}(f(x)))

    Sometimes called post-norm by mistake: there the sum is normalised, here the stream never
    is. Every branch adds a vector of the same size, so the stream grows no faster than with
    the number of sublayers. Swin v2 calls it residual-post-norm, OLMo 2 reordered norm.

    Args:
        norm: the normalisation.
        dropout_p: probability of dropping a feature of what is added in training.

    Raises:
        ValueError: a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> BranchNorm(nn.Identity())(torch.ones(2), lambda x: 2 * x)
        tensor([3., 3.])

    Source: Liu et al. 2022, section 3.2 (Swin v2); OLMo Team 2024, section 2.1. Chapter: 13.
    """

    def __init__(self, norm: nn.Module, *, dropout_p: float = 0.0) -> None:
        super().__init__()
        require_probability("dropout_p", dropout_p)
        self.norm, self.dropout_p = norm, dropout_p

    def forward(self, x: Tensor, sublayer: Sublayer) -> Tensor:
        """Add the normalised output of ``sublayer`` to ``x``, shape ``(batch, n, d_model)``."""
        return x + F.dropout(self.norm(sublayer(x)), self.dropout_p, self.training)


class SandwichNorm(nn.Module):
    r"""Normalise both what the sublayer reads and what it gives.

    .. math:: y = x + \operatorname{dropout}(\operatorname{norm}_2(f(\operatorname{norm}_1(x))))

    Also called peri-norm. As with :class:`PreNorm`, a stack needs one norm at its end.

    Args:
        norm: the normalisation of the input.
        branch_norm: the normalisation of the output.
        dropout_p: probability of dropping a feature of what is added in training.

    Raises:
        ValueError: a probability outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> SandwichNorm(nn.Identity(), nn.Identity())(torch.ones(2), lambda x: 2 * x)
        tensor([3., 3.])

    Source: Ding et al. 2021, section 2.4 (CogView); Gemma Team 2024, section 2 (Gemma 2).
    Chapter: 13.
    """

    def __init__(self, norm: nn.Module, branch_norm: nn.Module, *, dropout_p: float = 0.0) -> None:
        super().__init__()
        require_probability("dropout_p", dropout_p)
        self.norm, self.branch_norm, self.dropout_p = norm, branch_norm, dropout_p

    def forward(self, x: Tensor, sublayer: Sublayer) -> Tensor:
        """Join ``sublayer``, normalised on both sides, to ``x``, shape ``(batch, n, d_model)``."""
        branch = self.branch_norm(sublayer(self.norm(x)))
        return x + F.dropout(branch, self.dropout_p, self.training)
