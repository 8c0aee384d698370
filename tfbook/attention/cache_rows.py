"""Rows of a cache: in another order, or several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require

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


def read_rows(rows: Int[Tensor, "batch"], batch: int) -> list[int]:
    """Give the rows that the rows of a cache continue, as numbers.

    Args:
        rows: one index into the batch per row, shape ``(batch,)``.
        batch: rows of the cache.

    Returns:
        The numbers. They leave the device once, where every look at ``rows`` would wait for it.

    Raises:
        ValueError: no tensor of integers, another shape, or a row that is not there.

    Example:
        >>> read_rows(torch.tensor([1, 1]), 2)
        [1, 1]

    Source: none. Chapter: 24.
    """
    way_out = "give every row of the cache the row that it continues"
    if not isinstance(rows, Tensor):
        raise ValueError(
            f"rows={rows!r:.40} is of type {type(rows).__name__}, but must be a tensor of integers "
            f"of shape ({batch},); {way_out}, as torch.tensor([…])"
        )
    require(
        rows.shape == (batch,) and rows.dtype in (torch.int32, torch.int64),
        f"rows has shape {tuple(rows.shape)} and dtype {rows.dtype}, but must be integers of "
        f"shape ({batch},); {way_out}",
    )
    numbers: list[int] = rows.tolist()
    if min(numbers) < 0 or max(numbers) >= batch:
        raise ValueError(f"rows={numbers} must lie in [0, batch={batch}); {way_out}")
    return numbers
