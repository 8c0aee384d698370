"""Stacks of blocks, without embeddings or heads, and the builders that fill them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.checks import require
from tfbook.models.blocks import build_block, build_norm
from tfbook.models.combinations import require_legal
from tfbook.models.config import StackConfig
from tfbook.models.positions import build_position_bias

#: From the positions of queries and keys to a bias on the scores of every layer.
PositionBias = Callable[[Tensor, Tensor], Tensor]


class Encoder(nn.Module):
    r"""Blocks in which every token sees every token.

    .. math:: x \leftarrow \operatorname{block}_L(\dots \operatorname{block}_1(x))

    Args:
        blocks: at least one block without cross-attention.
        final_norm: applied to the last block's output; pre-norm stacks need it.
        position_bias: gives a bias for the scores of every layer from the positions.

    Raises:
        ValueError: there is no block.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> build_encoder(config)(torch.zeros(2, 5, 12)).shape
        torch.Size([2, 5, 12])

    Source: Vaswani et al. 2017, section 3.1. Chapter: 15.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        *,
        final_norm: nn.Module | None = None,
        position_bias: PositionBias | None = None,
    ) -> None:
        super().__init__()
        require(len(blocks) > 0, "blocks=[] must hold at least one block; build some first")
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = nn.Identity() if final_norm is None else final_norm
        self.position_bias = position_bias

    def forward(
        self,
        x: Float[Tensor, "batch n d_model"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Transform embedded tokens.

        Args:
            x: ``(batch, n, d_model)``.
            mask: True where a query may attend, broadcasts to ``(batch, heads, n, n)``.
            bias: added to the scores of every layer, in nats.
            positions: of the tokens.

        Returns:
            Shape ``(batch, n, d_model)``.
        """
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)
        bias = _add_bias(bias, self.position_bias, positions, positions)
        for block in self.blocks:
            x = block(x, mask=mask, bias=bias, positions=positions)
        return self.final_norm(x)


class Decoder(nn.Module):
    r"""Blocks in which every token sees itself and earlier tokens, and perhaps a context.

    Args:
        blocks: at least one block; all with cross-attention, or none.
        final_norm: applied to the last block's output; pre-norm stacks need it.
        position_bias: gives a bias for the scores of every layer from the positions.

    Raises:
        ValueError: there is no block.

    Example:
        >>> import torch
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> decoder = build_decoder(config, cross_attention=True)
        >>> decoder(torch.zeros(2, 5, 12), torch.zeros(2, 7, 12)).shape
        torch.Size([2, 5, 12])

    Source: Vaswani et al. 2017, section 3.1. Chapter: 15.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        *,
        final_norm: nn.Module | None = None,
        position_bias: PositionBias | None = None,
    ) -> None:
        super().__init__()
        require(len(blocks) > 0, "blocks=[] must hold at least one block; build some first")
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = nn.Identity() if final_norm is None else final_norm
        self.position_bias = position_bias

    def forward(
        self,
        x: Float[Tensor, "batch n d_model"],
        context: Float[Tensor, "batch n_c d_context"] | None = None,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "..."] | None = None,
        cache: KVCache | None = None,
        context_mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Transform embedded tokens.

        Args:
            x: ``(batch, n, d_model)``; with a cache, the tokens that are new.
            context: what cross-attention reads, ``(batch, n_c, d_context)``.
            mask: besides causality, True where a query may attend.
            bias: added to the scores of every layer's self-attention, in nats.
            positions: of the tokens of ``x``.
            cache: keys and values of earlier tokens; advanced by ``n``.
            context_mask: True where a query may attend to the context.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: the cache was made for another number of layers.
            RuntimeError: the cache has no room for the new tokens.
        """
        require(
            cache is None or cache.n_layers == len(self.blocks),
            f"cache was made for {0 if cache is None else cache.n_layers} layers, but there are "
            f"{len(self.blocks)}; make it with the model's new_cache",
        )
        if positions is None:
            n = x.shape[1]
            positions = (
                torch.arange(n, device=x.device) if cache is None else cache.next_positions(n)
            )
        if self.position_bias is not None:
            of_keys = positions if cache is None else cache.key_positions(positions)
            bias = _add_bias(bias, self.position_bias, positions, of_keys)
        for i, block in enumerate(self.blocks):
            x = block(
                x,
                context,
                mask=mask,
                causal=True,
                bias=bias,
                positions=positions,
                cache=None if cache is None else cache.layer(i),
                context_mask=context_mask,
                context_cache=None if cache is None else cache.context(i),
            )
        if cache is not None:
            cache.advance(x.shape[1], positions=positions)
        return self.final_norm(x)


def _add_bias(
    bias: Tensor | None, position_bias: PositionBias | None, of_queries: Tensor, of_keys: Tensor
) -> Tensor | None:
    if position_bias is None:
        return bias
    from_positions = position_bias(of_queries, of_keys)
    return from_positions if bias is None else bias + from_positions


def build_encoder(config: StackConfig, *, positions: str = "none") -> Encoder:
    """Build an encoder from its configuration.

    Args:
        config: sizes and choices.
        positions: the position scheme, of those in ``POSITIONS`` that act inside a stack;
            the others change nothing here.

    Returns:
        A new encoder with PyTorch's default initialisation.

    Raises:
        ValueError: choices that do not go together.

    Example:
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> len(build_encoder(config).blocks)
        2

    Source: Vaswani et al. 2017, section 3.1. Chapter: 15.
    """
    require_legal(config, positions=positions, causal=False, cross_attention=False)
    blocks = _build_blocks(config, positions, cross_attention=False)
    bias = build_position_bias(positions, config, causal=False)
    return Encoder(blocks, final_norm=_final_norm(config), position_bias=bias)


def build_decoder(
    config: StackConfig, *, positions: str = "none", cross_attention: bool
) -> Decoder:
    """Build a decoder from its configuration.

    Args:
        config: sizes and choices.
        positions: the position scheme, of those in ``POSITIONS`` that act inside a stack;
            the others change nothing here.
        cross_attention: whether its blocks read a context.

    Returns:
        A new decoder with PyTorch's default initialisation.

    Raises:
        ValueError: choices that do not go together.

    Example:
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> build_decoder(config, cross_attention=False).blocks[0].cross_attention is None
        True

    Source: Vaswani et al. 2017, section 3.1. Chapter: 15.
    """
    require_legal(config, positions=positions, causal=True, cross_attention=cross_attention)
    blocks = _build_blocks(config, positions, cross_attention=cross_attention)
    bias = build_position_bias(positions, config, causal=True)
    return Decoder(blocks, final_norm=_final_norm(config), position_bias=bias)


def _build_blocks(config: StackConfig, positions: str, *, cross_attention: bool) -> list[nn.Module]:
    shared: nn.Module | None = None
    blocks: list[nn.Module] = []
    for _ in range(config.n_layers):
        block = build_block(
            config, positions=positions, cross_attention=cross_attention, feed_forward=shared
        )
        if config.share_feed_forward:
            shared = block.feed_forward
        blocks.append(block)
    return blocks


def _final_norm(config: StackConfig) -> nn.Module | None:
    # Where the stream itself is never normalised it is a plain sum, and grows with depth.
    return None if config.placement == "post" else build_norm(config)
