"""The core of byte-level BPE."""

import copy
import pickle

import pytest

from tfbook.tokenizers import GPT2_PATTERN, byte_characters
from tfbook.tokenizers.byte_pairs import BytePairs

LETTERS = {letter: index for index, letter in enumerate(byte_characters())}
MERGES = [("Ã", "©"), ("Ġ", "a"), ("a", "Ã©")]
IDS = {**LETTERS, "Ã©": 256, "Ġa": 257, "aÃ©": 258}


def test_by_hand() -> None:
    pairs = BytePairs(IDS, MERGES, GPT2_PATTERN)
    ids, offsets = pairs.encode_with_offsets("x aé é", 1, 6)
    # "Ġa" has a lower rank than "aÃ©", which therefore never comes.
    assert ids == pairs.encode("x aé é", 1, 6) == [257, 256, 32, 256]
    assert offsets == [(1, 3), (3, 4), (4, 5), (5, 6)]
    assert pairs.token_bytes[258] == "aé".encode()
    assert pairs.missing_bytes == b""


def test_a_pair_listed_twice_has_its_last_rank() -> None:
    ids = {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4}
    once = BytePairs(ids, [("a", "b"), ("b", "c")], "[a-z]+")
    twice = BytePairs(ids, [("a", "b"), ("b", "c"), ("a", "b")], "[a-z]+")
    assert once.encode("abc", 0, 3) == [3, 2]
    assert twice.encode("abc", 0, 3) == [0, 4]


def test_bytes_without_a_token_are_dropped() -> None:
    known = {letter: index for letter, index in IDS.items() if letter != "x"}
    pairs = BytePairs(known, MERGES, GPT2_PATTERN)
    assert pairs.missing_bytes == b"x"
    # What stood on both sides becomes neighbours, and merges.
    ids, offsets = pairs.encode_with_offsets("éaxéx xx", 0, 8)
    assert ids == [256, 258, 32]
    assert offsets == [(0, 1), (1, 4), (5, 6)]


def test_copies_start_without_the_words() -> None:
    pairs = BytePairs(IDS, MERGES, GPT2_PATTERN)
    pairs.encode("aé", 0, 2)
    pairs.forget_words()
    for other in (copy.deepcopy(pairs), pickle.loads(pickle.dumps(pairs))):
        assert other.encode("aé", 0, 2) == pairs.encode("aé", 0, 2)
        assert other._words._encode.__self__ is other


def test_a_merge_without_its_tokens() -> None:
    with pytest.raises(ValueError, match=r"merge 1 joins 'a' and 'x', but vocab has no token 'ax'"):
        BytePairs(IDS, [("Ġ", "a"), ("a", "x")], GPT2_PATTERN)
    with pytest.raises(ValueError, match=r"pattern='[(]' is no regular expression"):
        BytePairs(IDS, MERGES, "(")
