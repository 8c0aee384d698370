"""Cuts of words, the right ones and those of known mistakes, for the checkers of chapter 03."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import pairwise

Pair = tuple[str, str]


def joined(parts: Sequence[str], pair: Pair) -> list[str]:
    """Join a pair wherever it stands, from the left.

    Args:
        parts: the pieces of a word.
        pair: the two pieces to join.

    Returns:
        The pieces.

    Example:
        >>> joined(["a", "a", "a"], ("a", "a"))
        ['aa', 'a']
    """
    made: list[str] = []
    at = 0
    while at < len(parts):
        here = tuple(parts[at : at + 2]) == pair
        made.append("".join(parts[at : at + 2]) if here else parts[at])
        at += 2 if here else 1
    return made


def join_once(parts: list[str], pair: Pair) -> list[str]:
    """Join a pair at its first place alone, which is a mistake.

    Args:
        parts: the pieces of a word.
        pair: the two pieces to join.

    Returns:
        The pieces.

    Example:
        >>> join_once(["a", "b", "a", "b"], ("a", "b"))
        ['ab', 'a', 'b']
    """
    for at, found in enumerate(pairwise(parts)):
        if found == pair:
            return [*parts[:at], "".join(pair), *parts[at + 2 :]]
    return parts


def join_ends(parts: list[str], pair: Pair) -> list[str]:
    """Join where one part ends, and the next begins, like the pair, which is a mistake.

    Args:
        parts: the pieces of a word.
        pair: the two pieces to join.

    Returns:
        The pieces.

    Example:
        >>> join_ends(["ab", "c"], ("b", "c"))
        ['abc']
    """
    made: list[str] = []
    at = 0
    while at < len(parts):
        here = parts[at].endswith(pair[0]) and "".join(parts[at + 1 : at + 2]).startswith(pair[1])
        made.append("".join(parts[at : at + 2]) if here else parts[at])
        at += 2 if here else 1
    return made


def join_overlapping(parts: list[str], pair: Pair) -> list[str]:
    """Join a pair at every place, parts used twice, which is a mistake.

    Args:
        parts: the pieces of a word.
        pair: the two pieces to join.

    Returns:
        The pieces.

    Example:
        >>> join_overlapping(["a", "a", "a"], ("a", "a"))
        ['aa', 'aa']
    """
    made: list[str] = []
    used = False
    for at, part in enumerate(parts):
        if tuple(parts[at : at + 2]) == pair:
            made.append("".join(pair))
            used = True
        else:
            made += [] if used else [part]
            used = False
    return made


def pair_counts(words: Mapping[tuple[str, ...], int], *, once: bool = False) -> dict[Pair, int]:
    """Count pairs of neighbours, each word as often as it occurs; ``once`` a word is a mistake.

    Args:
        words: how often each word occurs, a word being its parts.
        once: count a pair once a word, which is a mistake.

    Returns:
        The count of each pair.

    Example:
        >>> pair_counts({("l", "o", "w"): 2})
        {('l', 'o'): 2, ('o', 'w'): 2}
    """
    counts: dict[Pair, int] = {}
    for parts, n in words.items():
        found = list(pairwise(parts))
        for pair in dict.fromkeys(found) if once else found:
            counts[pair] = counts.get(pair, 0) + n
    return counts


def encode(word: str, merges: Sequence[Pair]) -> list[str]:
    """Merge the pair of the oldest merge, again and again.

    Args:
        word: the word.
        merges: pairs, the oldest first.

    Returns:
        The pieces.

    Example:
        >>> encode("abc", [("b", "c"), ("a", "b")])
        ['a', 'bc']
    """
    parts = list(word)
    ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
    while found := [pair for pair in pairwise(parts) if pair in ranks]:
        parts = joined(parts, min(found, key=lambda pair: ranks[pair]))
    return parts


def encode_from_left(word: str, merges: Sequence[Pair]) -> list[str]:
    """Merge the leftmost pair that is any merge, which is a mistake.

    Args:
        word: the word.
        merges: pairs, the oldest first.

    Returns:
        The pieces.

    Example:
        >>> encode_from_left("abc", [("b", "c"), ("a", "b")])
        ['ab', 'c']
    """
    parts = list(word)
    while found := [at for at, pair in enumerate(pairwise(parts)) if pair in merges]:
        parts[found[0] : found[0] + 2] = ["".join(parts[found[0] : found[0] + 2])]
    return parts


def encode_once(word: str, merges: Sequence[Pair]) -> list[str]:
    """Make each merge at one place, which is a mistake.

    Args:
        word: the word.
        merges: pairs, the oldest first.

    Returns:
        The pieces.

    Example:
        >>> encode_once("abab", [("a", "b")])
        ['ab', 'a', 'b']
    """
    parts = list(word)
    for pair in merges:
        parts = join_once(parts, pair)
    return parts


def encode_as_text(word: str, merges: Sequence[Pair]) -> list[str]:
    """Make the merges by replacing in a text with blanks between the pieces, which is a mistake.

    Args:
        word: the word.
        merges: pairs, the oldest first.

    Returns:
        The pieces.

    Example:
        >>> encode_as_text("abc", [("a", "b"), ("b", "c")])
        ['abc']
    """
    text = " ".join(word)
    for left, right in merges:
        text = text.replace(f"{left} {right}", left + right)
    return text.split()


def safe_places(word: str, cut: Callable[[str], list[str]]) -> list[int]:
    """Find the places at which two parts, cut apart, give the pieces of the whole.

    Args:
        word: the word.
        cut: gives the pieces of a word.

    Returns:
        The numbers of letters in the first part.

    Example:
        >>> safe_places("abc", lambda word: encode(word, [("b", "c")]))
        [1]
    """
    whole = cut(word)
    return [at for at in range(1, len(word)) if cut(word[:at]) + cut(word[at:]) == whole]


def longest_first(
    word: str,
    vocab: set[str],
    *,
    mark: str = "##",
    keep: bool = False,
    go_on: bool = False,
    shortest: bool = False,
) -> list[str]:
    """Cut by the longest piece first; ``keep``, ``go_on`` and ``shortest`` are mistakes.

    Args:
        word: the word.
        vocab: the known pieces.
        mark: what stands before pieces inside a word.
        keep: keep the pieces before ``[UNK]``, which is a mistake.
        go_on: give ``[UNK]`` for one letter and go on, which is a mistake.
        shortest: take the shortest piece, which is a mistake.

    Returns:
        The pieces.

    Example:
        >>> longest_first("unable", {"un", "una", "##able", "##ble"})
        ['una', '##ble']
    """
    pieces: list[str] = []
    start = 0
    while start < len(word):
        stops = range(start + 1, len(word) + 1)
        for stop in stops if shortest else reversed(stops):
            piece = (mark if start else "") + word[start:stop]
            if piece in vocab:
                break
        else:
            if not go_on:
                return [*pieces, "[UNK]"] if keep else ["[UNK]"]
            piece, stop = "[UNK]", start + 1
        pieces.append(piece)
        start = stop
    return pieces


def all_cuts(word: str, vocab: Set[str]) -> list[list[str]]:
    """List all ways to cut a word into known pieces.

    Args:
        word: the word.
        vocab: the known pieces.

    Returns:
        The ways, each a list of pieces.

    Example:
        >>> all_cuts("ab", {"a", "b", "ab"})
        [['a', 'b'], ['ab']]
    """
    if not word:
        return [[]]
    return [
        [word[:stop], *rest]
        for stop in range(1, len(word) + 1)
        if word[:stop] in vocab
        for rest in all_cuts(word[stop:], vocab)
    ]


def number_of_cuts(word: str, vocab: Set[str]) -> int:
    """Count the ways to cut a word into known pieces, without listing them.

    Args:
        word: the word.
        vocab: the known pieces.

    Returns:
        The number of ways.

    Example:
        >>> number_of_cuts("a" * 40, {"a", "aa"})
        165580141
    """
    ways = [1]
    for stop in range(1, len(word) + 1):
        ways.append(sum(ways[start] for start in range(stop) if word[start:stop] in vocab))
    return ways[-1]


def streamed(tokens: Sequence[bytes]) -> list[str]:
    """Give what each token adds to the characters that are whole.

    Args:
        tokens: byte strings that join to valid UTF-8.

    Returns:
        The new text of each token.

    Example:
        >>> streamed([b"a", b"\\xc3", b"\\xa9b"])
        ['a', '', 'éb']
    """
    shown = [b"".join(tokens[: n + 1]).decode("utf-8", "ignore") for n in range(len(tokens))]
    return [now[len(before) :] for before, now in pairwise(["", *shown])]


def whole_tokens(tokens: Sequence[bytes]) -> list[str]:
    """Hold everything back while the bytes held do not decode as a whole.

    Args:
        tokens: byte strings that join to valid UTF-8.

    Returns:
        The new text of each token.

    Example:
        >>> whole_tokens([b"a", b"\\xc3", b"\\xa9b"])
        ['a', '', 'éb']
    """
    shown: list[str] = []
    held = b""
    for token in tokens:
        held += token
        try:
            shown.append(held.decode())
            held = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown
