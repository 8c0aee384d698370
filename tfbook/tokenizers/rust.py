"""Any of the tokenizers, run by the `tokenizers` library: the same ids, many texts at once."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require, require_choice
from tfbook.files import write_atomic
from tfbook.tokenizers import encoding
from tfbook.tokenizers.encoding import Batch, Encoding, Side, Text, Tokenizer
from tfbook.tokenizers.mending import SURROGATE

Backend = Literal["python", "rust"]


class RustTokenizer:
    """A tokenizer of this package, run by the `tokenizers` library, which is written in Rust.

    It encodes the texts of a batch in parallel. ``with_backend("rust")`` of a tokenizer makes it.

    Args:
        tokenizer: what to run. It must not be one of this kind.

    Raises:
        ModuleNotFoundError: the `tokenizers` library is not installed.

    Example:
        >>> from tfbook.tokenizers import BPETokenizer
        >>> small = BPETokenizer.train(["low lower lowest"], vocab_size=262)
        >>> RustTokenizer(small).encode("lowest") == small.encode("lowest")
        True

    Source: the `tokenizers` library. Chapter: 03.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        try:
            library = importlib.import_module("tokenizers")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'backend="rust" needs the tokenizers library; run `pip install "tfbook[rust]"`, '
                'or use backend="python"'
            ) from error
        self._json = tokenizer.to_json()
        self._run: Any = library.Tokenizer.from_str(self._json)
        self.pad_id: int | None = tokenizer.pad_id
        self.bos_id: int | None = tokenizer.bos_id
        self.eos_id: int | None = tokenizer.eos_id
        self.unk_id: int | None = tokenizer.unk_id
        self.before: tuple[int, ...] = tokenizer.before
        self.after: tuple[int, ...] = tokenizer.after
        self.keeps_bytes: bool = tokenizer.keeps_bytes
        self._size = tokenizer.vocab_size

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self._size

    def token_to_id(self, token: str) -> int | None:
        """Give the id of a token in the spelling of the vocabulary, or None."""
        index: int | None = self._run.token_to_id(token)
        return index

    def id_to_token(self, index: int) -> str:
        """Give the token of an id in the spelling of the vocabulary; ValueError without one."""
        encoding.id_list([index], self._size)
        token: str = self._run.id_to_token(index)
        return token

    def encode(self, text: Text, *, special: bool = True, parse_special: bool = True) -> list[int]:
        """Give the ids of a text.

        Args:
            text: the text.
            special: put the tokens around it that the model expects.
            parse_special: read special tokens that are written out in the text.

        Returns:
            The ids.

        Raises:
            ValueError: ``text`` is neither ``str`` nor ``bytes``, or bytes that are no UTF-8 for
                a tokenizer that would keep them: the library takes text only.
        """
        return self.encode_with_offsets(text, special=special, parse_special=parse_special).ids

    def encode_with_offsets(
        self, text: Text, *, special: bool = True, parse_special: bool = True
    ) -> Encoding:
        """Give the tokens of a text and the characters that each came from.

        Args:
            text: the text.
            special: put the tokens around it that the model expects.
            parse_special: read special tokens that are written out in the text.

        Returns:
            Ids, tokens and offsets.

        Raises:
            ValueError: as ``encode``.
        """
        mended = self._text(text)
        self._run.encode_special_tokens = not parse_special
        found = self._run.encode(mended, add_special_tokens=special)
        return Encoding(found.ids, found.tokens, encoding.original_offsets(text, found.offsets))

    def encode_batch(
        self,
        texts: Sequence[Text],
        *,
        special: bool = True,
        parse_special: bool = True,
        max_length: int | None = None,
        side: Side = "right",
    ) -> Batch:
        """Encode several texts, in parallel, to one padded tensor.

        Args:
            texts: the texts.
            special: put the tokens around each that the model expects.
            parse_special: read special tokens that are written out in the texts.
            max_length: the most tokens of a row; None for no limit.
            side: where the padding goes.

        Returns:
            The ids ``(batch, n)`` and the lengths ``(batch,)``.

        Raises:
            ValueError: as ``encode``, or ``texts`` is empty or one string, ``max_length`` too
                short, ``side`` unknown, or ``pad_id`` is None and padding is needed.
        """
        encoding.require_several(texts)
        self._run.encode_special_tokens = not parse_special
        found = self._run.encode_batch(
            [self._text(text) for text in texts], add_special_tokens=False
        )
        before, after = (self.before, self.after) if special else ((), ())
        rows = [
            encoding.cut(one.ids, before=before, after=after, max_length=max_length)
            for one in found
        ]
        return encoding.make_batch(rows, pad_id=self.pad_id, side=side)

    def decode(self, ids: Sequence[int] | Int[Tensor, " n"], *, special: bool = False) -> str:
        """Give the text of some ids.

        Args:
            ids: a sequence, or a tensor of one axis.
            special: write special tokens too.

        Returns:
            The text.

        Raises:
            ValueError: an id is unknown, or a tensor has not exactly one axis.
        """
        known = encoding.id_list(ids, self._size)
        text: str = self._run.decode(known, skip_special_tokens=not special)
        return text

    def to_json(self) -> str:
        """Give the JSON of the tokenizer that is run."""
        return self._json

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json()`` to a file, whole or not at all."""
        write_atomic(path, self._json.encode())

    def _text(self, text: Text) -> str:
        mended = encoding.as_text(text, lossless=self.keeps_bytes)
        require(
            not (isinstance(text, bytes) and SURROGATE.search(mended)),
            "text holds bytes that are no UTF-8, which the tokenizers library cannot take; use "
            'backend="python", or text.decode("utf-8", "replace")',
        )
        return mended

    def __repr__(self) -> str:
        """Say the size."""
        return f"RustTokenizer({self._size} tokens)"


def with_backend(tokenizer: Tokenizer, backend: Backend) -> Tokenizer:
    """Give a tokenizer on the backend asked for.

    Args:
        tokenizer: one of this package's.
        backend: ``"python"`` gives it as it is, ``"rust"`` on the `tokenizers` library.

    Returns:
        The tokenizer.

    Raises:
        ValueError: ``backend`` is neither of the two.
        ModuleNotFoundError: the `tokenizers` library is needed and not installed.

    Example:
        >>> from tfbook.tokenizers import BPETokenizer
        >>> with_backend(BPETokenizer.train(["low"], vocab_size=256), "rust")
        RustTokenizer(256 tokens)

    Chapter: 03.
    """
    require_choice("backend", backend, ("python", "rust"))
    return tokenizer if backend == "python" else RustTokenizer(tokenizer)
