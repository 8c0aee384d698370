"""Arguments of the wrong kind, named before anything is computed."""

from __future__ import annotations

from collections.abc import Collection
from numbers import Real
from typing import Any

from tfbook.checks import is_integer, require
from tfbook.generation.protocols import Decoder, LanguageModel, Sizes


def several(value: object) -> tuple[Any, ...]:
    """Give one value, several or none as a tuple, without looking at what they are.

    Args:
        value: an integer, a list or an array of them, or None.

    Returns:
        The values. A text is one, not its letters.
    """
    if value is None:
        return ()
    if isinstance(value, Collection) and not (isinstance(value, str) or is_integer(value)):
        return tuple(value)
    return (value,)


def require_number(name: str, value: object) -> None:
    """Raise unless a value is a real number.

    Args:
        name: of the argument.
        value: its value.

    Raises:
        ValueError: it is not, such as a text or ``True``.
    """
    require(
        isinstance(value, Real) and not isinstance(value, bool),
        f"{name}={value!r} must be a number; give one such as 0.7",
    )


def require_language_model(name: str, model: LanguageModel, *, or_else: str = "") -> None:
    """Raise unless decoding can read a model.

    Args:
        name: of the argument.
        model: its value.
        or_else: what is allowed besides, for the message.

    Raises:
        ValueError: it lacks what decoding asks of it.
    """
    if not _is_language_model(model):
        raise ValueError(
            f"{name} is of type {type(model).__name__}, but must be a language model with config "
            f"and new_cache{or_else}; {_way_out(model)}"
        )


def require_decoder(tokenizer: Decoder) -> None:
    """Raise unless a tokenizer turns ids into text.

    Args:
        tokenizer: the argument.

    Raises:
        ValueError: it has no ``decode``.
    """
    require(
        isinstance(tokenizer, Decoder),
        f"tokenizer is of type {type(tokenizer).__name__}, but must have decode; pass a tokenizer; "
        "what hub.load gives holds one in .tokenizer",
    )


def _is_language_model(model: object) -> bool:
    # An encoder-decoder differs only in what its configuration says.
    return isinstance(model, LanguageModel) and isinstance(model.config, Sizes)


def _way_out(model: object) -> str:
    if _is_language_model(getattr(model, "model", None)):
        return "pass its .model"
    if hasattr(getattr(model, "config", None), "target_vocab_size"):
        return "an encoder-decoder writes with greedy or beam_search"
    return "pass a CausalLM; models.from_huggingface makes one from a model of Hugging Face's"
