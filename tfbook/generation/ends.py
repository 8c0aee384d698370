"""What ends a sequence: end tokens and stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfbook.checks import require
from tfbook.generation.prompts import require_token
from tfbook.generation.protocols import Decoder, LanguageModel
from tfbook.generation.text_pieces import TextPieces


@dataclass(frozen=True)
class Ends:
    """What ends a sequence.

    Args:
        eos_ids: end tokens, perhaps none.
        pad_id: what follows the end.
        stop: strings.
        tokenizer: that finds them.

    Chapter: 23.
    """

    eos_ids: tuple[int, ...]
    pad_id: int
    stop: tuple[str, ...]
    tokenizer: Decoder | None


def read_ends(
    model: LanguageModel,
    *,
    eos_id: int | Sequence[int] | None,
    pad_id: int,
    stop: Sequence[str],
    tokenizer: Decoder | None,
) -> Ends:
    """Check what ends a sequence.

    Args:
        model: tells the vocabulary.
        eos_id: end token, or several, or none.
        pad_id: what follows the end.
        stop: strings.
        tokenizer: that decodes.

    Returns:
        The same, in one form.

    Raises:
        ValueError: a token that is not of the vocabulary, an empty stop string, one string
            instead of a list, or stop strings without a tokenizer.
    """
    given = () if eos_id is None else eos_id
    eos_ids = tuple(given) if isinstance(given, Sequence) else (given,)
    for token in eos_ids:
        require_token(model, "eos_id", token)
    require_token(model, "pad_id", pad_id)
    require(
        not stop or tokenizer is not None,
        f"stop={stop!r} needs a tokenizer to look for strings in the text; pass tokenizer=",
    )
    if tokenizer is not None:
        TextPieces(tokenizer, stop=stop)
    return Ends(eos_ids, pad_id, tuple(stop), tokenizer)
