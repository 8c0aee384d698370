"""A unigram model that sentencepiece trained, as its own library and as ours read it."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import sentencepiece

from tfbook.data import king_james

TEXT_SIZE = 60_000


def lines() -> list[str]:
    """A text to learn from, with some letters that it would not hold."""
    text = king_james.load("validation")[0][:TEXT_SIZE]
    return [*text.split("\n"), *["naïve café 中文 日本 €5 Größe ½"] * 3]


@cache
def trained(**options: Any) -> bytes:
    """The content of a model file.

    Args:
        options: of sentencepiece's trainer.

    Returns:
        The bytes.
    """
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines()),
        model_writer=written,
        model_type="unigram",
        minloglevel=2,
        num_threads=1,
        **{"vocab_size": 600, "character_coverage": 1.0, **options},
    )
    return written.getvalue()


def library(**options: Any) -> sentencepiece.SentencePieceProcessor:
    """That model in sentencepiece itself."""
    return sentencepiece.SentencePieceProcessor(model_proto=trained(**options))
