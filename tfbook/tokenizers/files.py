"""Any tokenizer from its ``tokenizer.json``: the file says which class reads it."""

from __future__ import annotations

import os
from collections.abc import Callable

from tfbook.checks import require
from tfbook.tokenizers.bpe import BPETokenizer
from tfbook.tokenizers.encoding import Tokenizer
from tfbook.tokenizers.json_format import read_document, read_text_file
from tfbook.tokenizers.rust import Backend, with_backend
from tfbook.tokenizers.unigram import UnigramTokenizer
from tfbook.tokenizers.wordpiece import WordPieceTokenizer


def load_tokenizer(path: str | os.PathLike[str], *, backend: Backend = "python") -> Tokenizer:
    """Read a tokenizer that ``save`` or the `tokenizers` library wrote.

    Args:
        path: the file, usually named ``tokenizer.json``.
        backend: ``"python"``, or ``"rust"`` to run it on the `tokenizers` library.

    Returns:
        A ``BPETokenizer``, ``WordPieceTokenizer`` or ``UnigramTokenizer``, or one of them on the
        library.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no ``tokenizer.json`` (``CharacterTokenizer`` reads its own files),
            damaged, of a kind that this package has not, or ``backend`` is unknown.
        ModuleNotFoundError: the `tokenizers` library is needed and not installed.

    Example:
        >>> BPETokenizer.train(["low"], vocab_size=257).save("tokenizer.json")
        >>> load_tokenizer("tokenizer.json")
        BPETokenizer(257 tokens, 1 merges)

    Chapter: 03.
    """
    return with_backend(parse_tokenizer(read_text_file(path)), backend)


def parse_tokenizer(text: str) -> Tokenizer:
    """Read a tokenizer from the text of a ``tokenizer.json``.

    Args:
        text: the JSON.

    Returns:
        The tokenizer, of the class that its model's type names.

    Raises:
        ValueError: ``text`` is no ``tokenizer.json``, or damaged.
        ValueError: its model is of a type that this package has not.

    Example:
        >>> parse_tokenizer(BPETokenizer.train(["low"], vocab_size=257).to_json())
        BPETokenizer(257 tokens, 1 merges)

    Chapter: 03.
    """
    kind = read_document(text)["model"]["type"]
    readers: dict[str, Callable[[str], Tokenizer]] = {
        "BPE": BPETokenizer.from_json,
        "WordPiece": WordPieceTokenizer.from_json,
        "Unigram": UnigramTokenizer.from_json,
    }
    require(
        kind in readers,
        f"the model is of type {kind!r}, but this package reads {', '.join(readers)}; use the "
        "tokenizers library itself",
    )
    return readers[kind](text)
