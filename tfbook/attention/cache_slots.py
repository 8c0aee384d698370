"""Which token lies in which slot of a cache that keeps the newest tokens only.

Token ``t`` lies in slot ``t mod capacity``. A full cache has as many slots as it may hold
tokens, so that slots and tokens are the same; with fewer, a new token takes the place of the
oldest: a ring. Nothing here knows of layers: an axis of slots is all that is asked for.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tfbook.checks import require, require_positive, require_state


class Slots:
    r"""The arithmetic of a ring of slots, with a window on what a token may see.

    .. math:: \operatorname{slot}(t) = t \bmod c, \qquad M_{ij} = [\,0 \le i - t_j < w\,]

    A chunk of ``n`` tokens that follows ``start`` others sees: all tokens in order where
    nothing was overwritten; all slots as they lie, for one token (softmax does not care in
    what order the keys come); and otherwise the ``w − 1`` tokens before it, in order, then
    the chunk itself.

    Args:
        capacity: slots ``c``.
        window: newest tokens ``w`` that a token sees, itself included; None means all.

    Example:
        >>> slots = Slots(capacity=3, window=3)
        >>> slots.tokens(start=4, n=1).tolist()
        [3, 4, 2]
        >>> slots.tokens(start=4, n=2).tolist()
        [2, 3, 4, 5]

    Source: Beltagy et al. 2020, section 3.1 (the window); Jiang et al. 2023, section 2
    (Mistral's rolling buffer). Chapter: 24.
    """

    def __init__(self, *, capacity: int, window: int | None) -> None:
        self.capacity, self.window = capacity, window
        self.oldest = 0  # tokens before this one have been overwritten

    @classmethod
    def sized(cls, max_length: int, *, window: int | None, spare: int) -> Slots:
        """Make as many slots as are needed.

        Args:
            max_length: most tokens that may come.
            window: newest tokens that a token sees; None means all.
            spare: tokens beyond the window that :meth:`crop` may take back.

        Returns:
            ``window + spare`` slots, or ``max_length`` where that is fewer.

        Raises:
            ValueError: a window below one, a negative ``spare``, or one without a window.
        """
        require(spare >= 0, f"spare={spare} must be at least 0; give the most that crop takes")
        if window is not None:
            require_positive("window", window)
            return cls(capacity=min(max_length, window + spare), window=window)
        require(
            spare == 0,
            f"spare={spare} needs a window: without one nothing is overwritten and crop takes any "
            "number of tokens; leave it out, or give window=",
        )
        return cls(capacity=max_length, window=None)

    def wrote(self, length: int) -> None:
        """Note that ``length`` tokens have been written."""
        self.oldest = max(self.oldest, length - self.capacity)

    def crop(self, length: int) -> None:
        """Forget all but the first tokens.

        Args:
            length: tokens that stay.

        Raises:
            RuntimeError: what the next token would see was overwritten.
        """
        first_seen = 0 if self.window is None else max(0, length - self.window + 1)
        require_state(
            length == 0 or self.oldest <= first_seen,
            f"length={length} leaves a next token that sees back to token {first_seen}, but a "
            f"cache of {self.capacity} slots has overwritten all before token {self.oldest}; make "
            "it with a larger spare, the most tokens that crop takes",
        )
        self.oldest = self.oldest if length else 0

    def n_kept(self, start: int) -> int:
        """How many slots are filled after ``start`` tokens."""
        return min(start, self.capacity)

    def write(self, slots: Tensor, new: Tensor, *, start: int, dim: int) -> None:
        """Put new tokens into their slots; where there are more than slots, the last of them.

        Args:
            slots: an axis ``dim`` of ``capacity`` slots.
            new: the same shape but for ``dim``, the new tokens in order.
            start: tokens before them.
            dim: the axis of tokens.
        """
        n = min(new.shape[dim], self.capacity)
        skipped = new.shape[dim] - n
        first = (start + skipped) % self.capacity
        before_end = min(n, self.capacity - first)
        slots.narrow(dim, first, before_end).copy_(new.narrow(dim, skipped, before_end))
        if before_end < n:  # the chunk wraps
            rest = n - before_end
            slots.narrow(dim, 0, rest).copy_(new.narrow(dim, skipped + before_end, rest))

    def in_place(self, *, start: int, n: int) -> bool:
        """Whether a chunk can be written first and all that it sees be read from the slots."""
        return n == 1 or start + n <= self.capacity

    def seen(self, slots: Tensor, new: Tensor, *, start: int, dim: int) -> Tensor:
        """Give what a chunk sees; it is written where :meth:`in_place` says so.

        Args:
            slots: an axis ``dim`` of ``capacity`` slots.
            new: the same shape but for ``dim``, the new tokens in order.
            start: tokens before them.
            dim: the axis of tokens.

        Returns:
            The tokens of :meth:`tokens` along ``dim``: a view, or for a chunk that would
            overwrite what it sees a copy of at most ``window − 1 + n`` tokens.
        """
        n = new.shape[dim]
        if self.in_place(start=start, n=n):
            self.write(slots, new, start=start, dim=dim)
            return slots.narrow(dim, 0, self.n_kept(start + n))
        n_old = self._n_old(start)
        first = (start - n_old) % self.capacity
        before_end = min(n_old, self.capacity - first)
        old = [slots.narrow(dim, first, before_end), slots.narrow(dim, 0, n_old - before_end)]
        return torch.cat([*old, new], dim=dim)

    def tokens(
        self, *, start: int, n: int, device: torch.device | None = None
    ) -> Int[Tensor, "n_k"]:
        """Say which token each key is that a chunk sees.

        Args:
            start: tokens before the chunk.
            n: tokens of the chunk.
            device: where the answer is made.

        Returns:
            Indices of tokens, counted from the first ever written, ``(n_k,)``.
        """
        end = start + n
        if end <= self.capacity:
            return torch.arange(end, device=device)
        if n > 1:
            return torch.arange(start - self._n_old(start), end, device=device)
        slot = torch.arange(self.capacity, device=device)
        return start - (start - slot) % self.capacity

    def mask(
        self, *, start: int, n: int, device: torch.device | None = None
    ) -> Bool[Tensor, "n n_k"] | None:
        """Hide what lies before the window.

        Args:
            start: tokens before the chunk.
            n: tokens of the chunk.
            device: where the mask is made.

        Returns:
            Shape ``(n, n_k)``, True where a query may attend, causality aside; None where the
            window hides nothing.
        """
        end = start + n
        n_keys = min(end, self.capacity) if self.in_place(start=start, n=n) else end
        if self.window is None or n_keys <= self.window:
            return None
        queries = torch.arange(start, end, device=device)
        keys = self.tokens(start=start, n=n, device=device)
        return queries[:, None] - keys < self.window

    def _n_old(self, start: int) -> int:
        window = self.capacity if self.window is None else self.window
        return min(start, window - 1)
