"""The same tokenizer on the library gives the same."""

import sys
from typing import Any

import pytest
import smollm2
import torch
from awkward_lines import INVALID_UTF8, SURROGATES, awkward_lines

from tfbook.tokenizers import BPETokenizer, RustTokenizer
from tfbook.tokenizers.rust import with_backend

ALIKE = ("pad_id", "bos_id", "eos_id", "unk_id", "before", "after", "keeps_bytes", "vocab_size")


@pytest.fixture(scope="module")
def rust() -> RustTokenizer:
    made = smollm2.ours().with_backend("rust")
    assert isinstance(made, RustTokenizer)
    return made


def test_the_same_ids_tokens_offsets_and_texts(rust: RustTokenizer) -> None:
    ours = smollm2.ours()
    for name in ALIKE:
        assert getattr(rust, name) == getattr(ours, name)
    for line in [*awkward_lines(400), *(text for text, _ in SURROGATES)]:
        for parse_special in (True, False):
            found = rust.encode_with_offsets(line, parse_special=parse_special)
            expected = ours.encode_with_offsets(line, parse_special=parse_special)
            if set(ours.missing_bytes) & set(line.encode("utf-8", "replace")):
                assert found.ids == expected.ids
            else:
                assert found == expected
            assert rust.encode(line, parse_special=parse_special) == found.ids
        for special in (True, False):
            assert rust.decode(found.ids, special=special) == ours.decode(
                torch.tensor(found.ids, dtype=torch.long), special=special
            )
    assert rust.token_to_id("Ġthe") == ours.token_to_id("Ġthe")
    assert rust.token_to_id("no such") is None
    assert rust.id_to_token(300) == ours.id_to_token(300)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_same_batches(rust: RustTokenizer, side: Any) -> None:
    lines = awkward_lines(400)
    for options in ({}, {"max_length": 7}, {"parse_special": False}, {"special": False}):
        found = rust.encode_batch(lines, side=side, **options)
        expected = smollm2.ours().encode_batch(lines, side=side, **options)
        assert found.ids.equal(expected.ids)
        assert found.mask.equal(expected.mask)


def test_python_is_the_tokenizer_itself() -> None:
    assert smollm2.ours().with_backend("python") is smollm2.ours()
    with pytest.raises(ValueError, match="backend='gpu' is unknown; use 'python' or 'rust'"):
        with_backend(smollm2.ours(), "gpu")  # type: ignore[arg-type]


def test_bytes(rust: RustTokenizer) -> None:
    assert rust.encode("né".encode()) == rust.encode("né")
    with pytest.raises(ValueError, match="bytes that are no UTF-8, which the tokenizers library"):
        rust.encode(INVALID_UTF8[0])
    with pytest.raises(ValueError, match='use backend="python"'):
        rust.encode_with_offsets(INVALID_UTF8[1])
    with pytest.raises(ValueError, match="bytes that are no UTF-8"):
        rust.encode_batch([INVALID_UTF8[2]])


def test_bad_input(rust: RustTokenizer) -> None:
    with pytest.raises(ValueError, match=r"ids holds 49152, but ids must lie in 0..49151"):
        rust.decode([49152])
    with pytest.raises(ValueError, match="ids holds -1"):
        rust.id_to_token(-1)
    with pytest.raises(ValueError, match="texts='abc' is one text"):
        rust.encode_batch("abc")
    with pytest.raises(ValueError, match="text is of type int"):
        rust.encode(3)  # type: ignore[arg-type]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    small = BPETokenizer.train(["low"], vocab_size=256)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModuleNotFoundError, match='or use backend="python"'):
        RustTokenizer(small)
    with pytest.raises(ModuleNotFoundError, match='backend="rust" needs the tokenizers library'):
        with_backend(small, "rust")
