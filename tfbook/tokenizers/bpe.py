"""Byte-level byte-pair encoding, as GPT-2 and SmolLM2 use it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxtyping import Int
from torch import Tensor

from tfbook.checks import require_state
from tfbook.files import write_atomic
from tfbook.tokenizers import encoding
from tfbook.tokenizers.bpe_json import read_bpe, write_bpe
from tfbook.tokenizers.bpe_training import train_merges
from tfbook.tokenizers.byte_level import GPT2_PATTERN, compiled, split_words
from tfbook.tokenizers.byte_pairs import BytePairs
from tfbook.tokenizers.chat import Message, render_chat
from tfbook.tokenizers.encoding import Batch, Encoding, Side, Text, Tokenizer
from tfbook.tokenizers.json_format import ROLES, read_text_file, usual_roles
from tfbook.tokenizers.rust import Backend, with_backend
from tfbook.tokenizers.special_tokens import AddedToken
from tfbook.tokenizers.vocabulary import Vocabulary


class BPETokenizer:
    """Byte-level BPE: text is cut into words, each word's bytes are merged by learned pairs.

    Merges apply in the order in which they were learned. Any text can be encoded, and comes back
    the same, as long as the vocabulary holds all 256 bytes. SmolLM2's lacks 21 that hardly occur
    (``missing_bytes`` names them): they are dropped without a word, as the reference does.

    Args:
        vocab: the id of every token, in the spelling of ``byte_characters``.
        merges: pairs of tokens in the order of their ranks.
        pattern: cuts text into words: ``GPT2_PATTERN``, ``SMOLLM_PATTERN`` or another.
        added_tokens: tokens that are found in the text as they stand, special ones among them.
        pad_id, bos_id, eos_id, unk_id: the tokens of these roles, None where there is none. They
            are for the caller: ``encode`` puts none of them around a text.
        chat_template: a Jinja template for ``apply_chat_template``.

    Raises:
        ValueError: the ids of ``vocab`` and ``added_tokens`` are not ``0 … n - 1``, each once, or
            they contradict each other.
        ValueError: a merge's parts or its result are not in ``vocab``.
        ValueError: ``pattern`` is no regular expression or captures groups.
        ValueError: a role's id is not in the vocabulary.

    Example:
        >>> small = BPETokenizer.train(["low low low lower lowest"], vocab_size=260)
        >>> small.merges
        [('l', 'o'), ('lo', 'w'), ('Ġ', 'low'), ('Ġlow', 'e')]
        >>> [small.id_to_token(index) for index in small.encode("slower 🙂")]
        ['s', 'low', 'e', 'r', 'Ġ', 'ð', 'Ł', 'Ļ', 'Ĥ']
        >>> small.decode(small.encode("slower 🙂"))
        'slower 🙂'

    Source: Sennrich et al. (2016), section 3.2; Radford et al. (2019), section 2.2. Chapter: 03.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    keeps_bytes: bool = True

    def __init__(
        self,
        *,
        vocab: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        pattern: str = GPT2_PATTERN,
        added_tokens: Sequence[AddedToken] = (),
        pad_id: int | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        unk_id: int | None = None,
        chat_template: str | None = None,
    ) -> None:
        self.vocabulary = Vocabulary(vocab, added_tokens)
        self.pairs = BytePairs(self.vocabulary.model_ids, merges, pattern)
        self.chat_template = chat_template
        self.pad_id = self.vocabulary.check_id("pad_id", pad_id)
        self.bos_id = self.vocabulary.check_id("bos_id", bos_id)
        self.eos_id = self.vocabulary.check_id("eos_id", eos_id)
        self.unk_id = self.vocabulary.check_id("unk_id", unk_id)
        self._bytes = self.pairs.token_bytes | {
            token.id: token.content.encode("utf-8", "surrogatepass") for token in added_tokens
        }

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int,
        pattern: str = GPT2_PATTERN,
        special_tokens: Sequence[str] = (),
        min_count: int = 1,
        progress: bool = False,
    ) -> BPETokenizer:
        """Learn the merges from texts: again and again the pair that is most frequent.

        The special tokens have the first ids, then come the 256 bytes in the order of their
        letters, then the merges. Where pairs are equally frequent, the one of the lowest ids is
        merged, as in the `tokenizers` library.

        Args:
            texts: what to learn from. A pair never joins two texts, or two words.
            vocab_size: the number of tokens wanted. There are fewer when no pair is left.
            pattern: cuts text into words.
            special_tokens: tokens that texts to encode may hold. The usual names give roles, the
                first that is there: ``[PAD]`` ``<pad>`` ``<|pad|>`` ``<|im_end|>`` for padding,
                ``[CLS]`` ``<s>`` ``<bos>`` ``<|im_start|>`` ``<|begin_of_text|>`` to begin,
                ``[SEP]`` ``</s>`` ``<eos>`` ``<|im_end|>`` ``<|end_of_text|>`` to end, ``[UNK]``
                ``<unk>`` for the unknown, and ``<|endoftext|>`` for all four.
            min_count: a pair that occurs less often is not merged.
            progress: show a bar on standard error.

        Returns:
            The tokenizer.

        Raises:
            ValueError: ``vocab_size`` is no integer, or below the 256 bytes and the special
                tokens, or ``min_count`` is below 1.
            ValueError: ``texts`` is one string, or ``pattern`` is wrong.

        Example:
            >>> BPETokenizer.train(["aaabdaaabac"], vocab_size=259).merges
            [('a', 'a'), ('a', 'b'), ('aa', 'ab')]

        Source: Sennrich et al. (2016), algorithm 1. Chapter: 03.
        """
        encoding.require_several(texts)
        split = compiled(pattern)
        counts: Counter[str] = Counter()
        for text in texts:
            text = encoding.as_text(text)
            counts.update(split_words(text, split, 0, len(text)))
        vocab, merges = train_merges(
            counts,
            vocab_size=vocab_size,
            special_tokens=special_tokens,
            min_count=min_count,
            progress=progress,
        )
        added = [AddedToken(content=token, id=vocab[token]) for token in special_tokens]
        roles: dict[str, Any] = dict(usual_roles(added))
        return cls(vocab=vocab, merges=merges, pattern=pattern, added_tokens=added, **roles)

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self.vocabulary.size

    @property
    def missing_bytes(self) -> bytes:
        """The bytes for which there is no token: ``encode`` drops them."""
        return self.pairs.missing_bytes

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The merges in the order of their ranks."""
        return self.pairs.merges

    def token_to_id(self, token: str) -> int | None:
        """Give the id of a token in the spelling of the vocabulary, or None."""
        return self.vocabulary.token_to_id(token)

    def id_to_token(self, index: int) -> str:
        """Give the token of an id in the spelling of the vocabulary; ValueError without one."""
        return self.vocabulary.id_to_token(index)

    def encode(self, text: Text, *, special: bool = True, parse_special: bool = True) -> list[int]:
        """Give the ids of a text.

        Args:
            text: the text. Lone surrogates are encoded as U+FFFD, bytes exactly as they are.
            special: changes nothing here: these models expect no token around a text.
            parse_special: read special tokens that are written out in the text.

        Returns:
            The ids.

        Raises:
            ValueError: ``text`` is neither ``str`` nor ``bytes``.
        """
        text = encoding.as_text(text, lossless=True)
        ids: list[int] = []
        for piece in self.vocabulary.added.split(text, parse_special=parse_special):
            if piece.token is None:
                ids += self.pairs.encode(text, piece.start, piece.stop)
            else:
                ids.append(piece.token.id)
        return ids

    def encode_with_offsets(
        self, text: Text, *, special: bool = True, parse_special: bool = True
    ) -> Encoding:
        """Give the tokens of a text and the characters that each came from.

        Args:
            text, special, parse_special: as for ``encode``.

        Returns:
            Ids, tokens and offsets. A token that holds a part of a character's bytes has the
            offsets of the whole character.

        Example:
            >>> small = BPETokenizer.train(["low low"], vocab_size=258)
            >>> small.encode_with_offsets("low é").offsets
            [(0, 3), (3, 4), (4, 5), (4, 5)]
        """
        mended = encoding.as_text(text, lossless=True)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for piece in self.vocabulary.added.split(mended, parse_special=parse_special):
            if piece.token is None:
                found, places = self.pairs.encode_with_offsets(mended, piece.start, piece.stop)
            else:
                found, places = [piece.token.id], [(piece.start, piece.stop)]
            ids += found
            offsets += places
        tokens = [self.vocabulary.tokens[index] for index in ids]
        return Encoding(ids, tokens, encoding.original_offsets(text, offsets))

    def encode_batch(
        self,
        texts: Sequence[Text],
        *,
        special: bool = True,
        parse_special: bool = True,
        max_length: int | None = None,
        side: Side = "right",
    ) -> Batch:
        """Encode several texts to one padded tensor.

        Args:
            texts: the texts.
            special, parse_special: as for ``encode``.
            max_length: the most tokens of a text, what follows being cut; None for no limit.
            side: where the padding goes: ``"left"`` to generate.

        Returns:
            The ids ``(batch, n)`` and the lengths ``(batch,)``.

        Raises:
            ValueError: ``texts`` is empty or one string, ``max_length`` below 1, ``side``
                unknown, or ``pad_id`` is None and padding is needed.
        """
        return encoding.encode_batch(
            lambda text: self.encode(text, parse_special=parse_special),
            texts,
            pad_id=self.pad_id,
            max_length=max_length,
            side=side,
        )

    def decode(self, ids: Sequence[int] | Int[Tensor, " n"], *, special: bool = False) -> str:
        """Give the text of some ids.

        Args:
            ids: a sequence, or a tensor of one axis.
            special: write special tokens too.

        Returns:
            The text. Bytes that are no UTF-8, as the first half of a character is, give U+FFFD.

        Raises:
            ValueError: an id is unknown, or a tensor has not exactly one axis.
        """
        return self.decode_bytes(ids, special=special).decode("utf-8", "replace")

    def decode_bytes(
        self, ids: Sequence[int] | Int[Tensor, " n"], *, special: bool = False
    ) -> bytes:
        """Give the bytes of some ids, which ``encode`` takes and gives back exactly.

        Args:
            ids: a sequence, or a tensor of one axis.
            special: write special tokens too.

        Returns:
            The bytes.

        Raises:
            ValueError: an id is unknown, or a tensor has not exactly one axis.

        Example:
            >>> small = BPETokenizer.train(["low"], vocab_size=256)
            >>> small.decode_bytes(small.encode(b"\\xff\\xfe low"))
            b'\\xff\\xfe low'
        """
        known = encoding.id_list(ids, self.vocab_size)
        skipped = frozenset() if special else self.vocabulary.added.special_ids
        return b"".join([self._bytes[index] for index in known if index not in skipped])

    def apply_chat_template(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True
    ) -> str:
        """Write a conversation out as the text that the model was trained on.

        Args:
            messages: the turns, each with the texts ``role`` and ``content``.
            add_generation_prompt: end where the assistant's next turn begins.

        Returns:
            The text, special tokens written out: ``encode`` it.

        Raises:
            RuntimeError: the tokenizer has no chat template.
            ValueError: the messages are malformed, or the template refuses them.
        """
        require_state(
            self.chat_template is not None,
            "this tokenizer has no chat template; build it with chat_template=…, or write the "
            "prompt yourself",
        )
        roles = {role.replace("_id", "_token"): getattr(self, role) for role in ROLES}
        names = {
            name: "" if index is None else self.id_to_token(index) for name, index in roles.items()
        }
        return render_chat(
            self.chat_template or "",
            messages,
            add_generation_prompt=add_generation_prompt,
            names=names,
        )

    def to_json(self) -> str:
        """Give the tokenizer as ``tokenizer.json``, which the `tokenizers` library reads too."""
        roles = {role: getattr(self, role) for role in ROLES}
        return write_bpe(
            vocab=self.vocabulary.model_ids,
            merges=self.merges,
            pattern=self.pairs.pattern,
            added_tokens=self.vocabulary.added.tokens,
            extra={**roles, "chat_template": self.chat_template},
        )

    @classmethod
    def from_json(cls, text: str) -> BPETokenizer:
        """Read what ``to_json`` or the `tokenizers` library wrote; ValueError for other text."""
        return cls(**read_bpe(text))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BPETokenizer:
        """Read a file that ``save`` or the `tokenizers` library wrote."""
        return cls.from_json(read_text_file(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``to_json()`` to a file, whole or not at all."""
        write_atomic(path, self.to_json().encode("utf-8", "surrogatepass"))

    def with_backend(self, backend: Backend) -> Tokenizer:
        """Give this tokenizer on ``"python"`` or, for bulk work, on the ``"rust"`` library."""
        return with_backend(self, backend)

    def __repr__(self) -> str:
        """Say the sizes."""
        return f"BPETokenizer({self.vocab_size} tokens, {len(self.merges)} merges)"
