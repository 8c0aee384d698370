"""What a cache knows of its tokens besides keys and values: their positions and the filler."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tfbook.attention.cache_slots import Slots
from tfbook.checks import require


class TokenPositions:
    """The positions of the tokens in the slots, written in place.

    Args:
        slots: which token lies where.

    Example:
        >>> kept = TokenPositions(Slots(capacity=4, window=None))
        >>> kept.write(torch.tensor([0, 1]), length=0)
        >>> kept.seen(torch.tensor([2]), length=2).tolist()
        [0, 1, 2]

    Source: none. Chapter: 24.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._kept: Tensor | None = None

    def known(self, length: int) -> Int[Tensor, "*batch n"] | None:
        """Give those in the slots.

        Args:
            length: tokens so far.

        Returns:
            Shape ``(n,)`` or ``(batch, n)``; None where none were given.
        """
        return None if self._kept is None else self._kept[..., : self._slots.n_kept(length)]

    def seen(self, new: Int[Tensor, "*batch n"], *, length: int) -> Int[Tensor, "*batch n_k"]:
        """Give the positions of all keys that new tokens see.

        Args:
            new: of the new tokens.
            length: tokens before them.

        Returns:
            Shape ``(n_k,)`` or ``(batch, n_k)``.

        Raises:
            RuntimeError: earlier tokens came without positions.
        """
        kept, new = self._matching(new, length)
        return self._slots.seen(kept, new, start=length, dim=-1)

    def write(self, new: Int[Tensor, "*batch n"] | None, *, length: int) -> None:
        """Keep the positions of new tokens.

        Args:
            new: their positions; None forgets all, since some are unknown from now on.
            length: tokens before them.

        Raises:
            RuntimeError: earlier tokens came without positions.
        """
        if new is None:
            self._kept = None
            return
        if length == 0:
            # Inference mode would make a table that nobody could write into behind it.
            with torch.inference_mode(False):
                self._kept = new.new_zeros((*new.shape[:-1], self._slots.capacity))
        kept, new = self._matching(new, length)
        self._slots.write(kept, new, start=length, dim=-1)

    def taken(self, rows: Int[Tensor, "rows"], slots: Slots) -> TokenPositions:
        """Give a copy of some rows.

        Args:
            rows: which.
            slots: of the copy, like these.

        Returns:
            The copy.
        """
        new = TokenPositions(slots)
        if self._kept is not None:
            with torch.inference_mode(False):
                new._kept = self._kept[rows] if self._kept.ndim == 2 else self._kept.clone()
        return new

    def _matching(self, new: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The kept positions and the new ones, with rows where either has them."""
        kept = self._kept
        if kept is None:
            raise RuntimeError(
                f"the cache holds {length} tokens without positions, so those of the keys are "
                "unknown; pass positions= to advance from the first token on"
            )
        # Rows agree until one of the two says otherwise.
        if kept.ndim < new.ndim:
            with torch.inference_mode(False):
                kept = self._kept = kept.expand(*new.shape[:-1], -1).clone()
        return kept, new.expand(*kept.shape[:-1], -1)


class LeftPadding:
    r"""Filler tokens on the left of each row: hidden, and not counted.

    .. math:: M_{bj} = [\,j \ge p_b\,], \qquad \operatorname{position}_{bj} = \max(0, j - p_b)

    Args:
        lengths: filler tokens ``p`` of each row, ``(batch,)``.
        batch: rows.
        max_length: most tokens.
        slots: which token lies where.

    Raises:
        ValueError: another shape, no integers, or a number outside ``[0, max_length)``.

    Example:
        >>> slots = Slots(capacity=4, window=None)
        >>> padding = LeftPadding(torch.tensor([2]), batch=1, max_length=4, slots=slots)
        >>> padding.mask(start=0, n=3).int().tolist(), padding.positions(start=0, n=4).tolist()
        ([[[[0, 0, 1]]]], [[0, 0, 0, 1]])

    Source: none. Chapter: 24.
    """

    def __init__(
        self, lengths: Int[Tensor, "batch"], *, batch: int, max_length: int, slots: Slots
    ) -> None:
        require(
            lengths.shape == (batch,) and lengths.dtype in (torch.int32, torch.int64),
            f"padding has shape {tuple(lengths.shape)} and dtype {lengths.dtype}, but must be "
            f"integers of shape ({batch},); give the filler tokens on the left of each row",
        )
        self.lengths, self._slots = lengths, slots
        self.least, self._most = int(lengths.min()), int(lengths.max())
        require(
            self.least >= 0 and self._most < max_length,
            f"padding={lengths.tolist()} must lie in [0, max_length={max_length}); count the "
            "filler tokens on the left of each row",
        )
        columns = torch.arange(slots.capacity, device=lengths.device)
        self._visible = (columns >= lengths[:, None])[:, None, None]

    def positions(self, *, start: int, n: int) -> Int[Tensor, "batch n"]:
        """Give the positions of tokens, counted from each row's first real one.

        Args:
            start: tokens before them.
            n: how many.

        Returns:
            Shape ``(batch, n)``; 0 at filler tokens.
        """
        columns = torch.arange(start, start + n, device=self.lengths.device)
        return (columns - self.lengths[:, None]).clamp(min=0)

    def mask(self, *, start: int, n: int) -> Bool[Tensor, "batch 1 1 n_k"] | None:
        """Hide the filler from new tokens.

        Args:
            start: tokens before them.
            n: how many.

        Returns:
            True where a query may attend; None where no key is filler.
        """
        if start + n <= self._slots.capacity:
            return self._visible[..., : start + n] if self._most else None
        tokens = self._slots.tokens(start=start, n=n, device=self.lengths.device)
        if int(tokens.min()) >= self._most:
            return None
        return (tokens >= self.lengths[:, None])[:, None, None]
