"""Keys and values kept between decoding steps.

``cache = model.new_cache(batch, max_length, padding=…)``, then ``model(ids, cache=cache)`` for the
prompt, whole or in chunks, and for every token after it. The model advances the cache.

- **Left padding** is told once. The cache then hides it and counts positions without it: neither
  ``mask=`` nor ``positions=`` need to be passed.
- A **window** bounds the memory to ``window + spare`` slots; ``max_length`` takes no room then.
- ``crop`` forgets the newest tokens (with a window, as far as ``spare`` reaches), ``reorder`` lets
  beams change places, ``repeat`` gives a new cache in which every row stands several times.
- No step copies what is kept: new tokens are written in place, and layers read views.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tfbook.attention.cache_rows import copy_rows, empty_like, read_rows
from tfbook.attention.cache_slots import Slots
from tfbook.attention.cached_layers import ContextCache, LayerCache
from tfbook.attention.cached_tokens import LeftPadding, TokenPositions
from tfbook.attention.masks import combine_masks
from tfbook.checks import as_integer, require, require_positive, require_state

__all__ = ["ContextCache", "KVCache", "LayerCache"]


class KVCache:
    """Room for the keys and values of every layer, allocated once.

    A layer writes those of the new tokens and reads all that these see. The *model* calls
    :meth:`advance` once per forward pass: no layer needs to know whether it is the last.

    Args:
        n_layers: decoder layers.
        batch: sequences.
        n_kv_heads: key and value heads; fewer than query heads where these share them.
        max_length: most tokens, padding included.
        d_head: width of a head.
        dtype: of keys and values.
        device: where they lie.
        window: newest tokens that a token sees, itself included; older ones are overwritten.
            None keeps all.
        spare: tokens beyond the window that :meth:`crop` may take back.
        padding: filler tokens on the left of each row, ``(batch,)``; None means none.

    Raises:
        ValueError: a size or window below one, a negative ``spare`` or one without a window, or
            paddings of another shape or outside ``[0, max_length)``.

    Example:
        >>> cache = KVCache(n_layers=1, batch=2, n_kv_heads=3, max_length=5, d_head=4)
        >>> new = torch.ones(2, 3, 1, 4)
        >>> keys, values = cache.layer(0).keys_values(lambda: (new, new))
        >>> cache.advance(1); cache.length
        1

    Source: Shazeer 2019, section 2.4.1 (incremental decoding); Jiang et al. 2023, section 2
    (rolling buffer). Chapter: 24.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        batch: int,
        n_kv_heads: int,
        max_length: int,
        d_head: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        window: int | None = None,
        spare: int = 0,
        padding: Int[Tensor, "batch"] | None = None,
    ) -> None:
        sizes = dict(n_layers=n_layers, batch=batch, n_kv_heads=n_kv_heads, d_head=d_head)
        for name, size in {**sizes, "max_length": max_length}.items():
            require_positive(name, size)
        self.slots = Slots.sized(max_length, window=window, spare=spare)
        shape = (n_layers, batch, n_kv_heads, self.slots.capacity, d_head)
        #: Keys, then values, ``(2, n_layers, batch, n_kv_heads, slots, d_head)``.
        self.both = torch.zeros(2, *shape, dtype=dtype, device=device)
        self.keys, self.values = self.both[0], self.both[1]
        self.length, self.max_length = 0, max_length
        self.window, self.spare = window, spare
        self._positions = TokenPositions(self.slots)
        self._padding: LeftPadding | None = None
        if padding is not None:
            self._pad(padding.to(self.keys.device))
        self._mask: tuple[tuple[int, int], Tensor | None] | None = None
        self._contexts = [ContextCache() for _ in range(n_layers)]

    @property
    def n_layers(self) -> int:
        """Layers whose keys and values are kept."""
        return self.keys.shape[0]

    @property
    def batch(self) -> int:
        """Sequences."""
        return self.keys.shape[1]

    def longest_after(self, n: int) -> int:
        """Tokens of the longest row, without its padding, once ``n`` more have come."""
        return max(0, self.length + n - (0 if self._padding is None else self._padding.least))

    @property
    def padding(self) -> Int[Tensor, "batch"] | None:
        """Filler tokens on the left of each row, ``(batch,)``; None where none were told."""
        return None if self._padding is None else self._padding.lengths

    @property
    def n_bytes(self) -> int:
        r"""Size in bytes: :math:`2 · layers · batch · heads_{kv} · slots · d_{head} · b`."""
        return 2 * self.keys.numel() * self.keys.element_size()

    @property
    def positions(self) -> Int[Tensor, "*batch n"] | None:
        """Of the tokens in the slots, ``(n,)`` or ``(batch, n)``; None where none were given."""
        return self._positions.known(self.length)

    def layer(self, index: int) -> LayerCache:
        """Give one layer's part.

        Args:
            index: the layer, from 0.

        Returns:
            A view that writes into this cache.

        Raises:
            ValueError: there is no such layer.
        """
        self._require_layer(index)
        return LayerCache(self, index)

    def context(self, index: int) -> ContextCache:
        """Give what one layer's cross-attention keeps of its context.

        Args:
            index: the layer, from 0.

        Returns:
            The same object at every call, empty at first.

        Raises:
            ValueError: there is no such layer.
        """
        self._require_layer(index)
        return self._contexts[index]

    def next_positions(self, n: int) -> Int[Tensor, "*batch n"]:
        """Give the positions of the next tokens, counted from each row's first real token.

        Args:
            n: how many tokens.

        Returns:
            Shape ``(n,)``, or ``(batch, n)`` with padding; 0 at filler tokens.
        """
        if self._padding is None:
            return torch.arange(self.length, self.length + n, device=self.keys.device)
        return self._padding.positions(start=self.length, n=n)

    def mask(self, n: int) -> Bool[Tensor, "..."] | None:
        """Hide padding and what lies before the window from the next tokens.

        Args:
            n: how many tokens.

        Returns:
            True where a query may attend, causality aside, over the keys that
            :meth:`LayerCache.keys_values` gives; broadcasts to ``(batch, 1, n, n_k)``. None where
            nothing is hidden.
        """
        # All layers of a forward pass ask the same.
        if self._mask is None or self._mask[0] != (self.length, n):
            self._mask = ((self.length, n), self._new_mask(n))
        return self._mask[1]

    def advance(self, n_tokens: int, *, positions: Int[Tensor, "*batch n"] | None = None) -> None:
        """Count the tokens that every layer has just written.

        Args:
            n_tokens: how many.
            positions: of these tokens, ``(n,)`` or ``(batch, n)``; relative position schemes
                need them at every step.

        Raises:
            RuntimeError: there is no room for them.
            ValueError: fewer than one token.
        """
        require_positive("n_tokens", n_tokens)
        self._require_room(n_tokens)
        self._positions.write(positions, length=self.length)
        self.length += n_tokens
        self.slots.wrote(self.length)

    def key_positions(self, positions: Int[Tensor, "*batch n"]) -> Int[Tensor, "*batch n_k"]:
        """Give the positions of all keys that the new tokens see.

        Args:
            positions: of the new tokens, ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(n_k,)`` or ``(batch, n_k)``, in the order of :meth:`LayerCache.keys_values`.

        Raises:
            RuntimeError: earlier tokens came without positions, or there is no room.
        """
        if self.length == 0:
            return positions
        self._require_room(positions.shape[-1])
        return self._positions.seen(positions, length=self.length)

    def reorder(self, rows: Int[Tensor, "batch"]) -> None:
        """Let row ``i`` continue what row ``rows[i]`` has written (beam search).

        Contexts stay: the beams of one source share it. The one step that copies what is kept.

        Args:
            rows: one index into the batch per row, shape ``(batch,)``.

        Raises:
            ValueError: no tensor of integers, another shape, or rows that are not there.
        """
        if read_rows(rows, self.batch) != list(range(self.batch)):
            self._take(rows, self)

    def repeat(self, copies: int) -> KVCache:
        """Give a cache in which every row stands several times, side by side.

        Args:
            copies: of each row; row ``b`` becomes rows ``b·copies`` to ``(b+1)·copies − 1``.

        Returns:
            A new cache of ``batch · copies`` rows, as long as this one, contexts included.

        Raises:
            ValueError: ``copies`` is below one.
        """
        require_positive("copies", copies)
        new = empty_like(self, self.batch * copies)
        rows = torch.arange(self.batch, device=self.keys.device).repeat_interleave(copies)
        new._take(rows, self)
        new.length, new.slots.oldest = self.length, self.slots.oldest
        new._contexts = [context.repeat(copies) for context in self._contexts]
        return new

    def crop(self, length: int) -> None:
        """Forget the newest tokens; nothing is copied or freed.

        Args:
            length: tokens that stay; 0 empties the cache.

        Raises:
            ValueError: ``length`` is no integer, negative, or more than the cache holds.
            RuntimeError: a window has overwritten tokens that the next one would see.
        """
        length = as_integer("length", length)
        require(
            0 <= length <= self.length,
            f"length={length} must lie in [0, {self.length}], what the cache holds; crop only "
            "takes tokens away",
        )
        self.slots.crop(length)
        self.length = length

    def _take(self, rows: Tensor, source: KVCache) -> None:
        """Let row ``i`` be row ``rows[i]`` of a cache as long as this one."""
        copy_rows(source, rows, into=self)
        self._positions = source._positions.taken(rows, self.slots)
        if source._padding is not None:
            self._pad(source._padding.lengths[rows])
        self._mask = None

    def _new_mask(self, n: int) -> Tensor | None:
        before = self.slots.mask(start=self.length, n=n, device=self.keys.device)
        if self._padding is None:
            return before
        return combine_masks(self._padding.mask(start=self.length, n=n), before)

    def _pad(self, lengths: Tensor) -> None:
        self._padding = LeftPadding(
            lengths, batch=self.batch, max_length=self.max_length, slots=self.slots
        )

    def _require_layer(self, index: int) -> None:
        n_layers = len(self._contexts)
        require(
            0 <= index < n_layers,
            f"index={index} must lie in [0, n_layers={n_layers}); make the cache with the "
            "model's n_layers",
        )

    def _require_room(self, n_tokens: int) -> None:
        require_state(
            self.length + n_tokens <= self.max_length,
            f"the cache holds {self.length} of max_length={self.max_length} tokens and has no room "
            f"for {n_tokens} more; make it with a larger max_length",
        )
