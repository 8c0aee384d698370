"""The headline claims of chapter 03 fail when the classic mistakes are planted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS

import tfbook.book
from tfbook.book import ClaimError
from tfbook.tokenizers import BertText, BPETokenizer, WordPieceTokenizer
from tfbook.tokenizers.unigram_model import UnigramModel

NOTEBOOK = "03-tokenization.ipynb"
# Less text and fewer draws: the shape checks of the tests make each call cost several times.
LESS = (
    ("sample = train[:3]", "sample = [train[0][:120_000]]"),
    ("vocab_size=4096", "vocab_size=1500"),
    ("numbers = range(1000, 10_000)", "numbers = range(1000, 10_000, 9)"),
    ("ALPHA, N = 0.15, 4000", "ALPHA, N = 0.15, 1000"),
)


def cells() -> list[str]:
    """The code cells that compute."""
    notebook = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    text = "\0".join(s for s in sources if "%pip" not in s and "exercises.check" not in s)
    for much, less in LESS:
        assert much in text
        text = text.replace(much, less)
    return text.split("\0")


def cell(marker: str, right: str = "", wrong: str = "") -> str:
    """The first code cell that holds the marker, with a mistake planted."""
    source = next(source for source in cells() if marker in source)
    planted = source.replace(right, wrong) if right else source
    assert not right or planted != source
    return planted


@pytest.fixture(scope="module")
def finished() -> dict[str, Any]:
    """The names of the whole chapter, run without its pictures; all its claims have held."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfbook.book, "figure", lambda *_, **__: None)
        patch.setattr(tfbook.book, "show_source", lambda *_: None)
        for source in cells():
            exec(compile(source, NOTEBOOK, "exec"), namespace)
    return namespace


@pytest.fixture
def chapter(finished: dict[str, Any]) -> dict[str, Any]:
    """A copy that a test may spoil."""
    return dict(finished)


def fails(claim: str, namespace: dict[str, Any], *sources: str) -> None:
    """Run cells, the last of which must not hold."""
    for source in sources:
        exec(source, namespace)
    with pytest.raises(ClaimError, match=claim):
        exec(cell(f'"{claim}"'), namespace)


def test_a_vocabulary_without_all_bytes_fails_c048(chapter: dict[str, Any]) -> None:
    whole = chapter["smaller"]

    def without_some(size: int) -> BPETokenizer:
        """The bytes that the Bible does not hold are left out, as SmolLM2 leaves out some."""
        made = whole(size)
        kept = [t for t in made.vocabulary.tokens if all(ord(letter) < 0x122 for letter in t)]
        kept = [t for t in kept if not any(0xA1 <= ord(letter) <= 0xFF for letter in t)]
        vocab = {token: index for index, token in enumerate(kept)}
        merges = [(a, b) for a, b in made.merges if a + b in vocab]
        return BPETokenizer(vocab=vocab, merges=merges)

    chapter["smaller"] = without_some
    fails("c048", chapter, cell("SIZES = ["))


def test_the_table_for_free_fails_b112(chapter: dict[str, Any]) -> None:
    chapter["figure"] = lambda *_, **__: None
    fails("b112", chapter, cell("def cost_per_word(", "(layers + size * d)", "layers"))


def test_the_shortest_cut_called_bpe_fails_b110(chapter: dict[str, Any]) -> None:
    measured = cell("by_rule = {", "for rule, n in total.items()", "for rule, n in ()")
    planted = measured.replace('by_rule["merges"][word] = tokens', "pass").replace(
        "total = {\n", 'by_rule["merges"] = by_rule["fewest"]\ntotal = {\n'
    )
    assert planted != measured
    fails("b110", chapter, planted)


def test_another_cut_than_the_longest_fails_wordpiece(chapter: dict[str, Any]) -> None:
    source = cell("def best_cut(", "range(len(word), start, -1)", "range(start + 1, len(word) + 1)")
    start, stop = source.index("def longest_first("), source.index("def best_cut(")
    exec(source[start:stop], chapter)
    with pytest.raises(ClaimError, match="WordPiece"):
        exec(cell("plain = sum("), chapter)


def test_a_score_that_is_ignored_fails_c104(chapter: dict[str, Any]) -> None:
    chapter["per_word"] = dict.fromkeys(chapter["per_word"], chapter["per_word"]["frequency"])
    fails("c104", chapter)


def test_accents_that_stay_fail_c102(chapter: dict[str, Any]) -> None:
    fails(
        "c102",
        chapter,
        cell("pairs_of = [", "BertText()", "BertText(strip_accents=False)"),
        cell("several = {"),
    )
    assert chapter["BertText"] is BertText


class Dropping:
    """A tokenizer that drops unknown words without a word."""

    def __init__(self, whole: WordPieceTokenizer) -> None:
        self.whole = whole
        self.unk_id = whole.unk_id

    def encode(self, text: str, **kw: Any) -> list[int]:
        return [index for index in self.whole.encode(text, **kw) if index != self.unk_id]


def test_words_that_are_never_unknown_fail_c114(chapter: dict[str, Any]) -> None:
    right = chapter["bert"]
    unlimited = WordPieceTokenizer(right.vocabulary.model_ids, max_characters=10**6)
    for wrong in (unlimited, Dropping(right)):
        chapter["bert"] = wrong
        fails("c114", chapter, cell("STRANGE = {"), cell("def expect_unknown("))


def test_a_temperature_that_is_ignored_fails_b111(
    chapter: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = UnigramModel.sample

    def by_the_model(self: UnigramModel, normal: str, **kw: Any) -> list[int]:
        return sample(self, normal, **{**kw, "alpha": 1.0})

    monkeypatch.setattr(UnigramModel, "sample", by_the_model)
    fails("b111", chapter, cell("ALPHA, N = "))


def test_digits_that_are_merged_fail_b113(chapter: dict[str, Any]) -> None:
    chapter["smollm2"] = chapter["gpt2"]
    fails("b113", chapter, cell("numbers = range("))


def test_texts_compared_for_ids_fail_b115(chapter: dict[str, Any]) -> None:
    chapter["joins"] = lambda tokenizer, a, b: True
    source = cell("kept_whole = {}")
    fails("b115", chapter, source[source.index("kept_whole = {}") :])


def test_bytes_that_are_not_held_back_fail_b116(chapter: dict[str, Any]) -> None:
    planted = cell("damaged, mended = 0, 0", "decoder.decode(gpt2", "lossy(gpt2")
    chapter["lossy"] = lambda data: data.decode("utf-8", "ignore")
    with pytest.raises(ClaimError, match="b116"):
        exec(planted, chapter)
