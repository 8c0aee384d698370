"""The parts of a block for one token of every sequence: fewer and cheaper operations.

The stream is ``(batch, d_model)`` here. Numbers in comments were measured on one core of a
server; what they say of an operation is its call more than its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfbook.attention import KVCache, MultiHeadAttention
from tfbook.layers import FeedForward, GatedFeedForward, LayerNorm, RMSNorm
from tfbook.models.decoding_blocks import KnownBlock
from tfbook.models.joined_weights import joined_product
from tfbook.positions import RotaryEmbedding

Map = Callable[[Tensor], Tensor]


@dataclass(slots=True)
class Token:
    """A token of every sequence on its way through the layers.

    Args:
        x: the stream ``(batch, d_model)``, changed in place.
        pair: a table of twice that width whose first half is ``x``, for root-mean-square norms.
        negative: its other half.
        turn: turns the queries and keys in ``(batch, width)`` in place, after their position;
            None where positions do not rotate.
        mask: added to the scores, ``(batch, 1, 1, n_k)``; None where nothing is hidden.
    """

    x: Tensor
    pair: Tensor
    negative: Tensor
    turn: Callable[[Tensor], None] | None
    mask: Tensor | None

    @classmethod
    def start(
        cls, x: Tensor, *, turn: Callable[[Tensor], None] | None, mask: Tensor | None
    ) -> Token:
        """Begin with an embedded token.

        Args:
            x: ``(batch, d_model)``.
            turn: see the class.
            mask: see the class.

        Returns:
            The token.
        """
        width = x.shape[1]
        pair = torch.cat((x, x), 1)
        return cls(pair.narrow(1, 0, width), pair, pair.narrow(1, width, width), turn, mask)


#: Changes the token; given views of the cache: where its keys and values go, and all keys and
#: values that it sees, its own included.
Layer = Callable[[Token, Tensor, Tensor, Tensor], None]
Norm = Callable[[Token], Tensor]


def views(cache: KVCache) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Give every layer's views of the cache, made at once: about 1 µs a layer.

    Args:
        cache: not yet advanced.

    Returns:
        For every layer the place of the new keys and values ``(batch, 2, kv_heads, d_head)``,
        all keys, and all values ``(batch, kv_heads, n_k, d_head)``.
    """
    slots, start = cache.slots, cache.length
    new = cache.both.select(4, start % slots.capacity).movedim(0, 2)
    seen = cache.both.narrow(4, 0, slots.n_kept(start + 1))
    return new.unbind(0), seen[0].unbind(0), seen[1].unbind(0)


