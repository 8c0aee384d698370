"""What ends a sequence: end tokens and stop strings."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from tfbook.checks import require
from tfbook.generation.arguments import require_decoder, require_language_model, several
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
    eos_id: SupportsIndex | Collection[SupportsIndex] | None,
    pad_id: SupportsIndex,
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
        ValueError: a token that is not of the vocabulary or given as text, an empty stop string,
            one string instead of a list, stop strings without a tokenizer, a tokenizer that
            cannot decode, or no language model.
    """
    require_language_model("model", model)
    eos_ids = several(eos_id)
    for token in eos_ids:
        require_token(model, "eos_id", token)
    require_token(model, "pad_id", pad_id)
    require(
        isinstance(stop, Collection),
        f"stop={stop!r} must be a list of strings; leave it out for none",
    )
    require(
        not stop or tokenizer is not None,
        f"stop={stop!r} needs a tokenizer to look for strings in the text; pass tokenizer=",
    )
    if tokenizer is not None:
        require_decoder(tokenizer)
        TextPieces(tokenizer, stop=stop)
    ids = tuple(operator.index(token) for token in eos_ids)
    return Ends(ids, operator.index(pad_id), tuple(stop), tokenizer)
