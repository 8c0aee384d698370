"""WordPiece's training: against a plain re-count at every join, and against the library."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tfbook.data import king_james
from tfbook.tokenizers import BertText, frequency_score, likelihood_score, train_wordpiece

Score = Callable[[int, int, int], float]


def by_hand(words: list[str], vocab_size: int, score: Score, min_count: int) -> list[str]:
    """Count everything anew for every join."""
    spelled = {word: [word[0], *(f"##{letter}" for letter in word[1:])] for word in words}
    firsts = sorted({pieces[0] for pieces in spelled.values()})
    pieces = [*firsts, *sorted({p for word in spelled.values() for p in word[1:]})]
    counts = Counter(words)
    while len(pieces) < vocab_size:
        single: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in counts.items():
            for piece in spelled[word]:
                single[piece] += n
            for pair in zip(spelled[word], spelled[word][1:], strict=False):
                pairs[pair] += n
        ranked = [
            (score(n, single[a], single[b]), n, -pieces.index(a), -pieces.index(b), a, b)
            for (a, b), n in pairs.items()
            if n >= min_count
        ]
        if not ranked:
            break
        *_, left, right = max(ranked)
        joined = left + right.removeprefix("##")
        if joined not in pieces:
            pieces.append(joined)
        for word, old in spelled.items():
            new: list[str] = []
            for piece in old:
                if new and new[-1] == left and piece == right:
                    new[-1] = joined
                else:
                    new.append(piece)
            spelled[word] = new
    return pieces


def words() -> list[str]:
    return BertText().words(king_james.load("validation")[0][:6000])


@pytest.mark.parametrize("score", [likelihood_score, frequency_score])
@pytest.mark.parametrize("min_count", [1, 3])
def test_equals_counting_anew(score: Score, min_count: int) -> None:
    text = [*words(), "aaaa", "aaaaa", "abab", "ababa"]
    found = train_wordpiece(text, vocab_size=160, score=score, min_count=min_count)
    assert found == by_hand(text, 160, score, min_count)


def test_by_frequency_it_learns_what_the_library_does() -> None:
    """Its WordPieceTrainer is its trainer of BPE; ties apart, the pieces are the same."""
    text = words()
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    size = 300
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[UNK]"], show_progress=False
    )
    library.train_from_iterator([" ".join(text)], trainer)
    theirs = set(library.get_vocab())
    ours = train_wordpiece(text, vocab_size=size, specials=["[UNK]"], score=frequency_score)
    assert len(theirs) == len(ours) == size
    assert len(theirs & set(ours)) > 0.9 * size
    likelier = train_wordpiece(text, vocab_size=size, specials=["[UNK]"], score=likelihood_score)
    assert len(theirs & set(likelier)) < 0.8 * size


def test_scores_choose_differently() -> None:
    text = ["ab"] * 9 + ["ac"] * 8 + ["ad"] * 7 + ["xy"] * 3
    alphabet = len({"a", "x", "##b", "##c", "##d", "##y"})
    often = train_wordpiece(text, vocab_size=alphabet + 1, score=frequency_score)
    likely = train_wordpiece(text, vocab_size=alphabet + 1, score=likelihood_score)
    assert (often[-1], likely[-1]) == ("ab", "xy")
    assert likelihood_score(3, 3, 3) > likelihood_score(9, 24, 9)
    assert frequency_score(9, 24, 9) > frequency_score(3, 3, 3)


def test_it_stops_when_no_pair_is_left() -> None:
    assert train_wordpiece(["ab", "ab", "c"], vocab_size=99) == ["a", "c", "##b", "ab"]
    assert train_wordpiece(["ab"], vocab_size=99, min_count=2) == ["a", "##b"]


def test_a_thousand_pieces_take_seconds() -> None:
    text = BertText().words("".join(king_james.load("train"))[:100_000])
    start = time.process_time()
    found = train_wordpiece(text, vocab_size=1000, min_count=5, progress=True)
    assert time.process_time() - start < 20
    assert len(set(found)) == len(found) == 1000


def test_bad_input() -> None:
    with pytest.raises(
        ValueError, match="there is no word to learn from; pass texts that hold words"
    ):
        train_wordpiece([""], vocab_size=9)
    with pytest.raises(ValueError, match="min_count=0 must be at least 1"):
        train_wordpiece(["a"], vocab_size=9, min_count=0)
    with pytest.raises(ValueError, match="vocab_size=2 must be an integer of at least 3, the 1"):
        train_wordpiece(["ab"], vocab_size=2, specials=["[UNK]"])
    for size in (30.0, "30"):
        with pytest.raises(
            ValueError, match=f"vocab_size={size!r} must be an integer of at least 2"
        ):
            train_wordpiece(["ab"], vocab_size=size)  # type: ignore[arg-type]
