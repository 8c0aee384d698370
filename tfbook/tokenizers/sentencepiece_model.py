"""Read sentencepiece's model files, which are protocol buffers, without that library."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfbook.checks import require

# Field numbers of sentencepiece_model.proto.
PIECES, TRAINER, NORMALIZER = 1, 2, 3
PIECE, SCORE, KIND = 1, 2, 3
MODEL_TYPE, BYTE_FALLBACK = 3, 35
WHITESPACE_AS_SUFFIX = 24
UNK_ID, BOS_ID, EOS_ID, PAD_ID = 40, 41, 42, 43
CHARSMAP, DUMMY_PREFIX, COLLAPSE_SPACES, ESCAPE_SPACES = 2, 3, 4, 5
UNIGRAM = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int | bytes]


@dataclass(frozen=True, kw_only=True)
class SentencePieceModel:
    """What a model file holds, as far as unigram encoding needs it.

    Args:
        pieces: every piece with its score, a natural logarithm.
        kinds: of each piece: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
        unk_id, bos_id, eos_id, pad_id: the ids of these roles, None where there is none.
        byte_fallback: unknown characters are spelled in bytes.
        charsmap: the compiled rules of normalisation; empty for none.
        dummy_prefix: a blank is put in front of every text.
        collapse_spaces: blanks at the ends go, and of several only one stays.

    Chapter: 03.
    """

    pieces: tuple[tuple[str, float], ...]
    kinds: tuple[int, ...]
    unk_id: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    byte_fallback: bool
    charsmap: bytes
    dummy_prefix: bool
    collapse_spaces: bool


def read_sentencepiece(path: str | os.PathLike[str]) -> SentencePieceModel:
    """Read a unigram model that sentencepiece trained.

    Args:
        path: the file, usually called ``….model`` or ``spiece.model``.

    Returns:
        Its content.

    Raises:
        ValueError: the file is no such model, cut off, or of another kind than unigram.

    Example:
        >>> with open("m.model", "wb") as file:
        ...     _ = file.write(b"\\x0a\\x0e\\x0a\\x05<unk>\\x15" + bytes(4) + b"\\x18\\x02")
        >>> read_sentencepiece("m.model").pieces
        (('<unk>', 0.0),)

    Source: sentencepiece's ``sentencepiece_model.proto``. Chapter: 03.
    """
    name = os.fspath(path)
    try:
        fields = list(_fields(Path(path).read_bytes()))
        pieces = [_piece(value) for number, value in fields if number == PIECES]
        trainer = dict(_fields(_last(fields, TRAINER)))
        normalizer = dict(_fields(_last(fields, NORMALIZER)))
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise ValueError(
            f"path={name!r} is no sentencepiece model, or cut off; fetch it anew"
        ) from error
    require(bool(pieces), f"path={name!r} holds no pieces; give the .model file, not the .vocab")
    require(
        trainer.get(MODEL_TYPE, UNIGRAM) == UNIGRAM and not trainer.get(WHITESPACE_AS_SUFFIX),
        f"path={name!r} is of model type {trainer.get(MODEL_TYPE)!r} or puts blanks behind words; "
        f"only unigram, type {UNIGRAM}, with blanks in front is read",
    )
    require(
        bool(normalizer.get(ESCAPE_SPACES, 1)),
        f"path={name!r} has escape_whitespaces=false, which is not read; train with true",
    )
    charsmap = normalizer.get(CHARSMAP, b"")
    return SentencePieceModel(
        pieces=tuple((piece, score) for piece, score, _ in pieces),
        kinds=tuple(kind for _, _, kind in pieces),
        unk_id=next((i for i, (_, _, kind) in enumerate(pieces) if kind == 2), 0),
        bos_id=_role(trainer, BOS_ID, 1, len(pieces)),
        eos_id=_role(trainer, EOS_ID, 2, len(pieces)),
        pad_id=_role(trainer, PAD_ID, -1, len(pieces)),
        byte_fallback=bool(trainer.get(BYTE_FALLBACK, 0)),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        dummy_prefix=bool(normalizer.get(DUMMY_PREFIX, 1)),
        collapse_spaces=bool(normalizer.get(COLLAPSE_SPACES, 1)),
    )


def _piece(data: int | bytes) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    piece, score, kind = fields.get(PIECE), fields.get(SCORE, bytes(4)), fields.get(KIND, 1)
    if not isinstance(piece, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
        raise TypeError(f"a piece has the fields {fields}")
    return piece.decode("utf-8"), struct.unpack("<f", score)[0], kind


def _role(trainer: dict[int, int | bytes], number: int, default: int, size: int) -> int | None:
    # Negative numbers are written in 64 bits, so they come out far above any id.
    index = trainer.get(number, default)
    return index if isinstance(index, int) and 0 <= index < size else None


def _last(fields: list[Field], number: int) -> int | bytes:
    return next((value for key, value in reversed(fields) if key == number), b"")


def _fields(data: int | bytes) -> Iterator[Field]:
    """Go through a message: numbers as they are, everything else as bytes."""
    if not isinstance(data, bytes):
        raise TypeError(f"a number stands where a message should: {data}")
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise TypeError(f"unknown wire type {kind}")
        if at + size > len(data):
            raise IndexError("the file ends inside a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, the eighth bit saying that more follow."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
