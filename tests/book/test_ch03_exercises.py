"""The checkers of chapter 03 name the mistake that was made."""

from __future__ import annotations

import codecs
from collections import Counter
from itertools import pairwise
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


def viterbi(word: str, log_p: dict[str, float], sign: int = 1) -> Parts:
    best: list[tuple[float, Parts]] = [(0.0, [])]
    for stop in range(1, len(word) + 1):
        ways = [
            (best[start][0] + sign * log_p[word[start:stop]], [*best[start][1], word[start:stop]])
            for start in range(stop)
            if word[start:stop] in log_p
        ]
        best.append(max(ways, key=lambda way: way[0]) if ways else (float("-inf"), []))
    return best[-1][1]


def fewest(word: str, log_p: dict[str, float]) -> Parts:
    return viterbi(word, dict.fromkeys(log_p, -1.0))


def greedy(word: str, log_p: dict[str, float]) -> Parts:
    done: Parts = []
    while word:
        piece = max((p for p in log_p if word.startswith(p)), key=lambda p: log_p[p])
        done.append(piece)
        word = word[len(piece) :]
    return done


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


def at_the_end(tokens: list[bytes]) -> Parts:
    return [""] * (len(tokens) - 1) + [b"".join(tokens).decode()] if tokens else []


RIGHT = {
    "03.1": join_pair,
    "03.2": next_pair,
    "03.3": encode_bpe,
    "03.4": longest,
    "03.5": viterbi,
    "03.6": show_stream,
}

WRONG = [
    ("03.1", lambda parts, pair: tuple(join_pair(parts, pair)), "give a list of strings"),
    ("03.1", join_in_place, "build a new one"),
    ("03.1", from_the_right, "start at the left"),
    ("03.1", first_only, "go on to the end"),
    ("03.1", twice_used, "a part is used twice"),
    ("03.1", lambda parts, pair: list(parts), "expected ['aa', 'a', 'b']"),
    ("03.2", lambda words: "ow", "a tuple of two parts"),
    ("03.2", lambda words: next_pair(dict.fromkeys(words, 1)), "not once"),
    ("03.2", last_of_equals, "not the last"),
    ("03.2", lambda words: counted(words).most_common(1)[0][0], "not the first met"),
    ("03.2", once_a_word, "counts twice"),
    ("03.2", lambda words: counted(words).most_common()[-1][0], "rarest"),
    ("03.3", lambda word, merges: word, "give a list of strings"),
    ("03.3", lambda word, merges: encode_bpe(word[:-1], merges), "do not join to the word"),
    ("03.3", lambda word, merges: encode_bpe(word, merges[::-1]), "take the oldest"),
    ("03.3", longest_bpe, "WordPiece's way"),
    ("03.3", by_the_left, "wherever it stands"),
    ("03.3", one_place, "at one place only"),
    ("03.3", lambda word, merges: list(word), "nothing is merged"),
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
    ("03.4", lambda word, vocab: [], "expected ['[UNK]']"),
    ("03.5", lambda word, log_p: longest(word, log_p, ""), "compare whole ways"),
    ("03.5", fewest, "fewest pieces"),
    ("03.5", greedy, "a later one may cost more"),
    ("03.5", lambda word, log_p: viterbi(word, log_p, -1), "least likely way"),
    ("03.5", lambda word, log_p: list(word[1:]), "do not join to the word"),
    ("03.5", lambda word, log_p: [word], "is no piece of log_p"),
    ("03.6", lambda tokens: [t.decode("utf-8", "replace") for t in tokens], "broken characters"),
    ("03.6", lambda tokens: [t.decode("utf-8", "ignore") for t in tokens], "keep them"),
    ("03.6", at_the_end, "nothing is shown before the end"),
    ("03.6", everything_again, "only what is new"),
    ("03.6", held_too_long, "can go out"),
    ("03.6", lambda tokens: [b"".join(tokens).decode()], "one string for each"),
]


test_a_right_answer_passes, test_a_wrong_answer_is_diagnosed = answer_tests(RIGHT.items(), WRONG)
