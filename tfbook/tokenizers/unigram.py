"""Unigram: of all ways to cut a text into pieces the likeliest, or a random one."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable, Sequence

from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require, require_positive
from tfbook.files import write_atomic
from tfbook.tokenizers.encoding import (
    Batch,
    Encoding,
    Side,
    Text,
    Tokenizer,
    as_text,
    encode_batch,
    id_list,
    require_several,
)
from tfbook.tokenizers.json_format import ROLES, read_text_file, write_document
from tfbook.tokenizers.parts import Offsets, encode_parts, encode_parts_with_offsets
from tfbook.tokenizers.rust import Backend, with_backend
from tfbook.tokenizers.special_tokens import AddedToken
from tfbook.tokenizers.unigram_json import read_unigram, sentencepiece_arguments, unigram_parts
from tfbook.tokenizers.unigram_model import WORD, UnigramModel, spell_bytes
from tfbook.tokenizers.unigram_text import BLANK, NFKC, UnigramText
from tfbook.tokenizers.unigram_training import train_unigram
from tfbook.tokenizers.vocabulary import Vocabulary

#: ``<unk>`` and the ends of a text, as sentencepiece numbers them.
SPECIALS = ("<unk>", "<s>", "</s>")


class UnigramTokenizer:
    """Pieces with probabilities; a text is cut the likeliest way.

    Args:
        pieces: each piece with its score, a natural logarithm, in the order of the ids.
        text: how text is normalised; None is ``UnigramText()``.
        byte_fallback: spell unknown characters in bytes, if ``pieces`` holds all that it takes,
            ``<0x00>`` to ``<0xFF>``. Without it neighbouring unknown characters are one ``unk_id``.
        added_tokens: matched in texts as they stand, and never found as pieces. None takes those
            of ``SPECIALS`` that are pieces.
        unk_id: the id of what is unknown.
        pad_id, bos_id, eos_id: the ids of these roles, or None.
        before, after: the ids that ``encode`` puts around a text.

    Raises:
        ValueError: two pieces are the same, or ids and added tokens do not fit together.
        ValueError: an id of a role is not of the vocabulary.
        ValueError: ``byte_fallback`` is asked for and a byte is missing.

    Special tokens written out in a text are found before pieces are (``parse_special=False`` and
    they are letters; the `tokenizers` library finds them then too, as it looks for every piece).

    Example:
        >>> pieces = [("<unk>", 0.0), ("▁", -3.0), ("a", -2.0), ("▁a", -2.5), ("ab", -4.0)]
        >>> small = UnigramTokenizer(pieces)
        >>> small.encode("a ab é")
        [3, 1, 4, 1, 0]
        >>> small.decode(small.encode("a ab"))
        'a ab'

    Source: Kudo 2018, section 3.2; Kudo and Richardson 2018. Chapter: 03.
    """

    keeps_bytes: bool = False

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        *,
        text: UnigramText | None = None,
        byte_fallback: bool = False,
        added_tokens: Sequence[AddedToken] | None = None,
        unk_id: int = 0,
        pad_id: int | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
    ) -> None:
        self.pieces: tuple[tuple[str, float], ...] = tuple((p, float(s)) for p, s in pieces)
        vocab = {piece: index for index, (piece, _) in enumerate(self.pieces)}
        require(
            len(vocab) == len(self.pieces),
            "pieces holds a piece twice; pass each piece once",
        )
        if added_tokens is None:
            added_tokens = [AddedToken(content=s, id=vocab[s]) for s in SPECIALS if s in vocab]
        self.vocabulary = Vocabulary(vocab, added_tokens)
        self.text = UnigramText() if text is None else text
        self.byte_fallback = byte_fallback
        self._unk_id = unk_id
        self.unk_id = self.vocabulary.check_id("unk_id", unk_id)
        self.pad_id = self.vocabulary.check_id("pad_id", pad_id)
        self.bos_id = self.vocabulary.check_id("bos_id", bos_id)
        self.eos_id = self.vocabulary.check_id("eos_id", eos_id)
        self.before: tuple[int, ...] = tuple(before)
        self.after: tuple[int, ...] = tuple(after)
        for index in (*self.before, *self.after):
            self.vocabulary.check_id("before and after", index)
        self._model = UnigramModel(
            self.pieces,
            hidden=frozenset(self.vocabulary.added.by_id),
            unk_id=unk_id,
            byte_fallback=byte_fallback,
        )

    @classmethod
    def from_sentencepiece(cls, path: str | os.PathLike[str]) -> UnigramTokenizer:
        """Read a unigram model that sentencepiece trained, its normalisation rules included.

        Args:
            path: the ``.model`` file.

        Returns:
            The tokenizer. Encoding is that of sentencepiece; ``decode`` leaves unknown tokens
            out, for which sentencepiece writes ``⁇`` between spaces.

        Raises:
            ValueError: the file is damaged, or of another kind than unigram.

        Example:
            >>> with open("m.model", "wb") as file:
            ...     _ = file.write(b"\\x0a\\x0e\\x0a\\x05<unk>\\x15" + bytes(4) + b"\\x18\\x02")
            >>> UnigramTokenizer.from_sentencepiece("m.model").encode("a")
            [0]
        """
        return cls(**sentencepiece_arguments(path))

    @classmethod
    def train(
        cls,
        texts: Iterable[Text],
        *,
        vocab_size: int,
        text: UnigramText | None = None,
        max_length: int = 16,
        progress: bool = False,
    ) -> UnigramTokenizer:
        """Learn pieces from texts; ``<unk>``, ``<s>`` and ``</s>`` have the ids 0, 1 and 2.

        Args:
            texts: what to learn from; no piece reaches over a blank or the end of a text.
            vocab_size: the number of pieces wanted, the three special tokens included.
            text: how text is normalised; None is ``UnigramText(NFKC())``.
            max_length: of a piece, in characters.
            progress: show a progress bar.

        Returns:
            The tokenizer. For other choices call :func:`train_unigram`.

        Raises:
            ValueError: what :func:`train_unigram` refuses, or ``texts`` is one string.

        Example:
            >>> small = UnigramTokenizer.train(["low lower lowest"] * 9, vocab_size=13)
            >>> [small.id_to_token(index) for index in small.encode("lowest low")]
            ['▁lowest', '▁low']

        Chapter: 03.
        """
        require_several(texts)
        text = UnigramText(NFKC()) if text is None else text
        words = (word for one in texts for word in WORD.findall(text.normalize(as_text(one))))
        pieces = train_unigram(
            words,
            vocab_size=vocab_size,
            specials=SPECIALS,
            max_length=max_length,
            progress=progress,
        )
        return cls(pieces, text=text, bos_id=1, eos_id=2)

    @classmethod
    def from_json(cls, text: str) -> UnigramTokenizer:
        """Read what ``to_json`` wrote.

        Args:
            text: the JSON, in the format of ``tokenizer.json``.

        Returns:
            The tokenizer.

        Raises:
            ValueError: ``text`` is no ``tokenizer.json`` of a unigram model as we write it.

        Example:
            >>> small = UnigramTokenizer([("<unk>", 0.0), ("▁a", -1.0)])
            >>> UnigramTokenizer.from_json(small.to_json()).encode("a b")
            [1, 0]
        """
        return cls(**read_unigram(text))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> UnigramTokenizer:
        """Read a ``tokenizer.json`` that ``save`` wrote.

        Args:
            path: the file.

        Returns:
            The tokenizer.

        Raises:
            ValueError: it is none of a unigram model as we write it.
        """
        return cls.from_json(read_text_file(path))

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self.vocabulary.size

    def token_to_id(self, token: str) -> int | None:
        """Give a token's id, or None where there is no such token."""
        return self.vocabulary.token_to_id(token)

    def id_to_token(self, index: int) -> str:
        """Give the token of an id, as the vocabulary spells it; ValueError without one."""
        return self.vocabulary.id_to_token(index)

    def encode(self, text: Text, *, special: bool = True, parse_special: bool = True) -> list[int]:
        """Give the ids of the likeliest way to cut a text.

        Args:
            text: a string, or bytes in UTF-8.
            special: put ``before`` and ``after`` around it.
            parse_special: special tokens that are written out in the text become their ids.

        Returns:
            The ids.
        """
        ids = encode_parts(text, self.vocabulary, self._encode_plain, parse_special=parse_special)
        return [*self.before, *ids, *self.after] if special else ids

    def sample(self, text: Text, *, alpha: float = 0.1, seed: int) -> list[int]:
        r"""Give the ids of a random way to cut a text, for training that is robust to the cuts.

        .. math:: P(x) \propto p(x)^\alpha

        Args:
            text: a string, or bytes in UTF-8.
            alpha: 0 draws all ways alike, 1 by the model; large values the likeliest.
            seed: of the random numbers.

        Returns:
            The ids, without tokens around them.

        Raises:
            ValueError: ``alpha`` is negative or not finite.

        Example:
            >>> small = UnigramTokenizer([("<unk>", 0.0), ("▁", -1), ("a", -1), ("▁a", -1)])
            >>> sorted({tuple(small.sample("a", seed=seed)) for seed in range(9)})
            [(1, 2), (3,)]

        Source: Kudo 2018, section 3.3. Chapter: 03.
        """
        require(
            0 <= alpha < math.inf,
            f"alpha={alpha} must be 0 or more, and finite; use encode for the likeliest way",
        )
        generator = random.Random(seed)

        def plain(part: str) -> list[int]:
            return self._model.sample(self.text.normalize(part), alpha=alpha, generator=generator)

        return encode_parts(text, self.vocabulary, plain, parse_special=True)

    def n_best(self, text: Text, n: int) -> list[tuple[list[int], float]]:
        """Give the likeliest ways to cut a text. Added tokens in it are not looked for.

        Args:
            text: a string, or bytes in UTF-8.
            n: how many.

        Returns:
            Ids and scores (the log-probability, a natural logarithm), the likeliest first; fewer
            when there are fewer.

        Raises:
            ValueError: ``n`` is below 1.

        Example:
            >>> small = UnigramTokenizer([("<unk>", 0.0), ("▁", -1), ("a", -1), ("▁a", -1)])
            >>> small.n_best("a", 5)
            [([3], -1.0), ([1, 2], -2.0)]
        """
        require_positive("n", n)
        return self._model.n_best(self.text.normalize(as_text(text)), n)

    def encode_with_offsets(
        self, text: Text, *, special: bool = True, parse_special: bool = True
    ) -> Encoding:
        """Give ids, tokens and the characters of the text that each came from.

        Args:
            text, special, parse_special: as for ``encode``.

        Returns:
            The encoding. The blank in front of a text has the place of its first character.
        """
        return encode_parts_with_offsets(
            text,
            self.vocabulary,
            self._encode_plain_with_offsets,
            parse_special=parse_special,
            before=self.before if special else (),
            after=self.after if special else (),
        )

    def encode_batch(
        self,
        texts: Sequence[Text],
        *,
        special: bool = True,
        parse_special: bool = True,
        max_length: int | None = None,
        side: Side = "right",
    ) -> Batch:
        """Give the ids of several texts as one padded tensor.

        Args:
            texts: what to encode.
            special, parse_special: as for ``encode``.
            max_length: the most tokens of one text, those around it included; the end is cut.
            side: of the padding.

        Returns:
            The batch.

        Raises:
            ValueError: what :func:`tfbook.tokenizers.encoding.encode_batch` refuses.
        """
        return encode_batch(
            lambda text: self.encode(text, special=False, parse_special=parse_special),
            texts,
            before=self.before if special else (),
            after=self.after if special else (),
            pad_id=self.pad_id,
            max_length=max_length,
            side=side,
        )

    def decode(self, ids: Sequence[int] | Int[Tensor, " n"], *, special: bool = False) -> str:
        """Give the text of some ids, as it is after normalisation.

        Args:
            ids: token ids.
            special: write the special tokens too, the unknown token among them.

        Returns:
            The text. Bytes that are no UTF-8 give U+FFFD, one for each byte of the run.

        Raises:
            ValueError: an id is not of the vocabulary, or a tensor has not exactly one axis.
        """
        hidden = frozenset() if special else self.vocabulary.added.special_ids
        kept = [i for i in id_list(ids, self.vocab_size) if i not in hidden]
        tokens = [self.vocabulary.tokens[index].replace(BLANK, " ") for index in kept]
        text = "".join(spell_bytes(tokens) if self.byte_fallback else tokens)
        return text.removeprefix(" ") if self.text.prefix else text

    def to_json(self) -> str:
        """Give the tokenizer in the format of ``tokenizer.json``."""
        parts = unigram_parts(
            pieces=self.pieces,
            unk_id=self._unk_id,
            byte_fallback=self.byte_fallback,
            text=self.text,
            splits=self._model.splits,
            before=[(self.id_to_token(index), index) for index in self.before],
            after=[(self.id_to_token(index), index) for index in self.after],
        )
        roles = {role: getattr(self, role) for role in ROLES}
        return write_document(**parts, added_tokens=self.vocabulary.added.tokens, extra=roles)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json()`` to a file, whole or not at all."""
        write_atomic(path, self.to_json().encode())

    def with_backend(self, backend: Backend) -> Tokenizer:
        """Give the same tokenizer on ``"python"`` (this one) or the library's ``"rust"``.

        The ids are the same but for one case. Of the rules that a sentencepiece model carries the
        library applies those for single characters to a letter with several marks; here the
        longest rule counts, as in sentencepiece. Offsets are coarser there for neighbouring
        characters that are spelled in bytes, which all have the place of their run, and finer for
        a letter and its marks that NFKC changes.

        Args:
            backend: which.

        Returns:
            The tokenizer.

        Raises:
            ValueError: ``backend`` is neither of the two.
            ModuleNotFoundError: the `tokenizers` library is needed and not installed.
        """
        return with_backend(self, backend)

    def __repr__(self) -> str:
        """Say the size."""
        return f"UnigramTokenizer({self.vocab_size} pieces)"

    def _encode_plain(self, text: str) -> list[int]:
        return self._model.ids(self.text.normalize(text))

    def _encode_plain_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        normal, places = self.text.normalize_with_places(text)
        cuts = list(self._model.tokens(normal))
        offsets = [(places[start][0], places[stop - 1][1]) for start, stop, _ in cuts]
        return [index for _, _, index in cuts], offsets
