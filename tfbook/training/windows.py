"""Random windows of a long text, in an order that follows from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require, require_positive


class WindowBatches:
    """Cut random windows of equal length out of long texts, for training a language model.

    Every window that lies inside one text is equally likely. The batch at a step follows from
    the seed and the step alone, so that a resumed run sees the batches that an uninterrupted one
    would, and models that differ in one part can be trained on the same windows.

    Args:
        texts: token ids, each ``(n_tokens,)`` of int64. A window never crosses from one to
            another; texts shorter than a window are left out.
        length: tokens that the model reads. A window holds one more, the last target.
        batch_size: windows a batch.
        seed: of the order.

    Raises:
        ValueError: a size below one, ids that are not one row of int64, or no text as long as a
            window.

    Example:
        >>> batches = WindowBatches([torch.arange(9)], length=3, batch_size=2, seed=0)
        >>> windows = batches.batch(0)
        >>> windows.shape, windows.diff().unique().tolist()
        (torch.Size([2, 4]), [1])

    Chapter: 12.
    """

    def __init__(
        self,
        texts: Sequence[Int[Tensor, "n_tokens"]],
        *,
        length: int,
        batch_size: int,
        seed: int = 0,
    ) -> None:
        require_positive("length", length)
        require_positive("batch_size", batch_size)
        for text in texts:
            require(
                text.ndim == 1 and text.dtype == torch.int64,
                f"texts holds ids of shape {tuple(text.shape)} and dtype {text.dtype}, but each "
                "must be torch.int64 of shape (n_tokens,); encode the text first",
            )
        self._texts = [text for text in texts if len(text) > length]
        require(
            bool(self._texts),
            f"texts has no text of length={length} + 1 tokens or more, the longest has "
            f"{max(map(len, texts), default=0)}; give longer texts, or a shorter length",
        )
        self._length, self._batch_size, self._seed = length, batch_size, seed
        starts = torch.tensor([len(text) - length for text in self._texts])
        self._ends = starts.cumsum(0)

    def batch(self, step: int) -> Int[Tensor, "batch n_plus_1"]:
        """Give the windows of a step.

        Args:
            step: from 0.

        Returns:
            Shape ``(batch_size, length + 1)``: the model reads ``[:, :-1]`` and predicts
            ``[:, 1:]``.

        Raises:
            ValueError: ``step`` is negative.
        """
        require(step >= 0, f"step={step} must be at least 0; count steps from 0")
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        drawn = torch.randint(int(self._ends[-1]), (self._batch_size,), generator=generator)
        which = torch.searchsorted(self._ends, drawn, right=True)
        rows = []
        for number, text in zip(drawn.tolist(), which.tolist(), strict=True):
            start = number - (int(self._ends[text - 1]) if text else 0)
            rows.append(self._texts[text][start : start + self._length + 1])
        return torch.stack(rows)
