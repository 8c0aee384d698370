"""One block from a configuration: a literal dict per slot, and no flags inside the parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from tfbook.attention import MultiHeadAttention
from tfbook.layers import (
    BatchNorm,
    Block,
    BranchNorm,
    ChunkedFeedForward,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    LowRankFeedForward,
    ParallelBlock,
    PostNorm,
    PowerNorm,
    PreNorm,
    RMSNorm,
    SandwichNorm,
    ScaleNorm,
    squared_relu,
)
from tfbook.layers.feed_forward import Activation
from tfbook.models.config import StackConfig
from tfbook.models.positions import build_relative, build_rotate


def build_block(
    config: StackConfig,
    *,
    positions: str = "none",
    cross_attention: bool = False,
    feed_forward: nn.Module | None = None,
) -> Block | ParallelBlock:
    """Build one block of a stack.

    Args:
        config: sizes and choices.
        positions: the position scheme.
        cross_attention: whether the block reads a context.
        feed_forward: a feed-forward layer to share; None builds one.

    Returns:
        A new block with PyTorch's default initialisation.

    Example:
        >>> build_block(StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)).attention.n_heads
        3

    Chapter: 15.
    """
    feed_forward = build_feed_forward(config) if feed_forward is None else feed_forward
    attention = _attention(config, positions, window=config.window)
    if config.placement in ("parallel", "parallel_two_norms"):
        two_norms = config.placement == "parallel_two_norms"
        return ParallelBlock(
            attention=attention,
            feed_forward=feed_forward,
            norm=build_norm(config),
            feed_forward_norm=build_norm(config) if two_norms else None,
            dropout_p=config.dropout_p,
        )
    return Block(
        attention=attention,
        attention_residual=_residual(config),
        cross_attention=_attention(config, "none", window=None) if cross_attention else None,
        cross_attention_residual=_residual(config) if cross_attention else None,
        feed_forward=feed_forward,
        feed_forward_residual=_residual(config),
    )


def build_feed_forward(config: StackConfig) -> nn.Module:
    """Build the feed-forward layer that a configuration names.

    Args:
        config: sizes and choices.

    Returns:
        A new layer.

    Example:
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2, feed_forward="gated")
        >>> type(build_feed_forward(config)).__name__
        'GatedFeedForward'

    Chapter: 14.
    """
    sizes = (config.d_model, config.d_ff)
    activation, bias = build_activation(config), config.biases[2]
    kinds: dict[str, Callable[[], nn.Module]] = {
        "plain": lambda: FeedForward(*sizes, activation=activation, bias=bias),
        "gated": lambda: GatedFeedForward(*sizes, activation=activation, bias=bias),
        "low_rank": lambda: LowRankFeedForward(
            *sizes, config.feed_forward_rank, activation=activation, bias=bias
        ),
    }
    layer = kinds[config.feed_forward]()
    chunk = config.feed_forward_chunk
    return layer if chunk is None else ChunkedFeedForward(layer, chunk)


def build_activation(config: StackConfig) -> Activation:
    """Give the nonlinearity that a configuration names.

    Args:
        config: sizes and choices.

    Returns:
        A function of a tensor, element by element.

    Example:
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> build_activation(config)(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])

    Chapter: 14.
    """
    activations: dict[str, Activation] = {
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_tanh": partial(F.gelu, approximate="tanh"),
        "silu": F.silu,
        "sigmoid": torch.sigmoid,
        "squared_relu": squared_relu,
    }
    return activations[config.activation]


def build_norm(config: StackConfig) -> nn.Module:
    """Build the norm that a configuration names.

    Args:
        config: sizes and choices.

    Returns:
        A new norm.

    Example:
        >>> type(build_norm(StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2))).__name__
        'LayerNorm'

    Chapter: 13.
    """
    norms: dict[str, Callable[..., nn.Module]] = {
        "layer_norm": LayerNorm,
        "rms_norm": RMSNorm,
        "scale_norm": ScaleNorm,
        "batch_norm": BatchNorm,
        "power_norm": PowerNorm,
    }
    eps = {} if config.norm_eps is None else {"eps": config.norm_eps}
    return norms[config.norm](config.d_model, **eps)


def _attention(config: StackConfig, positions: str, *, window: int | None) -> MultiHeadAttention:
    bias, output_bias, _ = config.biases
    return MultiHeadAttention(
        config.d_model,
        config.n_heads,
        n_kv_heads=config.n_kv_heads,
        d_head=config.d_head,
        bias=bias,
        output_bias=output_bias,
        rotate=build_rotate(positions, config),
        relative=build_relative(positions, config),
        window=window,
    )


def _residual(config: StackConfig) -> nn.Module:
    dropout_p = config.dropout_p
    residuals: dict[str, Callable[[], nn.Module]] = {
        "pre": lambda: PreNorm(build_norm(config), dropout_p=dropout_p),
        "post": lambda: PostNorm(build_norm(config), dropout_p=dropout_p),
        "branch": lambda: BranchNorm(build_norm(config), dropout_p=dropout_p),
        "sandwich": lambda: SandwichNorm(
            build_norm(config), build_norm(config), dropout_p=dropout_p
        ),
    }
    return residuals[config.placement]()
