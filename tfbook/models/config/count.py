"""How many numbers a model learns."""

from __future__ import annotations

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Count trainable numbers, a tied table once.

    Args:
        model: any module.

    Returns:
        The count.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
