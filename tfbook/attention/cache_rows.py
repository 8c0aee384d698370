"""Rows of a cache: in another order, or several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from tfbook.attention.cache import KVCache


def empty_like(cache: KVCache, batch: int) -> KVCache:
    """Make an empty cache like another one, but for the number of rows.

    Args:
        cache: the other.
        batch: rows.

    Returns:
        A new cache.

    Example:
        >>> from tfbook.attention import KVCache
        >>> cache = KVCache(n_layers=1, batch=2, n_kv_heads=3, max_length=5, d_head=4)
        >>> empty_like(cache, 7).keys.shape
        torch.Size([1, 7, 3, 5, 4])

    Source: none. Chapter: 24.
    """
    n_layers, _, n_kv_heads, _, d_head = cache.keys.shape
    return type(cache)(
        n_layers=n_layers,
        batch=batch,
        n_kv_heads=n_kv_heads,
        max_length=cache.max_length,
        d_head=d_head,
        dtype=cache.keys.dtype,
        device=cache.keys.device,
        window=cache.window,
        spare=cache.spare,
    )


def copy_rows(source: KVCache, rows: Int[Tensor, "rows"], *, into: KVCache) -> None:
    """Let row ``i`` of a cache hold the keys and values of row ``rows[i]`` of another.

    Args:
        source: the other, or the same.
        rows: one index for every row that is written.
        into: a cache with as many slots.

    Example:
        >>> import torch
        >>> from tfbook.attention import KVCache
        >>> cache = KVCache(n_layers=1, batch=2, n_kv_heads=1, max_length=5, d_head=1)
        >>> _ = cache.layer(0).keys_values(lambda: (torch.tensor([[[[3.0]]], [[[4.0]]]]),) * 2)
        >>> cache.advance(1)
        >>> copy_rows(cache, torch.tensor([1, 1]), into=cache)
        >>> cache.keys[0, :, 0, 0, 0]
        tensor([4., 4.])

    Source: none. Chapter: 24.
    """
    filled = slice(0, source.slots.n_kept(source.length))
    # A layer at a time: the copy in between is small.
    for i in range(len(source.keys)):
        into.keys[i][:, :, filled] = source.keys[i][:, :, filled].index_select(0, rows)
        into.values[i][:, :, filled] = source.values[i][:, :, filled].index_select(0, rows)
