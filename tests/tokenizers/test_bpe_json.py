"""Byte-level BPE as tokenizer.json, written by us and by the library."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from awkward_lines import awkward_lines
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from tfbook.tokenizers import SMOLLM_PATTERN, AddedToken, BPETokenizer
from tfbook.tokenizers.bpe_json import read_bpe, read_merges

PATTERN = r"\p{N}{1,3}|\p{L}+|\s+"
LINES = awkward_lines(300)


def trained(pattern: str = SMOLLM_PATTERN) -> BPETokenizer:
    plain = BPETokenizer.train(LINES, vocab_size=400, pattern=pattern)
    added = [AddedToken(content="<e>", id=400), AddedToken(content=" x", id=401, special=False)]
    return BPETokenizer(
        vocab=plain.vocabulary.model_ids,
        merges=plain.merges,
        pattern=pattern,
        added_tokens=added,
        eos_id=400,
        chat_template="{{ messages }}",
    )


@pytest.mark.parametrize("pattern", [SMOLLM_PATTERN, PATTERN])
def test_both_read_what_we_write(tmp_path: Path, pattern: str) -> None:
    made = trained(pattern)
    path = tmp_path / "tokenizer.json"
    made.save(path)
    again = BPETokenizer.from_file(path)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    assert again.to_json() == made.to_json()
    assert (again.eos_id, again.pad_id, again.chat_template) == (400, None, "{{ messages }}")
    assert theirs.get_vocab_size() == made.vocab_size
    for line in [*LINES, "a<e> x x<e>"]:
        assert again.encode(line) == made.encode(line) == theirs.encode(line).ids
        assert theirs.decode(made.encode(line)) == made.decode(made.encode(line))


def library() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    made.train_from_iterator(LINES, trainer)
    return made


def test_we_read_what_the_library_writes() -> None:
    theirs = library()
    made = BPETokenizer.from_json(theirs.to_str(pretty=True))
    assert made.eos_id == made.pad_id == 0
    for line in LINES:
        assert made.encode(line) == theirs.encode(line).ids


def test_old_ways_to_write_it() -> None:
    document = json.loads(library().to_str())
    model = document["model"]
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    model["continuing_subword_prefix"] = model["end_of_word_suffix"] = ""
    del model["byte_fallback"], model["ignore_merges"], model["type"]
    made = BPETokenizer.from_json(json.dumps(document))
    assert made.encode("the end") == library().encode("the end").ids


UNREAD = [
    ("model", {"dropout": 0.1}, r"the file has dropout=0\.1, which BPETokenizer does not do"),
    ("model", {"byte_fallback": True}, "the file has byte_fallback=True, which"),
    ("model", {"unk_token": "<unk>", "fuse_unk": True}, "has unk_token='<unk>', fuse_unk=True,"),
    ("model", {"ignore_merges": True}, "the file has ignore_merges=True"),
    ("normalizer", {"type": "NFC"}, "the file has normalizer {'type': 'NFC'}"),
    ("decoder", {"type": "Metaspace"}, "the file has decoder {'type': 'Metaspace'}"),
    ("decoder", None, "the file has decoder None"),
    ("post_processor", {"type": "ByteLevel", "trim_offsets": True}, "the file has post_processor"),
    ("pre_tokenizer", {"type": "Whitespace"}, "this package reads ByteLevel without"),
    ("pre_tokenizer", None, "field 'type' is None, but must be a str"),
    ("added_tokens", [{}], "added_tokens holds {}, but an added token needs the fields"),
    ("model", {"merges": None}, "field 'merges' is None, but must be a list"),
    ("model", {"merges": ["a"]}, "merge 0 is 'a', but must be two tokens; the file is damaged"),
    ("model", {"vocab": {}}, "vocab has no token"),
]


@pytest.mark.parametrize(("part", "value", "message"), UNREAD)
def test_what_is_not_read(part: str, value: Any, message: str) -> None:
    document = json.loads(library().to_str())
    if part == "model":
        document["model"].update(value)
    else:
        document[part] = value
    with pytest.raises(ValueError, match=message):
        BPETokenizer(**read_bpe(json.dumps(document)))
    with pytest.raises(ValueError, match=message):
        BPETokenizer.from_json(json.dumps(document))


def test_another_model() -> None:
    with pytest.raises(ValueError, match="is of type 'Unigram', but must be 'BPE'; read the file"):
        read_bpe('{"version": "1.0", "model": {"type": "Unigram"}}')
    with pytest.raises(ValueError, match=r"merge 1 is \['b'\], but must be two tokens"):
        read_merges([["a", "b"], ["b"]])


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    trained().save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        trained(PATTERN).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
