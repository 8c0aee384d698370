"""Parameters that begin as random numbers."""

from __future__ import annotations

import torch
from torch import nn


def normal_parameter(*size: int, std: float) -> nn.Parameter:
    r"""Make a parameter of numbers drawn from a normal distribution.

    .. math:: w \sim N(0, \sigma^2)

    Args:
        size: of its axes.
        std: :math:`\sigma`.

    Returns:
        The parameter, from torch's global generator. On the meta device nothing is drawn: to
        pretend to draw there, PyTorch first loads hundreds of modules, for about a second.

    Example:
        >>> normal_parameter(3, 2, std=0.02).shape
        torch.Size([3, 2])

    Source: none. Chapter: 15.
    """
    parameter = nn.Parameter(torch.empty(*size))
    if not parameter.is_meta:
        nn.init.normal_(parameter, std=std)
    return parameter
