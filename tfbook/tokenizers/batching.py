"""Several encoded texts as one tensor: cut to a length, special tokens around, padded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tfbook.checks import require, require_choice
from tfbook.tokenizers.mending import Text

Side = Literal["right", "left"]


@dataclass(frozen=True)
class Batch:
    """Several texts as one tensor of ids.

    Args:
        ids: token ids ``(batch, n)``, int64, padded to the longest text.
        lengths: the number of tokens of each text, without the padding.
        side: the side on which the padding is.

    Example:
        >>> batch = make_batch([[5, 6, 7], [8]], pad_id=0, side="left")
        >>> batch.ids.tolist(), batch.mask.tolist()
        ([[5, 6, 7], [0, 0, 8]], [[True, True, True], [False, False, True]])

    Chapter: 03.
    """

    ids: Int[Tensor, "batch n"]
    lengths: Int[Tensor, " batch"]
    side: Side = "right"

    @property
    def mask(self) -> Bool[Tensor, "batch n"]:
        """True where a token is, False where padding is."""
        column = torch.arange(self.ids.shape[1], device=self.ids.device)
        if self.side == "left":
            column = column.flip(0)
        return column < self.lengths[:, None]


def make_batch(
    sequences: Sequence[Sequence[int]], *, pad_id: int | None, side: Side = "right"
) -> Batch:
    """Join sequences of different lengths to one batch.

    Args:
        sequences: lists of ids.
        pad_id: the id that fills the shorter ones; None is good only for equal lengths.
        side: where the padding goes: ``"right"`` to train and to encode; ``"left"`` where all
            texts must end in one column. :func:`tfbook.generation.generate` takes a batch of
            either, as long as it is this object: the padding in ``ids`` alone could not be told
            from tokens.

    Returns:
        The batch, on the CPU.

    Raises:
        ValueError: ``sequences`` is empty.
        ValueError: ``side`` is neither of the two.
        ValueError: padding is needed and ``pad_id`` is None.

    Example:
        >>> make_batch([[5, 6, 7], [8]], pad_id=0).ids.tolist()
        [[5, 6, 7], [8, 0, 0]]

    Chapter: 03.
    """
    require(len(sequences) > 0, "texts is empty; pass at least one text")
    require_choice("side", side, ("right", "left"))
    lengths = [len(sequence) for sequence in sequences]
    longest = max(lengths)
    require(
        pad_id is not None or min(lengths) == longest,
        f"pad_id=None, but the texts have {min(lengths)} to {longest} tokens and need padding; "
        "set tokenizer.pad_id to the id of any token, such as its eos_id: lengths and mask tell "
        "what is padding",
    )
    rows = []
    for sequence in sequences:
        padding = [pad_id] * (longest - len(sequence))
        rows.append([*padding, *sequence] if side == "left" else [*sequence, *padding])
    # The reshape keeps the second axis when every sequence is empty.
    ids = torch.tensor(rows, dtype=torch.long).reshape(len(rows), longest)
    return Batch(ids, torch.tensor(lengths, dtype=torch.long), side)


def cut(
    ids: Sequence[int],
    *,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
    max_length: int | None = None,
) -> list[int]:
    """Put the special tokens around a text's ids, the text cut so that all fit.

    Args:
        ids: of the text alone.
        before, after: the ids around it, which are never cut.
        max_length: the most tokens there may be, in tokens; None for no limit.

    Returns:
        ``before``, the first ids of the text, ``after``.

    Raises:
        ValueError: ``max_length`` leaves no room for the special tokens, or is below 1.

    Example:
        >>> cut([5, 6, 7, 8], before=[1], after=[2], max_length=5)
        [1, 5, 6, 7, 2]

    Chapter: 03.
    """
    if max_length is not None:
        around = len(before) + len(after)
        require(
            max_length >= max(1, around),
            f"max_length={max_length} must be at least {max(1, around)}, the special tokens "
            f"around each text being {around}; give a longer one, or special=False",
        )
        ids = ids[: max_length - around]
    return [*before, *ids, *after]


def encode_batch(
    encode: Callable[[Text], list[int]],
    texts: Sequence[Text],
    *,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
    pad_id: int | None,
    max_length: int | None,
    side: Side,
) -> Batch:
    """Encode texts one by one and join them: the ``encode_batch`` of every tokenizer here.

    Args:
        encode: gives the ids of one text, without special tokens around it.
        texts: what to encode.
        before, after: ids around each text.
        pad_id: fills the shorter texts.
        max_length: the most tokens of one row; None for no limit.
        side: of the padding.

    Returns:
        The batch.

    Raises:
        ValueError: ``texts`` is one string instead of several, or empty.
        ValueError: ``max_length`` is too short, ``side`` unknown, or padding is needed and there
            is none, as :func:`cut` and :func:`make_batch` say.

    Example:
        >>> letters = lambda text: [ord(letter) for letter in text]
        >>> encode_batch(letters, ["ab", "c"], pad_id=0, max_length=None, side="right").ids.tolist()
        [[97, 98], [99, 0]]

    Chapter: 03.
    """
    require_several(texts)
    rows = [cut(encode(text), before=before, after=after, max_length=max_length) for text in texts]
    return make_batch(rows, pad_id=pad_id, side=side)


def require_several(texts: object) -> None:
    """Raise when one text was passed for several.

    Args:
        texts: what was passed.

    Raises:
        ValueError: it is a string or bytes.

    Example:
        >>> require_several(["one", "two"])

    Chapter: 03.
    """
    require(
        not isinstance(texts, str | bytes),
        f"texts={texts!r:.40} is one text, but must be a sequence of texts; pass [text]",
    )
