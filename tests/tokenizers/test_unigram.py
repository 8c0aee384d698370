"""Unigram: by hand, equal to sentencepiece and to the library on two thousand awkward lines."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
import unigram
from awkward_lines import INVALID_UTF8, SURROGATES, awkward_lines
from tokenizers import Tokenizer

from tfbook.tokenizers import NFKC, UnigramText, UnigramTokenizer
from tfbook.tokenizers.special_tokens import AddedToken

PIECES = [("<unk>", 0.0), ("<s>", 0.0), ("▁", -3.0), ("a", -2.0), ("▁a", -2.5), ("ab", -4.0)]


def loaded(tmp_path: Path, **options: object) -> UnigramTokenizer:
    path = tmp_path / "m.model"
    path.write_bytes(unigram.trained(**options))
    return UnigramTokenizer.from_sentencepiece(path)


def test_by_hand() -> None:
    small = UnigramTokenizer(PIECES, bos_id=1, before=[1])
    assert small.encode("a ab") == [1, 4, 2, 5]
    assert small.encode("aéé a", special=False) == [4, 0, 4]
    assert small.encode("<s>a", special=False) == [1, 4]
    assert small.encode("<s>", special=False, parse_special=False) == [2, 0]
    assert small.encode("", special=False) == []
    assert small.decode([1, 4, 2, 5]) == "a ab"
    assert small.decode(torch.tensor([1, 4, 0]), special=True) == "<s> a<unk>"
    assert small.encode_with_offsets("a xy").offsets == [(0, 0), (0, 1), (1, 2), (2, 4)]
    assert (small.token_to_id("ab"), small.token_to_id("no"), small.id_to_token(3)) == (
        5,
        None,
        "a",
    )
    assert (small.unk_id, small.bos_id, small.eos_id, small.pad_id) == (0, 1, None, None)
    assert repr(small) == "UnigramTokenizer(6 pieces)"
    n_best = small.n_best("aa", 9)
    assert n_best[0] == ([4, 3], -4.5)
    assert n_best == sorted(n_best, key=lambda way: -way[1])
    batch = UnigramTokenizer(PIECES, pad_id=1).encode_batch(["a", "a ab"], max_length=2)
    assert batch.ids.tolist() == [[4, 1], [4, 2]]


@pytest.mark.parametrize("options", [{}, {"byte_fallback": True, "vocab_size": 900}])
def test_two_thousand_awkward_lines_as_sentencepiece(
    options: dict[str, object], tmp_path: Path
) -> None:
    """It adds up in float32: of ways that score alike it may take another."""
    ours, theirs = loaded(tmp_path, **options), unigram.library(**options)
    ties = 0
    for line in awkward_lines(300 if options else 2000):
        found, expected = ours.encode(line, parse_special=False), theirs.encode(line)
        if found != expected:
            ties += 1
            scores = [sum(ours.pieces[index][1] for index in ids) for ids in (found, expected)]
            assert Counter(found)[0] == Counter(expected)[0]
            assert scores[0] == pytest.approx(scores[1], abs=1e-3)
        if 0 not in expected and "\ufffd" not in theirs.decode(expected):
            assert ours.decode(expected) == theirs.decode(expected)
    assert ties <= 10


@pytest.mark.parametrize("rules", [None, NFKC()])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_awkward_lines_as_the_library(
    rules: NFKC | None, byte_fallback: bool, tmp_path: Path
) -> None:
    model = loaded(tmp_path, byte_fallback=True, vocab_size=900)
    ours = UnigramTokenizer(
        model.pieces,
        text=UnigramText(rules),
        byte_fallback=byte_fallback,
        added_tokens=model.vocabulary.added.tokens,
        bos_id=1,
        eos_id=2,
        after=[2],
    )
    theirs = Tokenizer.from_str(ours.to_json())
    rust = ours.with_backend("rust")
    for line in awkward_lines(2000 if rules is None and not byte_fallback else 100):
        found, expected = ours.encode_with_offsets(line), theirs.encode(line)
        assert found.ids == expected.ids == ours.encode(line) == rust.encode(line)
        if rules is None and not byte_fallback:
            assert found.offsets == expected.offsets
        assert ours.decode(found.ids) == theirs.decode(found.ids)
        assert rust.decode(found.ids, special=True) == ours.decode(found.ids, special=True)


def test_where_the_library_differs(tmp_path: Path) -> None:
    """As ``with_backend`` says: letters with several marks, and the places of bytes."""
    ours, theirs = loaded(tmp_path), unigram.library()
    rust = ours.with_backend("rust")
    marked = "e\u0306\u0315\u0305"
    assert ours.encode(marked) == theirs.encode(marked) != rust.encode(marked)
    lines = awkward_lines(300)
    assert sum(ours.encode(line) != rust.encode(line) for line in lines) < len(lines) / 10
    ours = loaded(tmp_path, byte_fallback=True, vocab_size=900)
    plain = UnigramTokenizer(ours.pieces, byte_fallback=True)
    assert plain.encode_with_offsets("\r\n").offsets == [(0, 1), (0, 1), (1, 2)]
    rust = plain.with_backend("rust")
    assert rust.encode_with_offsets("\r\n").offsets == [(0, 1), (0, 2), (0, 2)]
    with pytest.raises(ValueError, match="backend='gpu' is unknown"):
        ours.with_backend("gpu")


def test_json_there_and_back(tmp_path: Path) -> None:
    ours = loaded(tmp_path)
    ours.save(tmp_path / "tokenizer.json")
    again = UnigramTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.to_json() == ours.to_json()
    assert (again.bos_id, again.eos_id) == (1, 2)
    for line in awkward_lines(100):
        assert again.encode(line) == ours.encode(line)


def test_pieces_over_blanks_and_user_defined_ones(tmp_path: Path) -> None:
    options = {"split_by_whitespace": False, "vocab_size": 500}
    ours, theirs = loaded(tmp_path, **options), unigram.library(**options)
    assert any("▁" in piece[1:] for piece, _ in ours.pieces)
    differing = sum(
        ours.encode(line, parse_special=False) != theirs.encode(line) for line in awkward_lines(150)
    )
    assert differing <= 2
    rust = ours.with_backend("rust")
    assert rust.encode("and the LORD said") == ours.encode("and the LORD said")


def test_sampling() -> None:
    """Of "▁aa" there are three ways; by chi-squared with two degrees of freedom, 0.9999."""
    small = UnigramTokenizer(PIECES)
    ways = {(4, 3): -4.5, (2, 3, 3): -7.0}
    for alpha in (0.2, 1.0):
        n = 400
        drawn = Counter(tuple(small.sample("aa", alpha=alpha, seed=seed)) for seed in range(n))
        assert set(drawn) == set(ways)
        odds = {way: math.exp(alpha * score) for way, score in ways.items()}
        squared = sum(
            (drawn[way] - n * odds[way] / sum(odds.values())) ** 2
            / (n * odds[way] / sum(odds.values()))
            for way in ways
        )
        assert squared < 18.4
    assert small.sample("aa", seed=3) == small.sample("aa", seed=3)
    assert small.sample("a" * 9, alpha=200.0, seed=1) == small.encode("a" * 9)


def test_what_utf_8_cannot_hold() -> None:
    small = UnigramTokenizer(PIECES)
    for text, read_as in SURROGATES:
        assert small.encode(text) == small.encode(read_as)
    for data in INVALID_UTF8:
        assert small.encode(data) == small.encode(data.decode("utf-8", "replace"))


def test_training() -> None:
    made = UnigramTokenizer.train(unigram.lines()[:150], vocab_size=150)
    assert made.vocab_size == 150
    assert made.vocabulary.tokens[:3] == ["<unk>", "<s>", "</s>"]
    for line in unigram.lines()[:20]:
        assert made.unk_id not in made.encode(line)
        assert made.decode(made.encode(line)) == made.text.normalize(line).replace("▁", " ")[1:]
    with pytest.raises(ValueError, match="texts='abc' is one text"):
        UnigramTokenizer.train("abc", vocab_size=9)
    for size in (2, 300.0, "300"):
        with pytest.raises(
            ValueError, match=f"vocab_size={size!r} must be an integer of at least 11"
        ):
            UnigramTokenizer.train(["hello world"], vocab_size=size)
    with pytest.raises(ValueError, match="there is no word to learn from; pass texts"):
        UnigramTokenizer.train([" ", ""], vocab_size=9)


def test_bad_input(tmp_path: Path) -> None:
    small = UnigramTokenizer(PIECES)
    with pytest.raises(ValueError, match="pieces holds a piece twice"):
        UnigramTokenizer([("a", 0.0), ("a", -1.0)])
    with pytest.raises(ValueError, match="pad_id=6 must lie in"):
        UnigramTokenizer(PIECES, pad_id=6)
    with pytest.raises(ValueError, match="needs 256 pieces for bytes, and 256 are missing"):
        UnigramTokenizer(PIECES, byte_fallback=True)
    with pytest.raises(ValueError, match="added token 'a' has id 0"):
        UnigramTokenizer(PIECES, added_tokens=[AddedToken(content="a", id=0)])
    with pytest.raises(ValueError, match="alpha=-1 must be 0 or more"):
        small.sample("a", alpha=-1, seed=0)
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        small.n_best("a", 0)
    with pytest.raises(ValueError, match="texts='a' is one text"):
        small.encode_batch("a")
    with pytest.raises(ValueError, match="ids holds 6"):
        small.decode([6])
    with pytest.raises(ValueError, match="text is not JSON"):
        UnigramTokenizer.from_json("{")
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        UnigramTokenizer.from_file(tmp_path / "bad")
    with pytest.raises(ValueError, match="is no sentencepiece model"):
        UnigramTokenizer.from_sentencepiece(tmp_path / "bad")
