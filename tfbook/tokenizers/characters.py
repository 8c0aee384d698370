"""One token per symbol: a letter, a phoneme, or any other string of a small fixed set."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require
from tfbook.files import write_atomic
from tfbook.tokenizers.encoding import Batch, Encoding, Side, cut, make_batch, require_several
from tfbook.tokenizers.json_format import read_text_file

FORMAT = "tfbook.CharacterTokenizer"
FORMAT_VERSION = 1


class CharacterTokenizer:
    """Map the symbols of a small, fixed alphabet to ids and back.

    Ids 0, 1 and 2 are the padding, begin and end tokens. Symbol ``i`` of ``symbols`` has id
    ``i + 3``. A symbol may be longer than one character (the phoneme ``"AH"``), so ``encode``
    takes a sequence of symbols; a string is the sequence of its characters.

    Args:
        symbols: the alphabet, distinct non-empty strings, in the order of their ids.

    Raises:
        ValueError: a symbol is empty, is not a string, occurs twice, or is the name of a special
            token.

    Example:
        >>> letters = CharacterTokenizer("abc")
        >>> letters.encode("cab", eos=True)
        [5, 3, 4, 2]
        >>> letters.decode([1, 5, 3, 4, 2, 0])
        ['c', 'a', 'b']
        >>> ids, lengths = letters.pad([[3, 4, 2], [5, 2]])
        >>> ids.tolist(), lengths.tolist()
        ([[3, 4, 2], [5, 2, 0]], [3, 2])

    Chapter: 15.
    """

    specials: tuple[str, ...] = ("<pad>", "<bos>", "<eos>")
    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    unk_id: None = None

    def __init__(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            require(
                isinstance(symbol, str) and symbol != "",
                f"symbols holds {symbol!r}, but each symbol must be a non-empty string; remove it",
            )
            require(
                symbol not in self.specials,
                f"symbols holds {symbol!r}, which names a special token; rename the symbol",
            )
        doubled = [symbol for symbol, count in Counter(symbols).items() if count > 1]
        require(
            not doubled,
            f"symbols holds {''.join(doubled[:1])!r} more than once, but symbols must be distinct; "
            "pass each symbol once",
        )
        self.symbols: tuple[str, ...] = tuple(symbols)
        self._tokens = (*self.specials, *self.symbols)
        first = len(self.specials)
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols, start=first)}

    @classmethod
    def from_texts(cls, texts: Iterable[Sequence[str]]) -> CharacterTokenizer:
        """Build the tokenizer whose alphabet is the sorted set of the symbols in ``texts``.

        Args:
            texts: strings, or sequences of symbols.

        Returns:
            The tokenizer. The order of ``texts`` does not change it.

        Raises:
            ValueError: there is no symbol in ``texts``, or one that the constructor refuses.

        Example:
            >>> CharacterTokenizer.from_texts(["banana", "cab"]).symbols
            ('a', 'b', 'c', 'n')
        """
        symbols = sorted({symbol for text in texts for symbol in text})
        require(bool(symbols), "texts holds no symbol; pass at least one non-empty text")
        return cls(symbols)

    @property
    def vocab_size(self) -> int:
        """Number of ids: the symbols and the three special tokens."""
        return len(self._tokens)

    def token_to_id(self, token: str) -> int | None:
        """Give the id of a symbol or a special token, or None."""
        return self._tokens.index(token) if token in self.specials else self._ids.get(token)

    def id_to_token(self, index: int) -> str:
        """Give the symbol or special token of an id.

        Args:
            index: the id.

        Returns:
            The symbol.

        Raises:
            ValueError: there is no such id.
        """
        require(
            0 <= index < self.vocab_size,
            f"index={index} must lie in 0..{self.vocab_size - 1}; take ids from this tokenizer",
        )
        return self._tokens[index]

    def encode(self, text: Sequence[str], *, bos: bool = False, eos: bool = False) -> list[int]:
        """Give the ids of the symbols of ``text``.

        Args:
            text: a string, or a sequence of symbols.
            bos: put the begin token in front.
            eos: put the end token behind.

        Returns:
            The ids, one for each symbol, and one for each special token asked for.

        Raises:
            ValueError: ``text`` holds something that is not a symbol of the alphabet. Special
                tokens are not symbols: ask for them with ``bos`` and ``eos``.

        Example:
            >>> CharacterTokenizer(["AH", "K", "T"]).encode(["K", "AH", "T"], bos=True)
            [1, 4, 3, 5]
        """
        try:
            ids = [self._ids[symbol] for symbol in text]
        except KeyError as error:
            unknown = error.args[0]
            raise ValueError(
                f"text={text!r} holds {unknown!r} at position {list(text).index(unknown)}, which "
                f"is none of the {len(self.symbols)} symbols; remove it or build the tokenizer "
                "with it"
            ) from None
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def decode(self, ids: Sequence[int] | Int[Tensor, " n"]) -> list[str]:
        """Give the symbols of ``ids``, up to the first end token and without special tokens.

        Args:
            ids: token ids, as a sequence of integers or a tensor of one axis.

        Returns:
            The symbols. What follows the first end token is not looked at.

        Raises:
            ValueError: an id before the end token lies outside ``0 … vocab_size - 1``, or a
                tensor has not exactly one axis.

        Example:
            >>> CharacterTokenizer("abc").decode([4, 3, 0])
            ['b', 'a']
        """
        if isinstance(ids, Tensor):
            require(
                ids.ndim == 1,
                f"ids has shape {tuple(ids.shape)}, but must have one axis; decode row by row",
            )
            ids = ids.tolist()
        symbols = []
        for index in ids:
            if not 0 <= index < self.vocab_size:
                raise ValueError(
                    f"ids holds {index}, but ids must lie in 0..{self.vocab_size - 1}; "
                    "decode with the tokenizer that encoded"
                )
            if index == self.eos_id:
                break
            if index >= len(self.specials):
                symbols.append(self._tokens[index])
        return symbols

    def encode_with_offsets(self, text: Sequence[str]) -> Encoding:
        """Give the ids and symbols of a text, and the place of each.

        Args:
            text: a string, or a sequence of symbols.

        Returns:
            Ids, symbols and offsets: symbol ``i`` of the text is at ``(i, i + 1)``.

        Example:
            >>> CharacterTokenizer("abc").encode_with_offsets("cab").offsets
            [(0, 1), (1, 2), (2, 3)]
        """
        return Encoding(self.encode(text), list(text), [(i, i + 1) for i in range(len(text))])

    def encode_batch(
        self,
        texts: Sequence[Sequence[str]],
        *,
        max_length: int | None = None,
        side: Side = "right",
    ) -> Batch:
        """Encode several texts to one padded tensor.

        Args:
            texts: strings, or sequences of symbols.
            max_length: the most symbols of a text, what follows being cut; None for no limit.
            side: where the padding goes: ``"left"`` to generate.

        Returns:
            The ids ``(batch, n)`` and the lengths ``(batch,)``.

        Raises:
            ValueError: a text holds something that is no symbol, ``texts`` is empty or one
                string, ``max_length`` below 1, or ``side`` unknown.
        """
        require_several(texts)
        rows = [cut(self.encode(text), max_length=max_length) for text in texts]
        return make_batch(rows, pad_id=self.pad_id, side=side)

    def pad(
        self, sequences: Sequence[Sequence[int]]
    ) -> tuple[Int[Tensor, "batch n"], Int[Tensor, " batch"]]:
        """Join sequences of different lengths to one batch, padded at the end.

        Args:
            sequences: lists of ids, as ``encode`` gives them.

        Returns:
            The ids ``(batch, n)``, ``n`` being the longest length, and the lengths in tokens
            ``(batch,)``. Both are int64 on the CPU.

        Raises:
            ValueError: ``sequences`` is empty.
        """
        require(len(sequences) > 0, "sequences is empty; pass at least one sequence of ids")
        batch = make_batch(sequences, pad_id=self.pad_id)
        return batch.ids, batch.lengths

    def to_json(self) -> str:
        """Give the tokenizer as one line of JSON, which ``from_json`` reads."""
        fields = {"format": FORMAT, "version": FORMAT_VERSION, "symbols": list(self.symbols)}
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> CharacterTokenizer:
        """Read what ``to_json`` wrote.

        Args:
            text: the JSON.

        Returns:
            A tokenizer equal to the one that was written.

        Raises:
            ValueError: ``text`` is not JSON, was not written by ``to_json``, or has a newer
                version.

        Example:
            >>> letters = CharacterTokenizer("abc")
            >>> CharacterTokenizer.from_json(letters.to_json()) == letters
            True
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"text is not JSON ({error}); pass what to_json gave") from error
        known = isinstance(fields, dict) and fields.get("format") == FORMAT
        require(known, f"text is not a {FORMAT}; pass what to_json gave, or use load_tokenizer")
        require(
            fields.get("version") == FORMAT_VERSION,
            f"version={fields.get('version')!r} of {FORMAT} is unknown, this package reads "
            f"{FORMAT_VERSION}; install the package version that wrote it",
        )
        symbols = fields.get("symbols")
        require(isinstance(symbols, list), f"symbols={symbols!r} must be a list of strings")
        return cls(symbols)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> CharacterTokenizer:
        """Read a file that ``save`` wrote; errors as of ``from_json``."""
        return cls.from_json(read_text_file(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json()`` to a file, whole or not at all."""
        # A lone surrogate is no UTF-8. Escaped as Python does it, it is JSON.
        write_atomic(path, self.to_json().encode("utf-8", "backslashreplace"))

    def __eq__(self, other: object) -> bool:
        """Two tokenizers are equal when they give every symbol the same id."""
        return isinstance(other, CharacterTokenizer) and self.symbols == other.symbols

    def __hash__(self) -> int:
        """Hash of the alphabet, in step with equality."""
        return hash(self.symbols)

    def __repr__(self) -> str:
        """Say the size and the first symbols."""
        more = ["…"] if len(self.symbols) > 5 else []
        first = " ".join([*self.symbols[:5], *more])
        return f"CharacterTokenizer({len(self.symbols)} symbols: {first})"
