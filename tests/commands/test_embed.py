"""``embed``: vectors and the table of their products, with the real model."""

from __future__ import annotations

import io
import json
import sys

import pytest
import torch

from tfbook import hub
from tfbook.__main__ import main


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> hub.Pretrained:
    """Loaded once for all tests of this file."""
    model = minilm()
    monkeypatch.setattr(hub, "load", lambda name, **_: model)
    return model


def minilm(kept: list[hub.Pretrained] = []) -> hub.Pretrained:  # noqa: B006
    if not kept:
        kept.append(hub.load("minilm"))
    return kept[0]


def vectors(output: str) -> dict[str, torch.Tensor]:
    rows = [json.loads(line) for line in output.splitlines()]
    return {row["text"]: torch.tensor(row["vector"]) for row in rows}


def test_a_line_of_json_a_text(loaded: hub.Pretrained, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["eat", "naïve\t日本", "a meal " * 20]
    assert main(["embed", "--model", "minilm", *texts]) == 0
    found = vectors(capsys.readouterr().out)
    assert list(found) == texts
    batch = loaded.tokenizer.encode_batch(texts)
    with torch.no_grad():
        expected = loaded.model(batch.ids, lengths=batch.lengths)
    assert (torch.stack(list(found.values())) - expected).abs().max() < 1e-6


def test_texts_from_standard_input_give_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", "eat", "a meal"]) == 0
    expected = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeffeat\r\n\n  a meal"))
    assert main(["embed"]) == 0
    assert capsys.readouterr().out == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for options in ([], ["--similarity"]):
        assert main(["embed", *options]) == 0
        assert capsys.readouterr() == ("", "")


def test_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "--format", "tsv", "two\nlines\tand a tab"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    text, *numbers = line.split("\t")
    assert text == "two lines and a tab"
    assert len(numbers) == 384
    assert sum(float(number) ** 2 for number in numbers) == pytest.approx(1, abs=1e-5)


def test_table_of_similarity(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "--similarity", "eat", "meal", "physics"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["", "eat", "meal", "physics"]
    table = {row[0]: [float(number) for number in row[1:]] for row in rows[1:]}
    assert table["eat"][0] == 1.0
    assert table["eat"][1] == table["meal"][0] > 0.6
    assert table["eat"][2] < 0.3


def test_empty_and_long_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "eat", " ", "word " * 300]) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    errors = output.err.splitlines()
    assert errors[0] == "error: ' ' holds nothing to embed; leave it out"
    assert errors[1].startswith("note: 'word word")
    assert errors[1].endswith("is cut to 256 tokens")


# No-break space, zero-width space, byte order mark, and what stands for undecodable bytes.
@pytest.mark.parametrize("text", ["\u00a0", "\u200b", "\u3000 ", "\ufffd", "\x00"])
def test_texts_without_a_token_are_refused_wherever_they_come_from(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for arguments in (["eat", text], []):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"eat\n{text}\n"))
        assert main(["embed", *arguments]) == 1
        printed.append(capsys.readouterr())
    for output in printed:
        assert list(vectors(output.out)) == ["eat"]
        assert output.err.endswith(" holds nothing to embed; leave it out\n")
        assert len(output.err.splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["--format", "tsv"], ["--similarity"]])
def test_nothing_to_embed_at_all(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", *options, "", " "]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "error: '' holds nothing to embed; leave it out",
        "error: ' ' holds nothing to embed; leave it out",
    ]
