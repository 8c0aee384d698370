"""Checkers of chapter 03, tokenization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.cuts import (
    Pair,
    all_cuts,
    encode,
    encode_as_text,
    encode_from_left,
    encode_once,
    join_ends,
    join_once,
    join_overlapping,
    joined,
    longest_first,
    number_of_cuts,
    pair_counts,
    safe_places,
    streamed,
    whole_tokens,
)


def check_join_pair(fn: Callable[..., Any]) -> None:
    """Exercise 03.1."""
    cases: list[tuple[list[str], Pair]] = [
        (["a", "a", "a", "b"], ("a", "a")),
        (["b", "a", "n", "a", "n", "a"], ("a", "n")),
        (["ab", "a", "b"], ("a", "b")),
        (["ab", "c"], ("b", "c")),
        (["x", "y"], ("y", "x")),
        (["q"], ("q", "q")),
        ([], ("a", "b")),
        (["a", "bc"], ("ab", "c")),
        (["b", "cd"], ("b", "c")),
    ]
    for parts, pair in cases:
        copy = list(parts)
        given = _strings(fn(copy, pair), f"parts={parts}, pair={pair}")
        if copy != parts:
            raise Wrong(f"the list that you were given, {parts}, is changed: build a new one")
        right = joined(parts, pair)
        mistakes = {
            "nothing is joined: a slice of a list never equals a tuple": parts,
            "the last part is missing: it stays where it ends no pair": right[:-1],
            "a pair is two whole parts, not the end of one and the start of the next": join_ends(
                parts, pair
            ),
            "only the first place is joined: go on to the end": join_once(parts, pair),
            "a part is used twice: after a join, go on behind both parts": join_overlapping(
                parts, pair
            ),
            "it is joined from the right: start at the left": [
                part[::-1]
                for part in joined([p[::-1] for p in parts[::-1]], (pair[1][::-1], pair[0][::-1]))
            ][::-1],
        }
        _compare(f"parts={parts}, pair={pair}", given, right, mistakes)


def check_next_pair(fn: Callable[..., Any]) -> None:
    """Exercise 03.2."""
    cases: list[dict[tuple[str, ...], int]] = [
        {("l", "o", "w"): 5, ("n", "o", "w"): 4},
        {("a", "b"): 1, ("c", "d", "c", "d"): 1},
        {("b", "a"): 3, ("a", "b", "c"): 3},
        {("x", "y", "x", "y"): 2, ("p", "q"): 3, ("r",): 99},
        {("z", "z", "a"): 1, ("a", "z"): 1, ("z", "a"): 1},
        {("e", "f"): 4, ("g", "h"): 1, ("g", "h", "i"): 1, ("g", "h", "j"): 1},
        {("k", "l"): 2, ("m", "n", "m", "n", "m", "n"): 1},
        {("s", "t"): 2, ("a",): 7, ("b",): 7},
        {("th", "e"): 3, ("a", "b"): 2},
        {("a", "c"): 2, ("a", "b"): 2, ("a", "d"): 2},
        {("a", "bc"): 1, ("ab", "b"): 1},
    ]
    for words in cases:
        given = fn(dict(words))
        if not isinstance(given, tuple) or len(given) != 2:
            raise Wrong(f"{words}: give the pair, a tuple of two parts, not {given!r}")
        counts = pair_counts(words)
        right = min(counts, key=lambda pair: (-counts[pair], pair))
        unweighted = pair_counts(dict.fromkeys(words, 1))
        once = pair_counts(words, once=True)
        glued: dict[tuple[str, ...], int] = {}
        for parts, n in words.items():
            glued[tuple("".join(parts))] = glued.get(tuple("".join(parts)), 0) + n
        letters = pair_counts(glued)
        mistakes = {
            "compare the pairs as tuples, not their text in one": min(
                counts, key=lambda pair: (-counts[pair], "".join(pair))
            ),
            "each word counts as often as it occurs, not once": min(
                unweighted, key=lambda pair: (-unweighted[pair], pair)
            ),
            "a pair that stands twice in a word counts twice": min(
                once, key=lambda pair: (-once[pair], pair)
            ),
            "of equally frequent pairs take the first in the alphabet, not the last": max(
                counts, key=lambda pair: (counts[pair], pair)
            ),
            "of equally frequent pairs take the first in the alphabet, not the first met": max(
                counts, key=lambda pair: counts[pair]
            ),
            "a pair is two parts, which may be longer than a letter: do not glue the parts": min(
                letters, key=lambda pair: (-letters[pair], pair)
            ),
            "that is the rarest pair": min(counts, key=lambda pair: (counts[pair], pair)),
        }
        _compare(f"words={words}", given, right, mistakes)


def check_prompt_ends(fn: Callable[..., Any]) -> None:
    """Exercise 03.3."""
    cases: list[tuple[str, list[Pair]]] = [
        ("kings", [("i", "n"), ("in", "g"), ("k", "ing")]),
        ("abckk", [("a", "b"), ("b", "c"), ("k", "k")]),
        ("caca", [("c", "a"), ("a", "ca"), ("a", "c"), ("c", "aca")]),
        ("abcd", [("b", "c"), ("a", "b"), ("c", "d")]),
        ("abcd", [("c", "d"), ("b", "cd"), ("a", "b"), ("ab", "c")]),
        ("aaaaa", [("a", "a"), ("aa", "aa")]),
        ("abab", [("a", "b"), ("b", "a")]),
        ("xyz", [("a", "b")]),
        ("abcabd", [("a", "b"), ("ab", "c"), ("ab", "d")]),
        ("", [("a", "b")]),
    ]
    for word, merges in cases:
        case = f"word={word!r}, merges={merges}"
        given = fn(word, list(merges))
        if not isinstance(given, list) or not all(type(place) is int for place in given):
            raise Wrong(f"{case}: give a list of whole numbers, not {given!r}")
        if 0 in given or (word and len(word) in given):
            raise Wrong(f"{case}: got {given}. Both parts must hold a letter: no place at an end")
        inner = list(range(1, len(word)))
        pieces = {*word, *("".join(pair) for pair in merges)}
        whole = encode(word, merges)
        right = safe_places(word, partial(encode, merges=merges))
        mistakes = {
            "as many pieces need not be the same pieces": [
                place
                for place in inner
                if len(encode(word[:place], merges)) + len(encode(word[place:], merges))
                == len(whole)
            ],
            "merges are taken from the left of the word: take the oldest merge wherever it "
            "stands": safe_places(word, partial(encode_from_left, merges=merges)),
            "that is the longest piece from the left, which is WordPiece's way: replay the "
            "merges": safe_places(word, partial(longest_first, vocab=pieces, mark="")),
            "the merges are made in the text of the word, where the end of one piece and the "
            "start of the next look like a pair: keep a list of pieces": safe_places(
                word, partial(encode_as_text, merges=merges)
            ),
            "the latest merge is taken first: take the oldest": safe_places(
                word, partial(encode, merges=merges[::-1])
            ),
            "each merge is made at one place only: make it wherever its pair stands": (
                safe_places(word, partial(encode_once, merges=merges))
            ),
            "each place joins to the same text: compare the pieces": inner,
            "these are the places where the pieces differ from the whole word's": [
                place for place in inner if place not in right
            ],
            "that counts pieces: give the number of letters before the cut": list(
                range(1, len(whole))
            ),
        }
        _compare(case, given, right, mistakes)


def check_encode_wordpiece(fn: Callable[..., Any]) -> None:
    """Exercise 03.4."""
    cases: list[tuple[str, set[str]]] = [
        ("hi", {"hi"}),
        ("bus", {"##bus", "##b", "##us"}),
        ("unable", {"un", "una", "##able", "##ble"}),
        ("unable", {"un", "##a", "##able", "able"}),
        ("abab", {"ab", "##ab"}),
        ("abab", {"ab", "a", "b"}),
        ("hugs", {"hug", "hugs", "##s"}),
        ("abcd", {"ab", "abc", "##cd"}),
        ("dogs", {"do", "##g"}),
        ("x", {"y"}),
    ]
    for word, vocab in cases:
        case = f"word={word!r}, vocab={sorted(vocab)}"
        given = _strings(fn(word, set(vocab)), case)
        right = longest_first(word, vocab)
        bare = {piece.removeprefix("##") for piece in vocab}
        mistakes = {
            "is the whole rest tried? The longest piece may end where the word does": (
                ["[UNK]"] if word == "hi" else right
            ),
            "where nothing fits the whole word is one [UNK]: do not go on behind it": (
                longest_first(word, vocab, go_on=True)
            ),
            "give the pieces as the vocabulary spells them, with ##": [
                piece.removeprefix("##") for piece in right
            ],
            "pieces inside a word are looked up without ##": longest_first(word, vocab, mark=""),
            "## in the vocabulary is passed over: the first piece of a word has none": (
                longest_first(word, bare, mark="")
            ),
            "where nothing fits the whole word is one [UNK], and the pieces before it go": (
                longest_first(word, vocab, keep=True)
            ),
            "the shortest piece is taken: take the longest": longest_first(
                word, vocab, shortest=True
            ),
        }
        if word == "abcd" and given[:1] == ["ab"]:
            raise Wrong(
                f"{case}: {given} looks for another cut where the longest piece leads nowhere; "
                "WordPiece never goes back"
            )
        _compare(case, given, right, mistakes)


class _Asked(set[str]):
    """A vocabulary that stops whoever asks it too often."""

    left = 20_000

    def __contains__(self, piece: object) -> bool:
        self._ask()
        return super().__contains__(piece)

    def __iter__(self) -> Iterator[str]:
        self._ask()
        return super().__iter__()

    def _ask(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Wrong(
                "the vocabulary was asked 20,000 times for one word: count the ways to each "
                "place once, and do not list them"
            )


def check_count_cuts(fn: Callable[..., Any]) -> None:
    """Exercise 03.5."""
    cases: list[tuple[str, set[str]]] = [
        ("aaaa", {"a", "aa"}),
        ("abc", {"a", "b", "c", "ab", "bc", "x"}),
        ("abc", {"ab", "c", "bc"}),
        ("abc", {"ab", "b"}),
        ("abcd", {"a", "b", "c", "d", "ab", "bc", "cd", "abc", "bcd"}),
        ("banana", {"b", "a", "n", "an", "na", "ana", "ban"}),
        ("", {"a"}),
        ("a" * 40, {"a", "aa"}),
    ]
    for word, vocab in cases:
        case = f"word={word!r}, vocab={sorted(vocab)}"
        given = fn(word, _Asked(vocab))
        if type(given) is not int:
            raise Wrong(f"{case}: give a whole number, not {given!r}")
        right = number_of_cuts(word, vocab)
        ways = all_cuts(word, vocab) if len(word) < 20 else []
        found = [
            word[start:stop]
            for start in range(len(word))
            for stop in range(start + 1, len(word) + 1)
            if word[start:stop] in vocab
        ]
        mistakes = {
            "the empty word has one way, without pieces: begin with 1": 0,
            "the pieces of a way must all be in the vocabulary": 2 ** max(len(word) - 1, 0),
            "whether there is a way is not how many there are": int(right > 0),
            "the same pieces in another order are another way": len(
                {tuple(sorted(way)) for way in ways}
            ),
            "that is how many pieces the shortest way has": min(map(len, ways), default=0),
            "that counts pieces that stand in the word, not ways": len(found),
        }
        _compare(case, given, right, mistakes)


def check_show_stream(fn: Callable[..., Any]) -> None:
    """Exercise 03.6."""
    cases: list[list[bytes]] = [
        [b"a", b"\xc3", b"\xa9b"],
        [b"plain", b" text"],
        ["🙂".encode()[:1], "🙂".encode()[1:3], "🙂".encode()[3:] + b"!"],
        ["é".encode(), "中文".encode()[:4], "中文".encode()[4:]],
        [b"", "ü".encode()],
        ["a\ufffd".encode(), b"b"],
        [],
    ]
    for tokens in cases:
        case = f"tokens={tokens}"
        given = _strings(fn(list(tokens)), case)
        if len(given) != len(tokens):
            raise Wrong(f"{case}: give one string for each of the {len(tokens)} tokens: {given}")
        if "".join(given).count("\ufffd") > b"".join(tokens).decode().count("\ufffd"):
            raise Wrong(
                f"{case}: {given} shows broken characters: hold bytes back until the character "
                "is whole"
            )
        mistakes = {
            "nothing is shown before the end: show whole characters at once": [
                *[""] * (len(tokens) - 1),
                b"".join(tokens).decode(),
            ][-len(tokens) or 1 :],
            "unfinished bytes are dropped: keep them for the next token": [
                token.decode("utf-8", "ignore") for token in tokens
            ],
            "all text so far is shown again: give only what is new": [
                b"".join(tokens[: n + 1]).decode("utf-8", "ignore") for n in range(len(tokens))
            ],
            "a token is shown only when it is whole itself: the first bytes of it may end a "
            "character, and whole characters in it can go out": whole_tokens(tokens),
        }
        _compare(case, given, streamed(tokens), mistakes)


def _strings(given: object, case: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(piece, str) for piece in given):
        raise Wrong(f"{case}: give a list of strings, not {given!r}")
    return given


def _compare(case: str, given: Any, right: Any, mistakes: Mapping[str, Any]) -> None:
    if given == right:
        return
    for diagnosis, answer in mistakes.items():
        if given == answer:
            raise Wrong(f"{case}: got {given}. {diagnosis}")
    raise Wrong(f"{case}: got {given}, expected {right}")


CHECKERS = {
    "03.1": check_join_pair,
    "03.2": check_next_pair,
    "03.3": check_prompt_ends,
    "03.4": check_encode_wordpiece,
    "03.5": check_count_cuts,
    "03.6": check_show_stream,
}
