"""Checkers of chapter 03, tokenization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.cuts import (
    Pair,
    best_cut,
    best_mean,
    encode,
    encode_from_left,
    encode_once,
    join_once,
    join_overlapping,
    joined,
    likeliest_first,
    longest_first,
    pair_counts,
    streamed,
    whole_tokens,
)


def check_join_pair(fn: Callable[..., Any]) -> None:
    """Exercise 03.1."""
    cases: list[tuple[list[str], Pair]] = [
        (["a", "a", "a", "b"], ("a", "a")),
        (["b", "a", "n", "a", "n", "a"], ("a", "n")),
        (["ab", "a", "b"], ("a", "b")),
        (["x", "y"], ("y", "x")),
        (["q"], ("q", "q")),
        ([], ("a", "b")),
    ]
    for parts, pair in cases:
        copy = list(parts)
        given = _strings(fn(copy, pair), f"parts={parts}, pair={pair}")
        if copy != parts:
            raise Wrong(f"the list that you were given, {parts}, is changed: build a new one")
        right = joined(parts, pair)
        mistakes = {
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
    ]
    for words in cases:
        given = fn(dict(words))
        if not isinstance(given, tuple) or len(given) != 2:
            raise Wrong(f"{words}: give the pair, a tuple of two parts, not {given!r}")
        counts = pair_counts(words)
        right = min(counts, key=lambda pair: (-counts[pair], pair))
        unweighted = pair_counts(dict.fromkeys(words, 1))
        once = pair_counts(words, once=True)
        mistakes = {
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
            "that is the rarest pair": min(counts, key=lambda pair: (counts[pair], pair)),
        }
        _compare(f"words={words}", given, right, mistakes)


def check_encode_bpe(fn: Callable[..., Any]) -> None:
    """Exercise 03.3."""
    cases: list[tuple[str, list[Pair]]] = [
        ("caca", [("c", "a"), ("a", "ca"), ("a", "c"), ("c", "aca")]),
        ("abc", [("b", "c"), ("a", "b")]),
        ("king", [("i", "n"), ("in", "g"), ("k", "ing")]),
        ("abcd", [("c", "d"), ("b", "cd"), ("a", "b"), ("ab", "c")]),
        ("aaaa", [("a", "a"), ("aa", "aa")]),
        ("abab", [("a", "b"), ("b", "a")]),
        ("xyz", [("a", "b")]),
        ("abcabd", [("ab", "c"), ("a", "b"), ("ab", "d")]),
        ("", [("a", "b")]),
    ]
    for word, merges in cases:
        case = f"word={word!r}, merges={merges}"
        given = _strings(fn(word, list(merges)), case)
        if "".join(given) != word:
            raise Wrong(f"{case}: the pieces {given} do not join to the word")
        pieces = {*word, *("".join(pair) for pair in merges)}
        mistakes = {
            "merges are taken from the left of the word: take the oldest merge wherever it "
            "stands": encode_from_left(word, merges),
            "the latest merge is taken first: take the oldest": encode(word, merges[::-1]),
            "that is the longest piece from the left, which is WordPiece's way: replay the "
            "merges": longest_first(word, pieces, mark=""),
            "each merge is made at one place only: make it wherever its pair stands": (
                encode_once(word, merges)
            ),
            "nothing is merged": list(word),
        }
        _compare(case, given, encode(word, merges), mistakes)


def check_encode_wordpiece(fn: Callable[..., Any]) -> None:
    """Exercise 03.4."""
    cases: list[tuple[str, set[str]]] = [
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


def check_encode_unigram(fn: Callable[..., Any]) -> None:
    """Exercise 03.5."""
    letters = {"a": -5.0, "b": -1.0, "c": -5.0, "d": -8.0}
    cases: list[tuple[str, dict[str, float]]] = [
        ("abcd", letters | {"ab": -2.0, "cd": -8.0, "abc": -3.0, "bcd": -6.0}),
        ("ab", {"a": -1.0, "b": -1.0, "ab": -3.0}),
        ("abc", {"a": -2.0, "b": -2.0, "c": -2.0, "ab": -1.0, "bc": -2.5}),
        ("abcd", {"abc": -1.0, "d": -9.0, "ab": -2.0, "cd": -2.0, "a": -9.0}),
        ("aaaa", {"a": -3.0, "aa": -5.0, "aaa": -8.0, "aaaa": -20.0}),
        ("abcd", {"a": -0.5, "b": -4.0, "c": -4.0, "d": -0.5, "bcd": -7.0, "abcd": -8.5}),
        ("xy", {"x": -1.0, "y": -1.5, "xy": -2.0}),
        ("", {"a": -1.0}),
    ]
    for word, log_p in cases:
        case = f"word={word!r}, log_p={log_p}"
        given = _strings(fn(word, dict(log_p)), case)
        if "".join(given) != word:
            raise Wrong(f"{case}: the pieces {given} do not join to the word")
        unknown = [piece for piece in given if piece not in log_p]
        if unknown:
            raise Wrong(f"{case}: {unknown[0]!r} is no piece of log_p")
        mistakes = {
            "that is the longest piece from the left: compare whole ways": longest_first(
                word, set(log_p), mark=""
            ),
            "that has the fewest pieces, not the largest sum": best_cut(
                word, dict.fromkeys(log_p, -1.0)
            ),
            "the likeliest first piece is taken: a later one may cost more": likeliest_first(
                word, log_p
            ),
            "that is the least likely way: logarithms of probabilities are negative, and larger "
            "is better": best_cut(word, {piece: -score for piece, score in log_p.items()}),
            "the mean over the pieces is compared, not the sum": best_mean(word, log_p),
        }
        _compare(case, given, best_cut(word, log_p), mistakes)


def check_show_stream(fn: Callable[..., Any]) -> None:
    """Exercise 03.6."""
    cases: list[list[bytes]] = [
        [b"a", b"\xc3", b"\xa9b"],
        [b"plain", b" text"],
        ["🙂".encode()[:1], "🙂".encode()[1:3], "🙂".encode()[3:] + b"!"],
        ["é".encode(), "中文".encode()[:4], "中文".encode()[4:]],
        [b"", "ü".encode()],
        [],
    ]
    for tokens in cases:
        case = f"tokens={tokens}"
        given = _strings(fn(list(tokens)), case)
        if len(given) != len(tokens):
            raise Wrong(f"{case}: give one string for each of the {len(tokens)} tokens: {given}")
        if any("\ufffd" in shown for shown in given):
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
    "03.3": check_encode_bpe,
    "03.4": check_encode_wordpiece,
    "03.5": check_encode_unigram,
    "03.6": check_show_stream,
}
