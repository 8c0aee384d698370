"""Keys and values kept between decoding steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require, require_positive, require_state

KeysValues = tuple[Tensor, Tensor]


class KVCache:
    """Room for the keys and values of every layer, allocated once.

    A layer writes its new keys and values behind the ``length`` positions that are
    filled, and reads all of them. The *model* calls :meth:`advance` once per forward
    pass, after the last layer: no layer needs to know whether it is the last.

    Args:
        n_layers: decoder layers.
        batch: sequences.
        n_kv_heads: key and value heads.
        max_length: room, in tokens.
        d_head: width of a head.
        dtype: of keys and values.
        device: where they lie.

    Raises:
        ValueError: a size below one.

    Example:
        >>> cache = KVCache(n_layers=1, batch=2, n_kv_heads=3, max_length=5, d_head=4)
        >>> new = torch.ones(2, 3, 1, 4)
        >>> keys, values = cache.layer(0).keys_values(lambda: (new, new))
        >>> cache.advance(1); cache.length
        1

    Source: Shazeer 2019, section 2.4.1 (incremental decoding). Chapter: 24.
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
    ) -> None:
        sizes = dict(n_layers=n_layers, batch=batch, n_kv_heads=n_kv_heads, d_head=d_head)
        for name, size in {**sizes, "max_length": max_length}.items():
            require_positive(name, size)
        shape = (n_layers, batch, n_kv_heads, max_length, d_head)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0
        #: Of the tokens so far, ``(length,)`` or ``(batch, length)``; None where none were given.
        self.positions: Tensor | None = None
        self._contexts = [ContextCache() for _ in range(n_layers)]

    @property
    def max_length(self) -> int:
        """Room, in tokens."""
        return self.keys.shape[3]

    @property
    def n_bytes(self) -> int:
        r"""Size in bytes: :math:`2 · layers · batch · heads_{kv} · length_{max} · d_{head} · b`."""
        return 2 * self.keys.numel() * self.keys.element_size()

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
        if positions is not None:
            self.positions = self.key_positions(positions)
        self.length += n_tokens

    def key_positions(self, positions: Int[Tensor, "*batch n"]) -> Int[Tensor, "*batch n_k"]:
        """Give the positions of all keys: those kept, then the new ones.

        Args:
            positions: of the new tokens, ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(length + n,)`` or ``(batch, length + n)``.

        Raises:
            RuntimeError: earlier tokens came without positions.
        """
        if self.positions is None:
            require_state(
                self.length == 0,
                f"the cache holds {self.length} tokens without positions, so those of the keys are "
                "unknown; pass positions= to advance from the first token on",
            )
            return positions
        # Rows agree until one of the two says otherwise.
        batch = torch.broadcast_shapes(self.positions.shape[:-1], positions.shape[:-1])
        kept = self.positions.expand(*batch, -1)
        return torch.cat([kept, positions.expand(*batch, -1)], dim=-1)

    def reorder(self, rows: Int[Tensor, "batch"]) -> None:
        """Let row ``i`` continue what row ``rows[i]`` has written (beam search).

        Contexts stay: the beams of one source share it.

        Args:
            rows: one index into the batch per row, shape ``(batch,)``.

        Raises:
            ValueError: another shape, or no integers.
        """
        batch = self.keys.shape[1]
        require(
            rows.shape == (batch,) and rows.dtype in (torch.int32, torch.int64),
            f"rows has shape {tuple(rows.shape)} and dtype {rows.dtype}, but must be integers of "
            f"shape ({batch},); give every row of the cache the row that it continues",
        )
        filled = slice(0, self.length)
        self.keys[:, :, :, filled] = self.keys[:, rows, :, filled]
        self.values[:, :, :, filled] = self.values[:, rows, :, filled]
        if self.positions is not None and self.positions.ndim == 2:
            self.positions = self.positions[rows]

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


class LayerCache:
    """One layer's part of a :class:`KVCache`.

    Args:
        cache: the whole.
        index: the layer, from 0.

    Example:
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
        """Tokens kept so far."""
        return self._cache.length

    def key_positions(self, positions: Int[Tensor, "*batch n"]) -> Int[Tensor, "*batch n_k"]:
        """Give the positions of all keys; see :meth:`KVCache.key_positions`.

        Args:
            positions: of the new tokens, ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(length + n,)`` or ``(batch, length + n)``.
        """
        return self._cache.key_positions(positions)

    def keys_values(self, project: Callable[[], KeysValues]) -> KeysValues:
        """Project the new tokens, keep the result, and give all up to here.

        Args:
            project: gives the new keys and values, ``(batch, kv_heads, n, d_head)`` each.

        Returns:
            Keys and values of all positions, ``(batch, kv_heads, length + n, d_head)``.

        Raises:
            RuntimeError: there is no room for them.
            ValueError: their shape is not the cache's.
        """
        new_keys, new_values = project()
        cache = self._cache
        n = new_keys.shape[2]
        cache._require_room(n)
        keys, values = cache.keys[self._index], cache.values[self._index]
        require(
            (*new_keys.shape[:2], new_keys.shape[3]) == (*keys.shape[:2], keys.shape[3]),
            f"keys have shape {tuple(new_keys.shape)}, but the cache was made for (batch, "
            f"n_kv_heads, n, d_head) = ({keys.shape[0]}, {keys.shape[1]}, n, {keys.shape[3]}); "
            "make the cache with the batch and sizes of this model",
        )
        end = cache.length + n
        keys[:, :, cache.length : end] = new_keys
        values[:, :, cache.length : end] = new_values
        return keys[:, :, :end], values[:, :, :end]


class ContextCache:
    """Keys and values of a context that does not change: projected once, then reused.

    Example:
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
