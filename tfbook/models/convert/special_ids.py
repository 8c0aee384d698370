"""Where a text begins and ends: the ids that a configuration takes from a tokenizer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tfbook.checks import require


@runtime_checkable
class SpecialIds(Protocol):
    """The part of a tokenizer that a configuration repeats; every tokenizer here has it.

    Chapter: 05.
    """

    @property
    def pad_id(self) -> int | None:
        """Fills the shorter texts of a batch."""

    @property
    def bos_id(self) -> int | None:
        """Begins a text."""

    @property
    def eos_id(self) -> int | None:
        """Ends a text."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""


def write_special_ids(tokenizer: SpecialIds | None, vocab_size: int) -> dict[str, int | None]:
    """Give the ids at which their ``generate`` begins, stops and pads.

    Args:
        tokenizer: that of the model; None leaves them empty.
        vocab_size: of the model, which may have more ids than its tokenizer uses.

    Returns:
        Their settings. What is missing there gets a default that belongs to another model, so
        all three are always written.

    Raises:
        ValueError: it is no tokenizer of this package, or of a larger vocabulary.

    Example:
        >>> from tfbook.tokenizers import CharacterTokenizer
        >>> write_special_ids(CharacterTokenizer("ab"), 6)
        {'bos_token_id': 1, 'eos_token_id': 2, 'pad_token_id': 0}

    Source: ``PretrainedConfig`` of transformers 5. Chapter: 05.
    """
    if tokenizer is None:
        return {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    require(
        isinstance(tokenizer, SpecialIds),
        f"tokenizer={type(tokenizer).__name__} has no pad_id, bos_id, eos_id and vocab_size; give "
        "one of tfbook.tokenizers, or None",
    )
    require(
        tokenizer.vocab_size <= vocab_size,
        f"tokenizer has {tokenizer.vocab_size} tokens, but the model {vocab_size}; give the "
        "tokenizer that the model was trained with",
    )
    return {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
