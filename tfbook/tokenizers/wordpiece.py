"""WordPiece: BERT's tokenizer, from text to ids and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require, require_positive
from tfbook.files import write_atomic
from tfbook.tokenizers.bert_text import BertText
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
from tfbook.tokenizers.longest_first import PREFIX, LongestFirst
from tfbook.tokenizers.pairs import PairEncoding, join_pair
from tfbook.tokenizers.parts import Offsets, encode_parts, encode_parts_with_offsets
from tfbook.tokenizers.rust import Backend, with_backend
from tfbook.tokenizers.special_tokens import AddedToken
from tfbook.tokenizers.vocabulary import Vocabulary
from tfbook.tokenizers.wordpiece_json import read_vocab_file, read_wordpiece, wordpiece_parts
from tfbook.tokenizers.wordpiece_training import Score, frequency_score, train_wordpiece

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
#: No blank stands in front of these after ``cleanup``.
CLINGING = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")


class WordPieceTokenizer:
    """BERT's tokenizer: words, then for each word the longest piece that is known, and again.

    Words come from :class:`BertText`, pieces from :class:`LongestFirst`. What the first drops or
    changes is lost: ``decode`` gives the words with single blanks between them.

    The five special tokens are those of ``SPECIALS`` that ``vocab`` holds. ``bos_id`` is
    that of ``[CLS]``, ``eos_id`` that of ``[SEP]``; ``mask_id`` is a role that only BERT has.

    Args:
        vocab: the id of each piece; pieces that continue a word begin with ``##``.
        text: how text becomes words; None is that of the uncased model, ``BertText()``.
        max_characters: a longer word, in characters, becomes ``[UNK]``.
        cleanup: ``decode`` takes away the blank in front of ``.``, ``?``, ``!`` and ``,``.
        frame: ``encode`` puts ``[CLS]`` and ``[SEP]`` around a text, where ``vocab`` holds them.
        added_tokens: matched in texts as they stand; None takes the special tokens.

    Raises:
        ValueError: ``vocab`` has no ``[UNK]``, or ids that :class:`Vocabulary` refuses.
        ValueError: ``max_characters`` is below 1.

    Example:
        >>> pieces = ["[UNK]", "[CLS]", "[SEP]", "un", "##known", "##s", "!"]
        >>> small = WordPieceTokenizer({piece: i for i, piece in enumerate(pieces)})
        >>> small.encode("Unknowns!")
        [1, 3, 4, 5, 6, 2]
        >>> small.decode([1, 3, 4, 5, 6, 2])
        'unknowns!'

    Source: Wu et al. 2016, section 4.1; Devlin et al. 2019, its published code. Chapter: 03.
    """

    keeps_bytes: bool = False

    def __init__(
        self,
        vocab: Mapping[str, int],
        *,
        text: BertText | None = None,
        max_characters: int = 100,
        cleanup: bool = True,
        frame: bool = True,
        added_tokens: Sequence[AddedToken] | None = None,
    ) -> None:
        require(
            "[UNK]" in vocab,
            f"vocab of {len(vocab)} pieces has no [UNK], the token of unknown words; add it",
        )
        require_positive("max_characters", max_characters)
        if added_tokens is None:
            added_tokens = [AddedToken(content=s, id=vocab[s]) for s in SPECIALS if s in vocab]
        self.vocabulary = Vocabulary(vocab, added_tokens)
        self.text = BertText() if text is None else text
        self.max_characters = max_characters
        self.cleanup = cleanup
        self.pad_id = self.token_to_id("[PAD]")
        self.unk_id: int | None = vocab["[UNK]"]
        self.bos_id = self.token_to_id("[CLS]")
        self.eos_id = self.token_to_id("[SEP]")
        self.mask_id = self.token_to_id("[MASK]")
        self.before = _known(self.bos_id if frame else None)
        self.after = _known(self.eos_id if frame else None)
        self._pieces = LongestFirst(vocab, unk_id=vocab["[UNK]"], max_characters=max_characters)

    @classmethod
    def from_vocab_file(
        cls,
        path: str | os.PathLike[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
    ) -> WordPieceTokenizer:
        """Read BERT's ``vocab.txt``: a piece on each line, its id the number of the line.

        Args:
            path: the file, in UTF-8.
            lowercase: False for a cased model.
            strip_accents: drop accents; None means exactly when ``lowercase``.

        Returns:
            The tokenizer.

        Raises:
            ValueError: a line is empty, or a piece stands on two lines.

        Example:
            >>> with open("vocab.txt", "w", encoding="utf-8") as file:
            ...     _ = file.write("[UNK]\\nun\\n##do\\n")
            >>> WordPieceTokenizer.from_vocab_file("vocab.txt").encode("undo")
            [1, 2]
        """
        vocab = read_vocab_file(path)
        return cls(vocab, text=BertText(lowercase=lowercase, strip_accents=strip_accents))

    @classmethod
    def train(
        cls,
        texts: Iterable[Text],
        *,
        vocab_size: int,
        text: BertText | None = None,
        score: Score = frequency_score,
        min_count: int = 2,
        progress: bool = False,
    ) -> WordPieceTokenizer:
        """Learn a vocabulary from texts, with the five special tokens in front.

        Args:
            texts: what to learn from.
            vocab_size: wanted number of pieces, the special tokens included.
            text: how text becomes words.
            score, min_count: which pairs are joined, as :func:`train_wordpiece` says.
            progress: show a progress bar.

        Returns:
            The tokenizer.

        Raises:
            ValueError: what :func:`train_wordpiece` refuses.

        Example:
            >>> small = WordPieceTokenizer.train(["low lower lowest"] * 3, vocab_size=17)
            >>> small.vocab_size, small.decode(small.encode("lower low"))
            (17, 'lower low')

        Chapter: 03.
        """
        require_several(texts)
        text = BertText() if text is None else text
        pieces = train_wordpiece(
            (word for one in texts for word in text.words(as_text(one))),
            vocab_size=vocab_size,
            specials=SPECIALS,
            score=score,
            min_count=min_count,
            progress=progress,
        )
        return cls({piece: index for index, piece in enumerate(pieces)}, text=text)

    @classmethod
    def from_json(cls, text: str) -> WordPieceTokenizer:
        """Read a ``tokenizer.json`` of BERT's kind. Padding and truncation in it are left out.

        Args:
            text: the JSON.

        Returns:
            The tokenizer.

        Raises:
            ValueError: ``text`` is not JSON, or a part of it is not BERT's.

        Example:
            >>> small = WordPieceTokenizer({"[UNK]": 0, "a": 1})
            >>> WordPieceTokenizer.from_json(small.to_json()).encode("a b")
            [1, 0]
        """
        return cls(**read_wordpiece(text))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> WordPieceTokenizer:
        """Read a ``tokenizer.json`` of BERT's kind from a file."""
        return cls.from_json(read_text_file(path))

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self.vocabulary.size

    def token_to_id(self, token: str) -> int | None:
        """Give a token's id, or None where there is no such token."""
        return self.vocabulary.token_to_id(token)

    def id_to_token(self, index: int) -> str:
        """Give the token of an id, as the vocabulary spells it."""
        return self.vocabulary.id_to_token(index)

    def encode(self, text: Text, *, special: bool = True, parse_special: bool = True) -> list[int]:
        """Give the ids of a text.

        Args:
            text: a string, or bytes in UTF-8.
            special: put ``[CLS]`` in front and ``[SEP]`` behind.
            parse_special: special tokens that are written out in the text become their ids.

        Returns:
            The ids.
        """
        ids = encode_parts(text, self.vocabulary, self._encode_plain, parse_special=parse_special)
        return [*self.before, *ids, *self.after] if special else ids

    def encode_with_offsets(
        self, text: Text, *, special: bool = True, parse_special: bool = True
    ) -> Encoding:
        """Give ids, tokens and the characters of the text that each came from.

        Args:
            text, special, parse_special: as for ``encode``.

        Returns:
            The encoding. Characters that were dropped inside a token lie in its range, those at
            its ends do not.
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

    def encode_pair(
        self,
        first: Text,
        second: Text,
        *,
        max_length: int | None = None,
        parse_special: bool = True,
    ) -> PairEncoding:
        """Give two texts as one sequence, with the segment that each token belongs to.

        Args:
            first, second: the texts.
            max_length: the most tokens; the end of the longer text is cut until all fit.
            parse_special: special tokens that are written out in a text become their ids.

        Returns:
            ``[CLS] first [SEP]`` in segment 0 and ``second [SEP]`` in segment 1.

        Raises:
            ValueError: ``max_length`` leaves no room for the special tokens.
        """
        one, two = (
            self.encode_with_offsets(text, special=False, parse_special=parse_special)
            for text in (first, second)
        )
        return join_pair(
            one,
            two,
            before=self._named(self.before),
            after=self._named(self.after),
            max_length=max_length,
        )

    def decode(self, ids: Sequence[int] | Int[Tensor, " n"], *, special: bool = False) -> str:
        """Give the text of some ids: pieces of a word joined, words with blanks between them.

        Args:
            ids: token ids.
            special: write the special tokens too.

        Returns:
            The text.

        Raises:
            ValueError: an id is not of the vocabulary, or a tensor has not exactly one axis.
        """
        hidden = frozenset() if special else self.vocabulary.added.special_ids
        kept = [i for i in id_list(ids, self.vocab_size) if i not in hidden]
        words: list[str] = []
        for index in kept:
            token = self.vocabulary.tokens[index]
            if words and token.startswith(PREFIX):
                token = token.removeprefix(PREFIX)
            elif words and not (self.cleanup and token.startswith(CLINGING)):
                words.append(" ")
            words.append(token)
        return "".join(words)

    def to_json(self) -> str:
        """Give the tokenizer in the format of ``tokenizer.json``."""
        parts = wordpiece_parts(
            vocab=self.vocabulary.model_ids,
            text=self.text,
            max_characters=self.max_characters,
            cleanup=self.cleanup,
            before=self._named(self.before),
            after=self._named(self.after),
        )
        roles = {role: getattr(self, role) for role in ROLES}
        return write_document(**parts, added_tokens=self.vocabulary.added.tokens, extra=roles)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json()`` to a file, whole or not at all."""
        write_atomic(path, self.to_json().encode())

    def with_backend(self, backend: Backend) -> Tokenizer:
        """Give the same tokenizer on ``"python"`` (this one) or the library's ``"rust"``."""
        return with_backend(self, backend)

    def _encode_plain(self, text: str) -> list[int]:
        return list(chain.from_iterable(map(self._pieces.ids, self.text.words(text))))

    def _encode_plain_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        ids: list[int] = []
        offsets: Offsets = []
        for word, places in self.text.words_with_positions(text):
            pieces = self._pieces.ids(word)
            ids += pieces
            offsets += self._pieces.offsets(pieces, places)
        return ids, offsets

    def _named(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        return [(self.id_to_token(index), index) for index in ids]

    def __repr__(self) -> str:
        """Say the size and the kind."""
        cased = "uncased" if self.text.lowercase else "cased"
        return f"WordPieceTokenizer({self.vocab_size} pieces, {cased})"


def _known(index: int | None) -> tuple[int, ...]:
    return () if index is None else (index,)
