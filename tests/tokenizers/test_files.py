"""A file says which class reads it."""

import sys
from pathlib import Path

import pytest

from tfbook.tokenizers import BPETokenizer, CharacterTokenizer, RustTokenizer, load_tokenizer
from tfbook.tokenizers.files import parse_tokenizer


def test_bpe(tmp_path: Path) -> None:
    made = BPETokenizer.train(["low lower"], vocab_size=260)
    path = tmp_path / "tokenizer.json"
    made.save(path)
    python, rust = load_tokenizer(path), load_tokenizer(path, backend="rust")
    assert isinstance(python, BPETokenizer)
    assert isinstance(rust, RustTokenizer)
    assert python.to_json() == rust.to_json() == made.to_json()
    rust.save(path)
    assert parse_tokenizer(path.read_text("utf-8")).to_json() == made.to_json()


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(OSError, match="No such file"):
        load_tokenizer(path)
    path.write_text("GGUF", "utf-8")
    with pytest.raises(ValueError, match=r"text is not JSON .* foreign or cut off"):
        load_tokenizer(path)
    path.write_text('{"version": "1.0", "model": {"type": "WordLevel"}}', "utf-8")
    with pytest.raises(ValueError, match="of type 'WordLevel', but this package reads"):
        load_tokenizer(path)
    with pytest.raises(ValueError, match="field 'model' is None"):
        parse_tokenizer("{}")
    with pytest.raises(ValueError, match="the model is of type 'WordLevel'"):
        parse_tokenizer(path.read_text("utf-8"))
    CharacterTokenizer("abc").save(path)
    with pytest.raises(ValueError, match=r"no tokenizer.json; .* CharacterTokenizer\.from_file"):
        load_tokenizer(path)
    BPETokenizer.train(["low"], vocab_size=256).save(path)
    with pytest.raises(ValueError, match="backend='c' is unknown; use 'python' or 'rust'"):
        load_tokenizer(path, backend="c")  # type: ignore[arg-type]


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    BPETokenizer.train(["low"], vocab_size=256).save(path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert load_tokenizer(path).encode("l") == [75]
    with pytest.raises(ModuleNotFoundError, match=r'run `pip install "tfbook\[rust\]"`'):
        load_tokenizer(path, backend="rust")
