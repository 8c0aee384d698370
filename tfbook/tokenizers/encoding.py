"""What tokenizers have in common: the interface, one encoded text, and a padded batch.

``BPETokenizer``, ``WordPieceTokenizer``, ``UnigramTokenizer`` and ``RustTokenizer`` all satisfy
the protocol :class:`Tokenizer`. The rules that they share:

- A text is a ``str`` or ``bytes``. Surrogates in a ``str`` become what they stand for where two
  make a pair, and U+FFFD where one is alone (as in tiktoken). ``bytes`` are read as UTF-8: a
  byte-level tokenizer keeps bytes that are no UTF-8 as they are, the others read U+FFFD.
- ``encode(text, special=True)`` puts the tokens around the text that its model expects
  (``[CLS] … [SEP]`` for BERT, none for GPT-2 and SmolLM2); ``special=False`` leaves them away.
- Special and added tokens that are written out in a text become their ids. With
  ``parse_special=False`` special ones are text like any other, which is what text from
  strangers needs.
- ``decode(ids)`` leaves special tokens out; ``decode(ids, special=True)`` writes them.
- ``encode_with_offsets`` gives for each token the characters ``start:stop`` of the text that it
  came from, tokens around the text having ``(0, 0)``.
- ``pad_id, bos_id, eos_id, unk_id`` are ids, or None where the tokenizer has no such token.
- ``before`` and ``after`` are the ids that ``special=True`` puts around a text.
- ``to_json``, ``from_json``, ``save`` and ``from_file`` speak the format ``tokenizer.json`` of the
  `tokenizers` library; ``with_backend("rust")`` gives the same tokenizer run by that library.

``CharacterTokenizer`` takes sequences of symbols and decodes to a list of them; ``"".join`` of
what any tokenizer decodes is the text. Its files have a format of their own, which
``load_tokenizer`` does not read and ``CharacterTokenizer.from_file`` does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Protocol

from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require
from tfbook.tokenizers.batching import (
    Batch,
    Side,
    cut,
    encode_batch,
    make_batch,
    require_several,
)
from tfbook.tokenizers.mending import Text, as_text, original_offsets

__all__ = [
    "Batch",
    "Encoding",
    "Side",
    "Text",
    "Tokenizer",
    "as_text",
    "cut",
    "encode_batch",
    "id_list",
    "make_batch",
    "original_offsets",
    "require_several",
]


@dataclass(frozen=True)
class Encoding:
    """One text as tokens.

    Args:
        ids: the token ids.
        tokens: the same tokens as strings, as the vocabulary spells them.
        offsets: for each token the characters ``(start, stop)`` of the text that it came from.
            Tokens that are parts of one character all have that character's offsets.

    Chapter: 03.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]


class Tokenizer(Protocol):
    """What every tokenizer of texts does. See the module's head for the common rules.

    Chapter: 03.
    """

    pad_id: int | None
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    before: tuple[int, ...]
    after: tuple[int, ...]
    keeps_bytes: bool  # bytes that are no UTF-8 are encoded as they are, not as U+FFFD

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""

    def token_to_id(self, token: str) -> int | None:
        """Give a token's id, or None."""

    def id_to_token(self, index: int) -> str:
        """Give the token of an id; ValueError where there is none."""

    def encode(self, text: Text, *, special: bool = True, parse_special: bool = True) -> list[int]:
        """Give the ids of a text.

        Args:
            text: the text.
            special: put the tokens around it that the model expects.
            parse_special: read special tokens that are written out in the text.

        Returns:
            The ids.
        """

    def encode_with_offsets(
        self, text: Text, *, special: bool = True, parse_special: bool = True
    ) -> Encoding:
        """Give ids, tokens and where each came from.

        Args:
            text, special, parse_special: as for ``encode``.

        Returns:
            All three.
        """

    def encode_batch(
        self,
        texts: Sequence[Text],
        *,
        special: bool = True,
        parse_special: bool = True,
        max_length: int | None = None,
        side: Side = "right",
    ) -> Batch:
        """Give the ids of several texts as one tensor.

        Args:
            texts: the texts.
            special, parse_special: as for ``encode``.
            max_length: the most tokens of a row, those around the text included.
            side: where the padding goes.

        Returns:
            Ids and lengths.
        """

    def decode(self, ids: Sequence[int] | Int[Tensor, " n"], *, special: bool = False) -> str:
        """Give the text of some ids, special tokens left out unless ``special``."""

    def to_json(self) -> str:
        """Give the tokenizer in the format of ``tokenizer.json``."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json()`` to a file, whole or not at all."""


def id_list(ids: Sequence[int] | Int[Tensor, " n"], vocab_size: int) -> list[int]:
    """Give ids as a list of known integers.

    Args:
        ids: a sequence, or a tensor of one axis.
        vocab_size: the number of ids.

    Returns:
        The ids.

    Raises:
        ValueError: a tensor has not exactly one axis.
        ValueError: an id is no integer, or lies outside ``0 … vocab_size - 1``.

    Example:
        >>> import torch
        >>> id_list(torch.tensor([3, 1]), 5)
        [3, 1]

    Chapter: 03.
    """
    if isinstance(ids, Tensor):
        require(
            ids.ndim == 1,
            f"ids has shape {tuple(ids.shape)}, but must have one axis; decode row by row",
        )
        ids = ids.tolist()
    try:
        ids = list(map(index, ids))
    except TypeError as error:
        raise ValueError(
            f"ids={ids!r:.40} must be integers; encode gives them, and of a tensor ids.long()"
        ) from error
    if ids and not (min(ids) >= 0 and max(ids) < vocab_size):
        wrong = next(i for i in ids if not 0 <= i < vocab_size)
        raise ValueError(
            f"ids holds {wrong}, but ids must lie in 0..{vocab_size - 1}; decode with the "
            "tokenizer that encoded"
        )
    return ids
