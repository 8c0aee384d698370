"""Which blocks a decoding step knows, and their parts by type."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tfbook.attention import MultiHeadAttention, fused_attention
from tfbook.compression import Int8Embedding, Int8Linear
from tfbook.layers import Block, FeedForward, GatedFeedForward, ParallelBlock, PreNorm
from tfbook.models.causal_lm import CausalLM
from tfbook.models.joined_weights import can_join
from tfbook.models.stacks import Decoder
from tfbook.positions import RotaryEmbedding


@dataclass(frozen=True)
class KnownBlock:
    """The parts of a block that a decoding step can stand in for.

    Args:
        attention: of the block.
        rotate: its rotary positions, with angles proportional to the position, or None.
        feed_forward: of the block.
        norm: of what attention reads.
        feed_forward_norm: of what the feed-forward layer reads; None means the same as attention.
        parallel: whether both read the stream before either has written.

    Source: none. Chapter: 24.
    """

    attention: MultiHeadAttention
    rotate: RotaryEmbedding | None
    feed_forward: FeedForward | GatedFeedForward
    norm: nn.Module
    feed_forward_norm: nn.Module | None
    parallel: bool

    @property
    def shared(self) -> tuple[object, ...]:
        """What must be the same in all blocks of a model."""
        a, r = self.attention, self.rotate
        sizes = (a.window, a.n_heads, a.n_kv_heads, a.d_head)
        if r is None:
            return sizes
        learnt = None if r.log_frequencies is None else id(r)
        return (*sizes, r.base, r.d_rotary, r.layout, r.scaling, learnt)


def known_blocks(model: nn.Module) -> list[KnownBlock] | None:
    """Give the blocks of a model, if a decoding step knows all that they do.

    Args:
        model: any.

    Returns:
        One entry a block for a :class:`CausalLM` of pre-norm or parallel blocks with plain or
        gated feed-forward layers and no bias on the scores, in evaluation mode and without
        hooks; None for any other model.

    Example:
        >>> from tfbook.models import CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="post")
        >>> known_blocks(CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()) is None
        True

    Source: none. Chapter: 24.
    """
    if type(model) is not CausalLM or type(model.decoder) is not Decoder:
        return None
    if model.decoder.position_bias is not None or not can_join([model.head]):
        return None
    if any(_is_watched(module) for module in model.modules()):
        return None
    blocks = [known_block(block) for block in model.decoder.blocks]
    known = [block for block in blocks if block is not None]
    same = len({block.shared for block in known}) == 1
    return known if same and len(known) == len(blocks) else None


def known_block(block: nn.Module) -> KnownBlock | None:
    """Give the parts of a block, or None where it does more than a decoding step knows.

    Args:
        block: any.

    Returns:
        Its parts.

    Example:
        >>> known_block(nn.Linear(2, 3)) is None
        True

    Source: none. Chapter: 24.
    """
    if type(block) is not Block and type(block) is not ParallelBlock:
        return None
    attention, feed_forward = block.attention, block.feed_forward
    if not isinstance(attention, MultiHeadAttention) or not _is_plain(attention):
        return None
    if type(feed_forward) is not FeedForward and type(feed_forward) is not GatedFeedForward:
        return None
    rotate = attention.rotate
    if rotate is not None and type(rotate) is not RotaryEmbedding:
        return None
    if rotate is not None and rotate.depends_on_length:
        return None
    if not all(can_join(group) for group in _products(attention, feed_forward)):
        return None
    norms = _norms(block)
    if norms is None:
        return None
    return KnownBlock(attention, rotate, feed_forward, *norms, type(block) is ParallelBlock)


def _is_plain(attention: MultiHeadAttention) -> bool:
    return (
        type(attention) is MultiHeadAttention
        and attention.attend is fused_attention
        and attention.relative is None
    )


def _products(
    attention: MultiHeadAttention, layer: FeedForward | GatedFeedForward
) -> list[list[nn.Module]]:
    a = attention
    first = [layer.w_gate, layer.w_up] if isinstance(layer, GatedFeedForward) else [layer.w_up]
    return [[a.w_q, a.w_k, a.w_v], [a.w_o], [*first], [layer.w_down]]


def _norms(block: Block | ParallelBlock) -> tuple[nn.Module, nn.Module | None] | None:
    if isinstance(block, ParallelBlock):
        return block.norm, block.feed_forward_norm
    first, second = block.attention_residual, block.feed_forward_residual
    if block.cross_attention is not None or type(first) is not PreNorm:
        return None
    return (first.norm, second.norm) if type(second) is PreNorm else None


def _is_watched(module: nn.Module) -> bool:
    """Whether a module has hooks or a forward pass of its own, or is in training.

    Layers of weights alone do the same in training.
    """
    trains = module.training and not isinstance(module, nn.Linear | Int8Linear | Int8Embedding)
    patched = "forward" in vars(module)
    return bool(trains or patched or module._forward_hooks or module._forward_pre_hooks)
