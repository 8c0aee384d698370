"""GPT-2's files: its two own, and the table of ranks."""

import base64
import json
import sys
from pathlib import Path

import gpt2
import pytest

from tfbook.tokenizers import (
    SMOLLM_PATTERN,
    BPETokenizer,
    byte_characters,
    gpt2_tokenizer,
    read_tiktoken,
    read_vocab_and_merges,
)

LINES = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]


def write_ranks(path: Path, *more: bytes) -> Path:
    path.write_bytes(b"\n".join([*LINES, *more]) + b"\n")
    return path


def test_gpt2() -> None:
    """Ids and first merges as published."""
    made = gpt2.ours()
    assert made.encode("Hello world") == [15496, 995]
    assert made.merges[:4] == [("Ġ", "t"), ("Ġ", "a"), ("h", "e"), ("i", "n")]
    assert made.merges[-1] == ("Ġg", "azed")
    assert len(made.merges) == 50_000
    ends = {made.pad_id, made.bos_id, made.eos_id, made.unk_id}
    assert ends == {50_256} == {made.token_to_id("<|endoftext|>")}


def test_its_two_files(tmp_path: Path) -> None:
    made = gpt2.ours()
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(json.dumps(made.vocabulary.model_ids), "utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in made.merges), ""]
    merges.write_bytes("\r\n".join(lines).encode())
    again = read_vocab_and_merges(vocab, merges)
    assert again.vocabulary.tokens == made.vocabulary.tokens
    assert again.merges == made.merges
    assert again.vocabulary.added.tokens == made.vocabulary.added.tokens
    assert again.eos_id == made.eos_id


def test_a_table_of_ranks(tmp_path: Path) -> None:
    made = BPETokenizer.train(["to be or not to be, naïve 12"], vocab_size=275)
    spelled = {letter: byte for byte, letter in enumerate(byte_characters())}
    more = []
    for rank in range(256, made.vocab_size):
        token = bytes([spelled[letter] for letter in made.id_to_token(rank)])
        more.append(base64.b64encode(token) + b" %d" % rank)
    again = read_tiktoken(
        write_ranks(tmp_path / "ranks", *more),
        pattern=SMOLLM_PATTERN,
        special_tokens=["<s>", "</s>"],
    )
    assert again.vocab_size == made.vocab_size + 2
    assert again.eos_id == made.vocab_size + 1
    assert again.pairs.pattern == SMOLLM_PATTERN
    # The ids of single bytes differ (here the bytes are in their own order), the merges do not.
    assert again.merges == made.merges


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"YWI= x", "line 257 is b'YWI= x', but must be a token in base64 and its rank"),
        (b"Y!I= 256", "line 257 is"),
        (b"YWI=", "line 257 is"),
        (b"YWI= 257", r"has 257 ranks that are not 0\.\.256 with distinct tokens"),
        (b"YQ== 256", r"has 257 ranks that are not 0\.\.256 with distinct tokens"),
        (b"YWJj 256", "the token b'abc' of rank 256 is not made of two tokens of lower rank"),
    ],
)
def test_damaged_ranks(tmp_path: Path, line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tiktoken(write_ranks(tmp_path / "ranks", line))


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "ranks").touch()
    with pytest.raises(ValueError, match="has 0 ranks that are not"):
        read_tiktoken(tmp_path / "ranks")
    with pytest.raises(OSError, match="No such file"):
        read_tiktoken(tmp_path / "none")


def test_no_ranks_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RuntimeError, match=r"mlx-whisper==0\.4\.3 could not be downloaded"):
        gpt2_tokenizer()


def test_damaged_files(tmp_path: Path) -> None:
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    merges.write_text("#version: 0.2\na b\n", "utf-8")
    vocab.write_text('{"a": 0, "b"', "utf-8")
    with pytest.raises(ValueError, match=r"is not JSON .*: it is foreign or cut off; give GPT-2's"):
        read_vocab_and_merges(vocab, merges)
    vocab.write_text('{"a": "0"}', "utf-8")
    with pytest.raises(ValueError, match="'vocab' must map each token to an integer"):
        read_vocab_and_merges(vocab, merges)
    vocab.write_text('{"a": 0, "b": 1}', "utf-8")
    with pytest.raises(ValueError, match="vocab has no token 'ab'"):
        read_vocab_and_merges(vocab, merges)
    merges.write_text("a b c\n", "utf-8")
    with pytest.raises(ValueError, match="merge 0 is 'a b c', but must be two tokens"):
        read_vocab_and_merges(vocab, merges)
    with pytest.raises(OSError, match="No such file"):
        read_vocab_and_merges(tmp_path / "none", merges)
