"""The ids at which a written model begins, stops and pads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from converting import VOCAB
from their_models import their_model
from tiny import bert, causal_lm, stack
from transformers import LlamaForCausalLM

from tfbook.generation import generate
from tfbook.hub import load
from tfbook.models import from_huggingface, to_huggingface
from tfbook.models.convert.special_ids import write_special_ids
from tfbook.tokenizers import BPETokenizer, CharacterTokenizer, Tokenizer, UnigramTokenizer

NAMES = ("pad_token_id", "bos_token_id", "eos_token_id")


def tokenizer(eos_id: int) -> Tokenizer:
    """Letters, of which one ends a text."""
    pieces = [("<unk>", 0.0), *((chr(ord("a") + i), -1.0) for i in range(VOCAB - 1))]
    return UnigramTokenizer(pieces, bos_id=1, eos_id=eos_id)


@torch.no_grad()
def test_their_generate_stops_where_ours_does(tmp_path: Path) -> None:
    ours, prompt = from_huggingface(their_model("llama", tie_word_embeddings=True)), [3, 4]
    written = generate(ours, [prompt], max_new_tokens=8).ids[0].tolist()
    at = next(i for i in range(2, 8) if written[i] not in written[:i])
    end = written[at]
    stopped = generate(ours, [prompt], max_new_tokens=8, eos_id=end).ids[0].tolist()
    for name, given, length in (("with", tokenizer(end), at + 1), ("without", None, 8)):
        to_huggingface(ours, tmp_path / name, tokenizer=given)
        theirs = LlamaForCausalLM.from_pretrained(tmp_path / name)
        got = theirs.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)
        assert got[0, len(prompt) :].tolist() == written[:length]
    assert stopped == written[: at + 1]


def test_they_stand_in_the_folder(tmp_path: Path) -> None:
    letters = CharacterTokenizer("abc")
    for model in (
        bert(encoder=stack(activation="gelu")),
        causal_lm(decoder=stack(placement="pre")),
    ):
        config = to_huggingface(model, tmp_path, tokenizer=letters)[0]
        assert [config[name] for name in NAMES] == [0, 1, 2]
        assert json.loads((tmp_path / "config.json").read_text("utf-8")) == config
        assert [to_huggingface(model)[0][name] for name in NAMES] == [None] * 3


def test_those_of_a_pretrained_model() -> None:
    smollm2 = load("smollm2-135m-instruct", weights="bfloat16")
    config = to_huggingface(smollm2.model, tokenizer=smollm2.tokenizer)[0]
    assert [config[name] for name in NAMES] == [2, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (CharacterTokenizer("abcdefg"), "tokenizer has 10 tokens, but the model 9; give the token"),
        ("gpt2", "tokenizer=str has no pad_id, bos_id, eos_id and vocab_size; give one of tfbook"),
    ],
)
def test_a_tokenizer_that_is_not_the_models(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_special_ids(given, 9)


def test_nothing_is_written_with_a_wrong_tokenizer(tmp_path: Path) -> None:
    large = BPETokenizer.train(["a"], vocab_size=256)
    with pytest.raises(ValueError, match="tokenizer has 256 tokens, but the model 31; give"):
        to_huggingface(causal_lm(decoder=stack(placement="pre")), tmp_path, tokenizer=large)
    assert not list(tmp_path.iterdir())
