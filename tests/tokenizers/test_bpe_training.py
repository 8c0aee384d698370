"""Merges are those of the tokenizers library, ties included."""

import json
import random
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import tokenizers
from awkward_lines import awkward_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from tfbook.data import king_james
from tfbook.tokenizers import SMOLLM_PATTERN, BPETokenizer
from tfbook.tokenizers.bpe_training import PairCounts, train_merges
from tfbook.tokenizers.json_format import USUAL_NAMES


def library(texts: list[str], vocab_size: int, pattern: str = "gpt2", **options: Any) -> Any:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pattern == SMOLLM_PATTERN:
        digits = pre_tokenizers.Digits(individual_digits=True)
        made.pre_tokenizer = pre_tokenizers.Sequence([digits, made.pre_tokenizer])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False, **options
    )
    made.train_from_iterator(texts, trainer)
    return made


def same(texts: list[str], vocab_size: int, **options: Any) -> BPETokenizer:
    """Train both and compare ids and merges."""
    ours = BPETokenizer.train(texts, vocab_size=vocab_size, **options)
    renamed = {"min_count": "min_frequency"}
    theirs = library(texts, vocab_size, **{renamed.get(k, k): v for k, v in options.items()})
    assert ours.vocabulary.model_ids == theirs.get_vocab()
    for text in texts[:20]:
        assert ours.encode(text) == theirs.encode(text).ids
    merges = json.loads(theirs.to_str())["model"]["merges"]
    assert ours.merges == [tuple(merge) for merge in merges]
    return ours


def test_the_papers_example() -> None:
    """Sennrich et al. (2016), section 3.2, without their sign for the end of a word."""
    counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    _, merges = train_merges(counts, vocab_size=262)
    assert merges == [
        ("e", "s"),
        ("es", "t"),
        ("l", "o"),
        ("lo", "w"),
        ("e", "w"),
        ("n", "ew"),  # as frequent as "ew" with "est", and "n" has the lower id
    ]


def test_on_real_text() -> None:
    text = king_james.load("validation")[0]
    made = same([text], 2000, special_tokens=["<|endoftext|>", "<pad>"])
    assert made.vocab_size == 2000
    assert (made.eos_id, made.pad_id) == (0, 1)
    assert made.decode(made.encode(text)) == text


def test_special_tokens_with_usual_names_have_their_roles() -> None:
    names = re.findall(r"``(\S+)``", (BPETokenizer.train.__doc__ or "").split("special_tokens:")[1])
    for role, known in USUAL_NAMES.items():
        for name in known:
            made = BPETokenizer.train(["low"], vocab_size=300, special_tokens=[name])
            assert getattr(made, role) == 0
            assert name in names


def test_a_trained_tokenizer_can_be_told_its_padding() -> None:
    made = BPETokenizer.train(["low lower"], vocab_size=260, special_tokens=["<eos>"])
    assert (made.eos_id, made.pad_id) == (0, None)
    with pytest.raises(ValueError, match=r"set tokenizer\.pad_id to"):
        made.encode_batch(["low", "lower"])
    made.pad_id = made.eos_id
    batch = made.encode_batch(["low", "lower"])
    assert batch.ids[0, int(batch.lengths[0]) :].tolist() == [0] * int(batch.lengths[1] - 1)
    assert BPETokenizer.from_json(made.to_json()).pad_id == 0
    assert made.with_backend("rust").encode_batch(["low", "lower"]).ids.equal(batch.ids)


def test_on_awkward_text() -> None:
    same(awkward_lines(), 1500)
    same(awkward_lines(seed=1), 700, pattern=SMOLLM_PATTERN)


@pytest.mark.parametrize("min_count", [1, 2, 5])
def test_it_ends_when_no_pair_is_left(min_count: int) -> None:
    made = same(["aaab aab abab", "bbbb aaaa"] * 2, 5000, min_count=min_count)
    assert made.vocab_size < 5000


# Few letters give many ties and many overlaps.
WORDS = st.lists(st.text("ab ", max_size=12), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(WORDS, st.integers(256, 290))
def test_ties_and_overlaps(texts: list[str], vocab_size: int) -> None:
    same(texts, vocab_size)


def test_counts_stay_those_of_the_words() -> None:
    draw = random.Random(0)
    words = [draw.choices(range(4), k=draw.randint(1, 9)) for _ in range(50)]
    weights = [draw.randint(1, 9) for _ in words]
    pairs = PairCounts(words, weights)
    for made in range(4, 30):
        pair = pairs.most_frequent()
        assert pair is not None
        expected: Counter[tuple[int, int]] = Counter()
        for word, weight in zip(pairs.words, weights, strict=True):
            for two in pairwise(word):
                expected[two] += weight
        most = max(expected.values())
        assert pair == min(two for two, count in expected.items() if count == most)
        pairs.merge(pair, made)


def test_progress_is_shown_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    BPETokenizer.train(["low"], vocab_size=258)
    assert capsys.readouterr().err == ""
    BPETokenizer.train(["low"], vocab_size=258, progress=True)
    assert "2/2" in capsys.readouterr().err


BAD_COUNTS = [
    (dict(vocab_size=255), "vocab_size=255 must be an integer of at least 256: 256 bytes"),
    (dict(vocab_size=300.0), "vocab_size=300.0 must be an integer of at least 256"),
    (dict(vocab_size="300"), "vocab_size='300' must be an integer of at least 256"),
    (dict(special_tokens=["<s>"] * 2), "special_tokens holds a token twice, or a single letter"),
    (dict(special_tokens=["a"]), "special_tokens holds a token twice, or a single letter"),
    (dict(min_count=0), "min_count=0 must be at least 1; 1 merges every pair"),
]
BAD = [
    (dict(pattern="("), "is no regular expression"),
    (dict(texts="low"), r"texts='low' is one text, but must be a sequence of texts; pass \[text\]"),
]


@pytest.mark.parametrize(("change", "message"), BAD_COUNTS + BAD)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BPETokenizer.train(**{"texts": ["low"], "vocab_size": 300, **change})


@pytest.mark.parametrize(("change", "message"), BAD_COUNTS)
def test_bad_counts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_merges({"low": 1}, **{"vocab_size": 300, **change})
