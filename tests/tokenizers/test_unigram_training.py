"""Unigram's training: EM never loses likelihood, and the result is as good as sentencepiece's."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import unigram
from scipy.special import psi

from tfbook.tokenizers import UnigramText, likelihood_scores, sparse_scores, train_unigram
from tfbook.tokenizers.segmentation import Segmenter
from tfbook.tokenizers.unigram_model import WORD
from tfbook.tokenizers.unigram_training import seed_pieces
from tfbook.tokenizers.word_lattices import WordLattices


def words() -> list[str]:
    text = UnigramText()
    return [word for line in unigram.lines() for word in WORD.findall(text.normalize(line))]


def test_likelihood_never_falls() -> None:
    counts = Counter(words()[:4000])
    pieces = list(seed_pieces(counts))
    graphs = WordLattices(list(counts), {piece: i for i, piece in enumerate(pieces)})
    weights = np.array(list(counts.values()), dtype=np.float64)
    scores = np.full(len(pieces), -np.log(len(pieces)))
    likelihoods = []
    for _ in range(12):
        expected, log_p = graphs.expected_counts(scores, weights)
        likelihoods.append(float(weights @ log_p))
        scores = likelihood_scores(expected)
    assert np.exp(scores).sum() == pytest.approx(1.0)
    assert (np.diff(likelihoods) > 0).all()
    assert likelihoods[-1] > likelihoods[0] * 0.9


def test_scores() -> None:
    counts = np.array([0.5, 3.0, 100.0])
    np.testing.assert_allclose(sparse_scores(counts), psi(counts) - psi(counts.sum()), rtol=1e-10)
    np.testing.assert_allclose(likelihood_scores(counts), np.log(counts / counts.sum()))
    assert np.isfinite(likelihood_scores(np.array([0.0, 1.0]))).all()
    assert sparse_scores(counts)[0] < likelihood_scores(counts)[0]


def test_seeds() -> None:
    seeds = seed_pieces({"▁contribution": 3, "▁contributed": 2, "▁x": 1})
    assert seeds["▁contribut"] == 5
    assert "▁contribu" not in seeds  # always goes on with t
    assert seeds["▁"] == 6
    assert "▁x" not in seeds  # occurs once
    assert list(seed_pieces({"abab": 2}, n_pieces=3)) == ["a", "b", "ab"]
    assert max(map(len, seed_pieces({"abababab": 2}, max_length=3))) == 3


def score(pieces: list[tuple[str, float]], text: list[str]) -> float:
    """Bits per character of the best way, by the share that each piece has in all of them."""
    cut = Segmenter({p: (s, i) for i, (p, s) in enumerate(pieces)}, unk_id=-1)
    used = Counter(index for word in text for *_, index in cut.best(word))
    n = np.array(list(used.values()))
    return float(-(n * np.log2(n / n.sum())).sum() / sum(map(len, text)))


def test_as_good_as_sentencepiece() -> None:
    text = words()
    theirs = unigram.library(normalization_rule_name="identity")
    size = theirs.get_piece_size()
    reference = [(theirs.id_to_piece(i), theirs.get_score(i)) for i in range(3, size)]
    ours = train_unigram(text, vocab_size=size - 3, progress=True)
    assert len(ours) == len({piece for piece, _ in ours}) == size - 3
    assert score(ours, text) < 1.03 * score(reference, text)
    common = {piece for piece, _ in ours} & {piece for piece, _ in reference}
    assert len(common) > 0.6 * size
    assert [s for _, s in ours] == sorted((s for _, s in ours), reverse=True)
    letters = {letter for word in text for letter in word}
    assert letters <= {piece for piece, _ in ours}


def test_plain_em_and_long_pieces() -> None:
    text = words()[:3000]
    plain = train_unigram(text, vocab_size=120, scores_of=likelihood_scores, max_length=4)
    assert max(len(piece) for piece, _ in plain) <= 4
    assert len(plain) == 120


def test_specials_come_first_and_are_counted() -> None:
    text = words()[:3000]
    plain = train_unigram(text, vocab_size=120)
    both = train_unigram(text, vocab_size=122, specials=["<unk>", "<pad>"])
    assert both == [("<unk>", 0.0), ("<pad>", 0.0), *plain]


def test_bad_input() -> None:
    with pytest.raises(
        ValueError, match="there is no word to learn from; pass texts that hold words"
    ):
        train_unigram([], vocab_size=9)
    with pytest.raises(
        ValueError, match="vocab_size=1 must be an integer of at least 2, the 0 spec"
    ):
        train_unigram(["ab"], vocab_size=1)
    with pytest.raises(
        ValueError, match="at least 4, the 2 specials and the 2 letters of the words"
    ):
        train_unigram(["ab"], vocab_size=3, specials=["<unk>", "<pad>"])
    with pytest.raises(ValueError, match="shrink=1 must lie between 0 and 1"):
        train_unigram(["ab"], vocab_size=9, shrink=1)
    with pytest.raises(ValueError, match="max_length=0 must be at least 1"):
        train_unigram(["ab"], vocab_size=9, max_length=0)
    with pytest.raises(ValueError, match="n_steps=0 must be at least 1"):
        train_unigram(["ab"], vocab_size=9, n_steps=0)