def added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Turn a boolean mask into zeros and minus infinities, as the kernel would in every layer.

    Args:
        mask: True where a query may attend; None where nothing is hidden.
        dtype: of the queries.

    Returns:
        The same shape, or None.
    """
    if mask is None:
        return None
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


class Turning:
    """Rotary positions from one table for all layers, queries and keys together, in place.

    Args:
        block: with rotary positions.
        rotate: these.
        device: of the model.
    """

    def __init__(self, block: KnownBlock, rotate: RotaryEmbedding, device: torch.device) -> None:
        attention = block.attention
        halves, n_pairs = rotate.layout == "halves", rotate.d_rotary // 2
        self._axis = -2 if halves else -1
        # A view of every pair in the joined product: at once what narrow, view and unflatten
        # give, of which each is a call.
        heads, d_head = attention.n_heads + attention.n_kv_heads, attention.d_head
        self._shape = (heads, 2, n_pairs) if halves else (heads, n_pairs, 2)
        self._strides = (d_head, n_pairs, 1) if halves else (d_head, 2, 1)
        self._amplitude = 1.0 if rotate.scaling is None else rotate.scaling.amplitude
        one = torch.ones(1, dtype=torch.int64, device=device)
        self._frequencies = rotate.angles(one).detach()[0]

    def at(self, positions: Tensor, dtype: torch.dtype) -> Callable[[Tensor], None]:
        """Give the function that turns what stands at a position.

        Args:
            positions: ``(1,)`` or ``(batch, 1)``.
            dtype: of queries and keys.

        Returns:
            A function of the joined product ``(batch, width)``, which it changes.
        """
        angles = positions.unsqueeze(-1).to(self._frequencies.dtype) * self._frequencies
        cos, sin = angles.cos() * self._amplitude, angles.sin() * self._amplitude
        cos = torch.stack((cos, cos), self._axis).to(dtype)
        sin = torch.stack((-sin, sin), self._axis).to(dtype)
        shape, strides, axis = self._shape, self._strides, self._axis

        def turn(qkv: Tensor) -> None:
            pairs = qkv.as_strided((len(qkv), *shape), (qkv.stride(0), *strides))
            swapped = pairs.flip(axis)
            pairs.mul_(cos).addcmul_(swapped, sin)

        return turn


def layer_step(block: KnownBlock) -> Layer:
    """Give what a block does to one token.

    Args:
        block: its parts.

    Returns:
        A function that changes the token.
    """
    attend, feed_forward = _attend(block.attention), _feed_forward(block.feed_forward)
    first = norm_step(block.norm)
    second = None if block.feed_forward_norm is None else norm_step(block.feed_forward_norm)

    def one_after_the_other(token: Token, *kept: Tensor) -> None:
        h = first(token)
        token.x.add_(attend(h, token, *kept))
        token.x.add_(feed_forward(h if second is None else second(token)))

    def side_by_side(token: Token, *kept: Tensor) -> None:
        h = first(token)
        transformed = feed_forward(h if second is None else second(token))
        token.x.add_(attend(h, token, *kept)).add_(transformed)

    return side_by_side if block.parallel else one_after_the_other


def norm_step(norm: nn.Module) -> Norm:
    """Give what a norm makes of a token.

    Args:
        norm: any.

    Returns:
        A function that gives ``(batch, d_model)``.
    """
    if isinstance(norm, LayerNorm):
        weight, bias, eps = norm.weight, norm.bias, norm.eps
        return lambda token: F.layer_norm(token.x, weight.shape, weight, bias, eps)
    if not isinstance(norm, RMSNorm):
        return lambda token: norm(token.x)
    # x beside −x has the mean 0, and the mean square of x for its variance. Of the two norms
    # PyTorch has a kernel for layer norm alone on the CPU: 20 against 40 µs between products
    # that sweep the caches, twice a layer.
    gain, width, eps = torch.cat((norm.weight, norm.weight)).detach(), len(norm.weight), norm.eps

    def rms_norm(token: Token) -> Tensor:
        torch.neg(token.x, out=token.negative)
        return F.layer_norm(token.pair, gain.shape, gain, None, eps).narrow(1, 0, width)

    return rms_norm


def _attend(attention: MultiHeadAttention) -> Callable[..., Tensor]:
    w_qkv = joined_product([attention.w_q, attention.w_k, attention.w_v])
    w_o = joined_product([attention.w_o])
    n_heads, n_kv, d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
    group, d_q = n_heads // n_kv, n_heads * d_head

    def attend(x: Tensor, token: Token, new: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        qkv = w_qkv(x)
        if token.turn is not None:
            token.turn(qkv)
        batch, width = qkv.shape
        new.copy_(qkv.as_strided(new.shape, (width, n_kv * d_head, d_head, 1), d_q))
        # Heads that share keys stand in the place of several queries of one head: nothing is
        # hidden from one token, so there is no mask that would tell queries apart. 18 against
        # 76 µs for repeated keys and values at 300 tokens.
        strides = (width, group * d_head, d_head, 1)
        q = qkv.as_strided((batch, n_kv, group, d_head), strides)
        heads = F.scaled_dot_product_attention(q, keys, values, attn_mask=token.mask)
        return w_o(heads.reshape(batch, d_q))

    return attend


def _feed_forward(layer: FeedForward | GatedFeedForward) -> Map:
    activation, w_down = layer.activation, joined_product([layer.w_down])
    if isinstance(layer, GatedFeedForward):
        w_gate_up = joined_product([layer.w_gate, layer.w_up])

        def gated(x: Tensor) -> Tensor:
            gate, up = w_gate_up(x).chunk(2, 1)
            return w_down(activation(gate).mul_(up))

        return gated
    w_up = joined_product([layer.w_up])
    return lambda x: w_down(activation(w_up(x)))
