"""What one layer sees of the cache: its own keys and values, and those of a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxtyping import Bool, Int
from torch import Tensor

from tfbook.attention.masks import combine_masks
from tfbook.checks import require, require_positive

if TYPE_CHECKING:
    from tfbook.attention.cache import KVCache

KeysValues = tuple[Tensor, Tensor]


class LayerCache:
    """One layer's part of a :class:`KVCache`.

    Args:
        cache: the whole.
        index: the layer, from 0.

    Example:
        >>> import torch
        >>> from tfbook.attention import KVCache
        >>> cache = KVCache(n_layers=1, batch=2, n_kv_heads=3, max_length=5, d_head=4)
        >>> keys, _ = LayerCache(cache, 0).keys_values(lambda: (torch.ones(2, 3, 2, 4),) * 2)
        >>> keys.shape
        torch.Size([2, 3, 2, 4])

    Source: Shazeer 2019, section 2.4.1 (incremental decoding). Chapter: 24.
    """

    def __init__(self, cache: KVCache, index: int) -> None:
        self._cache = cache
        self._index = index

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self._cache.length

    @property
    def window(self) -> int | None:
        """Newest tokens that a token sees; None means all."""
        return self._cache.window

    def restrict(self, mask: Bool[Tensor, "..."] | None, n: int) -> Bool[Tensor, "..."] | None:
        """Join a caller's mask with what the cache hides.

        Args:
            mask: True where a query may attend, over ``length + n`` keys (or 1, for all).
            n: the number of new tokens.

        Returns:
            The two, over the keys that :meth:`keys_values` gives.
        """
        cache = self._cache
        start, slots = cache.length, cache.slots
        if mask is not None and mask.shape[-1] > 1 and start + n > slots.capacity:
            mask = mask[..., slots.tokens(start=start, n=n, device=mask.device)]
        return combine_masks(mask, cache.mask(n))

    def key_positions(self, positions: Int[Tensor, "*batch n"]) -> Int[Tensor, "*batch n_k"]:
        """Give the positions of all keys; see :meth:`KVCache.key_positions`.

        Args:
            positions: of the new tokens, ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(n_k,)`` or ``(batch, n_k)``.
        """
        return self._cache.key_positions(positions)

    def keys_values(self, project: Callable[[], KeysValues]) -> KeysValues:
        """Project the new tokens, keep the result, and give all that they see.

        Args:
            project: gives the new keys and values, ``(batch, kv_heads, n, d_head)`` each.

        Returns:
            Keys and values, ``(batch, kv_heads, n_k, d_head)``: of all ``length + n`` tokens, as
            views; with a window that has begun to overwrite, of what the new tokens may see.

        Raises:
            RuntimeError: there is no room for them.
            ValueError: their shape, dtype or device is not the cache's.
        """
        new = project()
        cache, n = self._cache, new[0].shape[2]
        cache._require_room(n)
        kept = (cache.keys[self._index], cache.values[self._index])
        for name, x, room in zip(("keys", "values"), new, kept, strict=True):
            _require_same(name, x, room)
        slots, start = cache.slots, cache.length
        keys, values = (
            slots.seen(room, x, start=start, dim=2) for room, x in zip(kept, new, strict=True)
        )
        if not slots.in_place(start=start, n=n):
            for room, x in zip(kept, new, strict=True):
                slots.write(room, x, start=start, dim=2)
        return keys, values


class ContextCache:
    """Keys and values of a context that does not change: projected once, then reused.

    Example:
        >>> import torch
        >>> cache = ContextCache()
        >>> first = cache.keys_values(lambda: (torch.ones(1, 1, 2, 3), torch.ones(1, 1, 2, 3)))
        >>> again = cache.keys_values(lambda: 1 / 0)  # not called
        >>> again[0] is first[0]
        True

    Source: the encoder's output is constant while decoding. Chapter: 10.
    """

    def __init__(self) -> None:
        self._keys_values: KeysValues | None = None

    def keys_values(self, project: Callable[[], KeysValues]) -> KeysValues:
        """Project the context the first time, and give the same ever after.

        Args:
            project: gives keys and values, ``(batch, kv_heads, n_k, d_head)`` each.

        Returns:
            Those of the first call.
        """
        if self._keys_values is None:
            self._keys_values = project()
        return self._keys_values

    def repeat(self, copies: int) -> ContextCache:
        """Give a context in which every row stands several times, side by side.

        Args:
            copies: of each row.

        Returns:
            A new one; empty where this one is.

        Raises:
            ValueError: ``copies`` is below one.
        """
        require_positive("copies", copies)
        new = ContextCache()
        if self._keys_values is not None:
            keys, values = self._keys_values
            new._keys_values = (
                keys.repeat_interleave(copies, dim=0),
                values.repeat_interleave(copies, dim=0),
            )
        return new


def _require_same(name: str, new: Tensor, kept: Tensor) -> None:
    batch, heads, _, width = kept.shape
    require(
        new.ndim == 4 and (*new.shape[:2], new.shape[3]) == (batch, heads, width),
        f"{name} have shape {tuple(new.shape)}, but the cache was made for (batch, n_kv_heads, n, "
        f"d_head) = ({batch}, {heads}, n, {width}); make the cache with the batch and sizes of "
        "this model",
    )
    require(
        new.dtype == kept.dtype and new.device == kept.device,
        f"{name} are {new.dtype} on {new.device}, but the cache holds {kept.dtype} on "
        f"{kept.device}; make the cache with the dtype and device of this model",
    )
