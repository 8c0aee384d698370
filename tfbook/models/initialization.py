"""Initialisation, in one place."""

from __future__ import annotations

import math

from torch import nn

from tfbook.attention import MultiHeadAttention
from tfbook.layers import Embedding, FeedForward, GatedFeedForward, LowRankFeedForward
from tfbook.positions import LearnedPositions


def initialize_xavier(model: nn.Module) -> None:
    r"""Initialise as the 2017 model's published code does.

    .. math:: W \sim U(-a, a),\ a = \sqrt{6 / (d_{in} + d_{out})}, \qquad b = 0, \qquad
              E \sim N(0,\ 1/d_{model})

    Each projection of queries, keys and values is one matrix for all heads.

    Args:
        model: changed in place.

    Example:
        >>> layer = nn.Linear(3, 3); initialize_xavier(layer); bool((layer.bias == 0).all())
        True

    Source: Glorot and Bengio 2010, equation 16. Chapter: 15.
    """
    if _waits_for_weights(model):
        return
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Embedding):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
            if module.segments is not None:
                nn.init.normal_(module.segments, std=0.02)
        elif isinstance(module, LearnedPositions):
            nn.init.normal_(module.table, std=0.02)


def initialize_normal(model: nn.Module, *, std: float = 0.02, n_residual: int = 1) -> None:
    r"""Initialise as GPT-2 does.

    .. math:: W, E \sim N(0, \sigma^2), \qquad b = 0, \qquad
              W_o, W_{down} \sim N(0,\ \sigma^2 / n_{residual})

    Args:
        model: changed in place.
        std: :math:`\sigma`.
        n_residual: sublayers that add to the residual stream (two a block); the output maps
            of attention and feed-forward shrink by its root, so that their sum does not grow
            with depth.

    Example:
        >>> layer = nn.Linear(3, 3); initialize_normal(layer); bool((layer.bias == 0).all())
        True

    Source: Radford et al. 2019, section 2.3. Chapter: 15.
    """
    if _waits_for_weights(model):
        return
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Embedding):
            nn.init.normal_(module.weight, std=std)
            if module.segments is not None:
                nn.init.normal_(module.segments, std=std)
        elif isinstance(module, LearnedPositions):
            nn.init.normal_(module.table, std=std)
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            nn.init.normal_(module.w_o.weight, std=std / math.sqrt(n_residual))
        elif isinstance(module, FeedForward | GatedFeedForward):
            nn.init.normal_(module.w_down.weight, std=std / math.sqrt(n_residual))
        elif isinstance(module, LowRankFeedForward):
            thin = module.w_down.get_parameter("1.weight")
            nn.init.normal_(thin, std=std / math.sqrt(n_residual))


def _waits_for_weights(model: nn.Module) -> bool:
    """Whether all is on the meta device, where PyTorch takes a second to draw nothing."""
    return all(parameter.is_meta for parameter in model.parameters())
