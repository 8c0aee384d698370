"""The frame of tokenizer.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from tfbook.tokenizers import AddedToken
from tfbook.tokenizers.json_format import (
    field,
    read_added_tokens,
    read_document,
    read_extra,
    read_text_file,
    read_vocab,
    usual_roles,
    write_document,
)

PLAIN: dict[str, Any] = dict(
    model={"type": "BPE"}, added_tokens=[], pre_tokenizer=None, decoder=None, extra={}
)


def test_what_is_written_is_read() -> None:
    added = [AddedToken(content="b", id=1), AddedToken(content="a", id=0, special=False)]
    text = write_document(**{**PLAIN, "added_tokens": added, "extra": {"eos_id": 1, "more": "x"}})
    document = read_document(text, "BPE")
    assert read_added_tokens(document) == added[::-1]
    assert read_extra(document) == dict(pad_id=None, bos_id=None, eos_id=1, unk_id=None, more="x")


def test_files_of_the_librarys_first_versions() -> None:
    old = json.dumps({"version": "1.0", "model": {"vocab": {}, "merges": []}})
    document = read_document(old, "BPE")
    assert document["model"]["type"] == "BPE"
    assert document["normalizer"] is None


def test_usual_names() -> None:
    bert = [AddedToken(content=name, id=i) for i, name in enumerate(["[PAD]", "[CLS]", "[SEP]"])]
    assert usual_roles(bert) == dict(pad_id=0, bos_id=1, eos_id=2, unk_id=None)
    gemma = [AddedToken(content=f"<{name}>", id=i) for i, name in enumerate(["bos", "pad", "eos"])]
    assert usual_roles(gemma) == dict(pad_id=1, bos_id=0, eos_id=2, unk_id=None)
    foreign = {"model": {}, "added_tokens": [token.to_fields() for token in bert]}
    assert read_extra(foreign) == usual_roles(bert)


DAMAGED = [
    ('{"version": "1.0", "mod', "text is not JSON .*: the file is foreign or cut off"),
    (
        '{"format": "tfbook.Own", "symbols": []}',
        "was written by Own, and is no tokenizer.json; .*"
        r"Own\.from_json or Own\.from_file",
    ),
    ("[]", "field 'model' is None, but must be a dict; the file is damaged or no tokenizer.json"),
    ('{"version": "1.0"}', "field 'model' is None, but must be a dict"),
    ('{"version": "2.0", "model": {}}', "version='2.0' of tokenizer.json is unknown, this package"),
    ('{"version": "1.0", "model": {}}', "the model is of type None, but must be 'BPE'"),
    ('{"version": "1.0", "model": {"type": "Unigram"}}', "is of type 'Unigram', but must be 'BPE'"),
]


@pytest.mark.parametrize(("text", "message"), DAMAGED)
def test_damaged_documents(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_document(text, "BPE")


def test_every_cut_is_noticed() -> None:
    text = write_document(**PLAIN)
    for length in range(len(text)):
        with pytest.raises(ValueError, match="the file is foreign or cut off"):
            read_document(text[:length])


def test_damaged_fields() -> None:
    with pytest.raises(ValueError, match="field 'a' is 3, but must be a str"):
        field({"a": 3}, "a", str)
    with pytest.raises(ValueError, match="'vocab' must map each token to an integer"):
        read_vocab({"vocab": {"a": True}})
    with pytest.raises(ValueError, match="field 'added_tokens' is None, but must be a list"):
        read_added_tokens({})
    with pytest.raises(ValueError, match="the role eos_id='2' must be an id or null"):
        read_extra({"model": {"tfbook": {"eos_id": "2"}}})


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"is no text in UTF-8 .*, so it is no tokenizer"):
        read_text_file(path)
    with pytest.raises(OSError, match="No such file"):
        read_text_file(tmp_path / "none")
