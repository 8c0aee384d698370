"""Special and added tokens: found in a text before anything else looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import regex

from tfbook.checks import require

_FLAGS = ("special", "single_word", "lstrip", "rstrip", "normalized")
WORD = regex.compile(r"\w")
SPACE = regex.compile(r"\s")
SPACES_AFTER = regex.compile(r"\s*")


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token that is matched in the text as it stands, before the text is cut into words.

    The fields are those of ``tokenizer.json``.

    Args:
        content: the token as it is written.
        id: its id.
        special: left out by ``decode``, and text like any other with ``parse_special=False``.
        single_word: matched only where no letter, digit or underscore touches it.
        lstrip: takes the white space in front of it along.
        rstrip: takes the white space behind it along.
        normalized: matched after all tokens that are not.

    Example:
        >>> AddedToken.from_fields(AddedToken(content="<end>", id=7).to_fields()).content
        '<end>'

    Chapter: 03.
    """

    content: str
    id: int
    special: bool = True
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False

    def to_fields(self) -> dict[str, Any]:
        """Give the entry of ``added_tokens`` in ``tokenizer.json``."""
        return asdict(self)

    @classmethod
    def from_fields(cls, entry: Any) -> AddedToken:
        """Read an entry of ``added_tokens``.

        Args:
            entry: the parsed JSON.

        Returns:
            The token.

        Raises:
            ValueError: a field is missing or of the wrong type.
        """
        kinds = {"content": str, "id": int, **dict.fromkeys(_FLAGS, bool)}
        known = isinstance(entry, dict) and all(
            isinstance(entry.get(name), kind) for name, kind in kinds.items()
        )
        require(
            known,
            f"added_tokens holds {entry!r:.80}, but an added token needs the fields "
            f"{', '.join(kinds)}; the file is damaged, write it anew with save",
        )
        return cls(**{name: entry[name] for name in kinds})


@dataclass(frozen=True)
class Piece:
    """A part of a text: one added token, or text between them.

    Args:
        start, stop: the characters that it covers.
        token: the added token, or None for plain text.

    Chapter: 03.
    """

    start: int
    stop: int
    token: AddedToken | None = None


class AddedTokens:
    """Find added tokens in texts. Of several that match at one place the longest wins.

    Args:
        tokens: the added tokens, with distinct contents and ids.

    Raises:
        ValueError: a content is empty, or a content or an id occurs twice.

    Example:
        >>> ends = AddedTokens([AddedToken(content="<end>", id=7)])
        >>> [(p.start, p.stop, p.token is not None) for p in ends.split("one<end>two")]
        [(0, 3, False), (3, 8, True), (8, 11, False)]

    Source: the behaviour of the `tokenizers` library. Chapter: 03.
    """

    def __init__(self, tokens: Sequence[AddedToken] = ()) -> None:
        contents = [token.content for token in tokens]
        for content in contents:
            require(content != "", "added_tokens holds an empty token; remove it")
            require(
                contents.count(content) == 1,
                f"added_tokens holds {content!r} more than once; pass each token once",
            )
        self.tokens: tuple[AddedToken, ...] = tuple(tokens)
        self.by_content: Mapping[str, AddedToken] = dict(zip(contents, tokens, strict=True))
        self.by_id: Mapping[int, AddedToken] = {token.id: token for token in tokens}
        require(
            len(self.by_id) == len(contents),
            "added_tokens gives one id to two tokens; give each its own",
        )
        self.special_ids = frozenset(token.id for token in tokens if token.special)
        self._matchers = _matchers(tokens)

    def split(self, text: str, *, parse_special: bool = True) -> list[Piece]:
        """Cut a text at the added tokens in it.

        Args:
            text: the text.
            parse_special: with False, what a special token matches is text.

        Returns:
            Pieces that cover the text without gaps, in order, none of them empty.
        """
        pieces = [Piece(0, len(text))] if text else []
        for matcher in self._matchers:
            parts = [self._split(text, piece, matcher, parse_special) for piece in pieces]
            pieces = list(chain.from_iterable(parts))
        return pieces

    def _split(
        self, text: str, piece: Piece, matcher: regex.Pattern[str], parse_special: bool
    ) -> Iterator[Piece]:
        if piece.token is not None:
            yield piece
            return
        done = piece.start
        for match in matcher.finditer(text, piece.start, piece.stop):
            token = self.by_content[match.group()]
            start, stop = match.span()
            if token.special and not parse_special:
                continue
            if token.single_word and _touches_word(text, start, stop, piece):
                continue
            if token.lstrip:
                start = max(done, _spaces_before(text, done, start))
            if token.rstrip:
                stop = SPACES_AFTER.match(text, stop, piece.stop).end()
            if done < start:
                yield Piece(done, start)
            yield Piece(start, stop, token)
            done = stop
        if done < piece.stop:
            yield Piece(done, piece.stop)


def _matchers(tokens: Sequence[AddedToken]) -> list[regex.Pattern[str]]:
    """One pattern for the tokens that are matched first, one for those matched after them."""
    matchers = []
    for normalized in (False, True):
        contents = [token.content for token in tokens if token.normalized is normalized]
        if contents:
            longest_first = sorted(contents, key=len, reverse=True)
            matchers.append(regex.compile("|".join(map(regex.escape, longest_first))))
    return matchers


def _touches_word(text: str, start: int, stop: int, piece: Piece) -> bool:
    before = start > piece.start and WORD.match(text[start - 1])
    after = stop < piece.stop and WORD.match(text[stop])
    return bool(before or after)


def _spaces_before(text: str, done: int, start: int) -> int:
    while start > done and SPACE.match(text[start - 1]):
        start -= 1
    return start
