"""The checkers of chapter 03 name the mistake that was made."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

from exercise_answers import answer_tests

Parts = list[str]
Pair = tuple[str, str]


def join_pair(parts: Parts, pair: Pair) -> Parts:
    done: Parts = []
    at = 0
    while at < len(parts):
        if tuple(parts[at : at + 2]) == pair:
            done.append(parts[at] + parts[at + 1])
            at += 2
        else:
            done.append(parts[at])
            at += 1
    return done


def join_in_place(parts: Parts, pair: Pair) -> Parts:
    for at in range(len(parts) - 2, -1, -1):
        if tuple(parts[at : at + 2]) == pair:
            parts[at : at + 2] = ["".join(pair)]
    return parts


def from_the_right(parts: Parts, pair: Pair) -> Parts:
    return join_in_place(list(parts), pair)


def first_only(parts: Parts, pair: Pair) -> Parts:
    for at, found in enumerate(pairwise(parts)):
        if found == pair:
            return [*parts[:at], "".join(pair), *parts[at + 2 :]]
    return list(parts)


def joined_if(test: Callable[[str, str, Pair], bool]) -> Callable[[Parts, Pair], Parts]:
    def join(parts: Parts, pair: Pair) -> Parts:
        done: Parts = []
        at = 0
        while at < len(parts):
            whole = at + 1 < len(parts) and test(parts[at], parts[at + 1], pair)
            done.append(parts[at] + parts[at + 1] if whole else parts[at])
            at += 1 + whole
        return done

    return join


def twice_used(parts: Parts, pair: Pair) -> Parts:
    done: Parts = []
    at = 0
    while at < len(parts):
        if tuple(parts[at : at + 2]) == pair:
            done.append("".join(pair))
            at += 1 if tuple(parts[at + 1 : at + 3]) == pair else 2
        else:
            done.append(parts[at])
            at += 1
    return done


def ends_joined(parts: Parts, pair: Pair) -> Parts:
    return " ".join(parts).replace(" ".join(pair), "".join(pair)).split()


def last_missing(parts: Parts, pair: Pair) -> Parts:
    done: Parts = []
    at = 0
    while at < len(parts) - 1:
        here = (parts[at], parts[at + 1]) == pair
        done.append("".join(pair) if here else parts[at])
        at += 2 if here else 1
    return done


def by_letters(words: Any) -> Pair:
    counts: Counter[Pair] = Counter()
    for parts, n in words.items():
        for pair in pairwise("".join(parts)):
            counts[pair] += n
    return min(counts, key=lambda pair: (-counts[pair], pair))


def counted(words: dict[tuple[str, ...], int]) -> Counter[Pair]:
    counts: Counter[Pair] = Counter()
    for parts, n in words.items():
        for pair in pairwise(parts):
            counts[pair] += n
    return counts


def next_pair(words: Any) -> Pair:
    counts = counted(words)
    return min(counts, key=lambda pair: (-counts[pair], pair))


def last_of_equals(words: Any) -> Pair:
    counts = counted(words)
    return max(counts, key=lambda pair: (counts[pair], pair))


def among_equals(by: Callable[[Pair], str]) -> Callable[[Any], Pair]:
    def pair(words: Any) -> Pair:
        counts = counted(words)
        return min(counts, key=lambda pair: (-counts[pair], by(pair)))

    return pair


def once_a_word(words: Any) -> Pair:
    counts: Counter[Pair] = Counter()
    for parts, n in words.items():
        for pair in set(pairwise(parts)):
            counts[pair] += n
    return min(counts, key=lambda pair: (-counts[pair], pair))


def encode_bpe(word: str, merges: list[Pair]) -> Parts:
    parts = list(word)
    while True:
        known = [merges.index(pair) for pair in pairwise(parts) if pair in merges]
        if not known:
            return parts
        parts = join_pair(parts, merges[min(known)])


def one_pass(word: str, merges: list[Pair]) -> Parts:
    parts = list(word)
    for pair in merges:
        parts = join_pair(parts, pair)
    return parts


def in_the_text(word: str, merges: list[Pair]) -> Parts:
    text = " ".join(word)
    for pair in merges:
        text = text.replace(" ".join(pair), "".join(pair))
    return text.split()


def by_the_left(word: str, merges: list[Pair]) -> Parts:
    parts = list(word)
    at = 0
    while at < len(parts) - 1:
        if tuple(parts[at : at + 2]) in merges:
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
            at = 0
        else:
            at += 1
    return parts


def one_place(word: str, merges: list[Pair]) -> Parts:
    parts = list(word)
    for pair in merges:
        parts = first_only(parts, pair)
    return parts


def ends(encode: Callable[[str, list[Pair]], Parts]) -> Callable[[str, list[Pair]], list[int]]:
    """Where a prompt may end, by this way to encode."""

    def prompt_ends(word: str, merges: list[Pair]) -> list[int]:
        whole = encode(word, merges)
        return [
            i
            for i in range(1, len(word))
            if encode(word[:i], merges) + encode(word[i:], merges) == whole
        ]

    return prompt_ends


def borders(word: str, merges: list[Pair]) -> list[int]:
    """The borders between pieces: the same places, found without trying them."""
    return list(accumulate(map(len, encode_bpe(word, merges))))[:-1]


def as_many(word: str, merges: list[Pair]) -> list[int]:
    n = len(encode_bpe(word, merges))
    return [
        i
        for i in range(1, len(word))
        if len(encode_bpe(word[:i], merges)) + len(encode_bpe(word[i:], merges)) == n
    ]


def longest(word: str, vocab: Any, mark: str = "##", keep: bool = False) -> Parts:
    done: Parts = []
    rest = word
    while rest:
        for size in range(len(rest), 0, -1):
            piece = (mark if done else "") + rest[:size]
            if piece in vocab:
                break
        else:
            return [*done, "[UNK]"] if keep else ["[UNK]"]
        done.append(piece)
        rest = rest[size:]
    return done


def longest_bpe(word: str, merges: list[Pair]) -> Parts:
    return longest(word, {*word, *map("".join, merges)}, mark="")


def end_off_by_one(word: str, vocab: set[str]) -> Parts:
    done: Parts = []
    start = 0
    while start < len(word):
        for stop in range(len(word) - 1, start, -1):
            piece = ("##" if start else "") + word[start:stop]
            if piece in vocab:
                break
        else:
            return ["[UNK]"]
        done.append(piece)
        start = stop
    return done


def unknown_letters(word: str, vocab: set[str]) -> Parts:
    done: Parts = []
    start = 0
    while start < len(word):
        for stop in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:stop]
            if piece in vocab:
                break
        else:
            piece, stop = "[UNK]", start + 1
        done.append(piece)
        start = stop
    return done


def shortest(word: str, vocab: set[str]) -> Parts:
    done: Parts = []
    rest = word
    while rest:
        fits = [n for n in range(1, len(rest) + 1) if ("##" if done else "") + rest[:n] in vocab]
        if not fits:
            return ["[UNK]"]
        done.append(("##" if done else "") + rest[: fits[0]])
        rest = rest[fits[0] :]
    return done


def going_back(word: str, vocab: set[str], mark: str = "") -> Parts:
    """Try shorter pieces where the longest leads nowhere."""
    for size in range(len(word), 0, -1):
        if mark + word[:size] in vocab:
            if size == len(word):
                return [mark + word]
            rest = going_back(word[size:], vocab, "##")
            if rest != ["[UNK]"]:
                return [mark + word[:size], *rest]
    return ["[UNK]"]


def count_cuts(word: str, vocab: set[str], first: int = 1) -> int:
    ways = [first]
    for stop in range(1, len(word) + 1):
        ways.append(sum(ways[start] for start in range(stop) if word[start:stop] in vocab))
    return ways[-1]


def count_backwards(word: str, vocab: set[str]) -> int:
    """From the end, by the pieces with which the rest begins."""

    @cache
    def ways(start: int) -> int:
        fits = [piece for piece in vocab if word.startswith(piece, start)]
        return sum(ways(start + len(piece)) for piece in fits) if word[start:] else 1

    return ways(0)


def count_by_listing(word: str, vocab: set[str]) -> int:
    if not word:
        return 1
    stops = [stop for stop in range(1, len(word) + 1) if word[:stop] in vocab]
    return sum(count_by_listing(word[stop:], vocab) for stop in stops)


def without_order(word: str, vocab: set[str]) -> int:
    """Sets of pieces that join to the word in some order, as change is counted."""

    def found(rest: str) -> set[tuple[str, ...]]:
        if not rest:
            return {()}
        stops = [stop for stop in range(1, len(rest) + 1) if rest[:stop] in vocab]
        return {tuple(sorted((rest[:s], *way))) for s in stops for way in found(rest[s:])}

    return len(found(word))


def fewest(word: str, vocab: set[str]) -> int:
    best = [0]
    for stop in range(1, len(word) + 1):
        best.append(min((best[s] + 1 for s in range(stop) if word[s:stop] in vocab), default=99))
    return best[-1]


def occurrences(word: str, vocab: set[str]) -> int:
    n = len(word)
    return sum(word[i:j] in vocab for i in range(n) for j in range(i + 1, n + 1))


def show_stream(tokens: list[bytes]) -> Parts:
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(token) for token in tokens]


def held_too_long(tokens: list[bytes]) -> Parts:
    shown: Parts = []
    held = b""
    for token in tokens:
        held += token
        try:
            shown.append(held.decode())
            held = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def everything_again(tokens: list[bytes]) -> Parts:
    return [b"".join(tokens[: n + 1]).decode("utf-8", "ignore") for n in range(len(tokens))]


def without_the_mark(tokens: list[bytes]) -> Parts:
    """The mark of broken characters taken away: it may stand in the text as well."""
    shown: Parts = []
    for n in range(1, len(tokens) + 1):
        whole = b"".join(tokens[:n]).decode("utf-8", "replace").rstrip("\ufffd")
        shown.append(whole[sum(map(len, shown)) :])
    return shown


def at_the_end(tokens: list[bytes]) -> Parts:
    return [""] * (len(tokens) - 1) + [b"".join(tokens).decode()] if tokens else []


RIGHT = [
    ("03.1", join_pair),
    ("03.2", next_pair),
    ("03.3", ends(encode_bpe)),
    ("03.3", ends(one_pass)),
    ("03.3", borders),
    ("03.4", longest),
    ("03.5", count_cuts),
    ("03.5", count_backwards),
    ("03.6", show_stream),
]

WRONG = [
    ("03.1", lambda parts, pair: tuple(join_pair(parts, pair)), "give a list of strings"),
    ("03.1", join_in_place, "build a new one"),
    ("03.1", from_the_right, "start at the left"),
    ("03.1", first_only, "go on to the end"),
    ("03.1", twice_used, "a part is used twice"),
    ("03.1", lambda parts, pair: list(parts), "never equals a tuple"),
    ("03.1", last_missing, "the last part is missing"),
    ("03.1", ends_joined, "two whole parts"),
    ("03.1", joined_if(lambda a, b, pair: a + b == "".join(pair)), "expected ['a', 'bc']"),
    ("03.1", joined_if(lambda a, b, p: a == p[0] and b.startswith(p[1])), "two whole parts"),
    ("03.1", lambda parts, pair: [], "expected ['aa', 'a', 'b']"),
    ("03.2", lambda words: "ow", "a tuple of two parts"),
    ("03.2", lambda words: next_pair(dict.fromkeys(words, 1)), "not once"),
    ("03.2", last_of_equals, "not the last"),
    ("03.2", lambda words: counted(words).most_common(1)[0][0], "not the first met"),
    ("03.2", among_equals(lambda pair: pair[0]), "not the first met"),
    ("03.2", among_equals("".join), "compare the pairs as tuples"),
    ("03.2", by_letters, "do not glue the parts"),
    ("03.2", once_a_word, "counts twice"),
    ("03.2", lambda words: counted(words).most_common()[-1][0], "rarest"),
    ("03.3", encode_bpe, "give a list of whole numbers"),
    ("03.3", lambda word, merges: [0, *borders(word, merges)], "no place at an end"),
    ("03.3", lambda word, merges: [*borders(word, merges), len(word)], "no place at an end"),
    ("03.3", ends(lambda word, merges: encode_bpe(word, merges[::-1])), "latest merge is taken"),
    ("03.3", ends(longest_bpe), "WordPiece's way"),
    ("03.3", ends(in_the_text), "keep a list of pieces"),
    ("03.3", ends(by_the_left), "wherever it stands"),
    ("03.3", ends(one_place), "at one place only"),
    ("03.3", ends(lambda word, merges: list(word)), "compare the pieces"),
    ("03.3", as_many, "need not be the same pieces"),
    (
        "03.3",
        lambda word, merges: sorted({*range(1, len(word))} - {*borders(word, merges)}),
        "differ from the whole word's",
    ),
    ("03.3", lambda word, merges: [*range(1, len(encode_bpe(word, merges)))], "counts pieces"),
    ("03.3", lambda word, merges: [], "expected [4]"),
    ("03.4", lambda word, vocab: longest(word, vocab, ""), "without ##"),
    (
        "03.4",
        lambda word, vocab: longest(word, {p.removeprefix("##") for p in vocab}, ""),
        "the first piece of a word has none",
    ),
    ("03.4", lambda word, vocab: longest(word, vocab, keep=True), "the pieces before it go"),
    ("03.4", shortest, "take the longest"),
    ("03.4", lambda word, vocab: [p.strip("#") for p in longest(word, vocab)], "with ##"),
    ("03.4", going_back, "never goes back"),
    ("03.4", end_off_by_one, "is the whole rest tried?"),
    ("03.4", unknown_letters, "do not go on behind it"),
    ("03.4", lambda word, vocab: [], "expected ['hi']"),
    ("03.5", lambda word, vocab: float(count_cuts(word, vocab)), "give a whole number"),
    ("03.5", lambda word, vocab: count_cuts(word, vocab, 0), "begin with 1"),
    ("03.5", lambda word, vocab: count_cuts(word, vocab) if word else 0, "begin with 1"),
    ("03.5", lambda word, vocab: 2 ** max(len(word) - 1, 0), "must all be in the vocabulary"),
    ("03.5", lambda word, vocab: min(count_cuts(word, vocab), 1), "not how many there are"),
    ("03.5", without_order, "in another order"),
    ("03.5", fewest, "the shortest way"),
    ("03.5", occurrences, "that stand in the word"),
    ("03.5", count_by_listing, "do not list them"),
    ("03.5", lambda word, vocab: 99, "expected 5"),
    ("03.6", lambda tokens: [t.decode("utf-8", "replace") for t in tokens], "broken characters"),
    ("03.6", lambda tokens: [t.decode("utf-8", "ignore") for t in tokens], "keep them"),
    ("03.6", without_the_mark, "expected"),
    ("03.6", at_the_end, "nothing is shown before the end"),
    ("03.6", everything_again, "only what is new"),
    ("03.6", held_too_long, "can go out"),
    ("03.6", lambda tokens: [b"".join(tokens).decode()], "one string for each"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT, WRONG)
