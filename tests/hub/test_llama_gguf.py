"""Llama from GGUF: against transformers on the same weights, and files that are no such Llama."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf_files
import pytest
import torch
from gguf import GGMLQuantizationType as Kind

from tfbook.hub.gguf import read_gguf
from tfbook.hub.llama_gguf import LlamaTensors, bpe_tokenizer, llama_config
from tfbook.hub.smollm2 import load_smollm2


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [Kind.F32, Kind.Q4_1, Kind.Q8_0], ids=lambda kind: kind.name)
def test_equal_to_transformers(tmp_path: Path, kind: Kind, tied: bool) -> None:
    path = gguf_files.write_llama(tmp_path / "llama.gguf", kind, tied=tied)
    values, stored = read_gguf(path)
    config = llama_config(values, stored)
    theirs = gguf_files.transformers_llama(config, dict(LlamaTensors(stored, config)))
    ours = load_smollm2(path).model
    ids = torch.randint(len(gguf_files.TOKENS), (2, 113))
    with torch.no_grad():
        expected = theirs(ids).logits
    assert expected.abs().max() > 0.5
    assert (ours(ids) - expected).abs().max() < 1e-5


def test_queries_and_keys_get_their_order_back(tmp_path: Path) -> None:
    values, stored = read_gguf(gguf_files.write_llama(tmp_path / "llama.gguf", Kind.F32))
    tensors = LlamaTensors(stored, llama_config(values, stored))
    originals = gguf_files.tensors()
    for theirs, ours in [
        ("blk.1.attn_q", "model.layers.1.self_attn.q_proj"),
        ("blk.1.attn_k", "model.layers.1.self_attn.k_proj"),
        ("blk.0.ffn_down", "model.layers.0.mlp.down_proj"),
        ("token_embd", "model.embed_tokens"),
    ]:
        original = torch.from_numpy(originals[f"{theirs}.weight"])
        assert torch.equal(tensors[f"{ours}.weight"], original)
    assert not torch.equal(
        stored["blk.1.attn_q.weight"], torch.from_numpy(originals["blk.1.attn_q.weight"])
    )
    assert len(tensors) == len(originals)


def test_tokenizer(tmp_path: Path) -> None:
    values, _ = read_gguf(gguf_files.write_llama(tmp_path / "llama.gguf", Kind.F32))
    tokenizer = bpe_tokenizer(values)
    the = tokenizer.token_to_id("the")
    assert tokenizer.encode("<|im_start|>the") == [1, the]
    assert tokenizer.decode([1, the]) == "the"
    assert tokenizer.decode(tokenizer.encode("naïve 日本")) == "naïve 日本"
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id) == (1, 2, 0, 2)
    chat = [{"role": "user", "content": "the"}]
    assert tokenizer.apply_chat_template(chat) == "<|im_start|>the"
    # Digits stand alone in SmolLM's way to cut words, and not in GPT-2's.
    words = bpe_tokenizer(values | {"tokenizer.ggml.pre": "gpt-2"}).encode_with_offsets("th e")
    assert words.tokens == ["th", "Ġ", "e"]


WRONG_CONFIGS = [
    ({"general.architecture": "bert"}, "general.architecture='bert' .* unknown; use 'llama'"),
    ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type='yarn' .* is not read here"),
    ({"llama.rope.dimension_count": 16}, "dimension_count=16 .* must be 96 / 3"),
    ({"llama.block_count": "two"}, "llama.block_count='two' .* must be of type int"),
    ({"llama.embedding_length": None}, "llama.embedding_length=None .* must be of type int"),
    ({"tokenizer.ggml.tokens": 7}, "tokenizer.ggml.tokens=7 .* must be of type list"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_CONFIGS)
def test_configurations_that_are_not_read(changes: dict[str, Any], message: str) -> None:
    values = {"general.architecture": "llama"} | gguf_files.values() | changes
    with pytest.raises(ValueError, match=message):
        llama_config(values, {})


WRONG_TOKENIZERS = [
    ({"tokenizer.ggml.model": "bert"}, "tokenizer.ggml.model='bert' .* unknown; use 'gpt2'"),
    ({"tokenizer.ggml.pre": "qwen2"}, "pre='qwen2' .* is unknown; use 'gpt-2' or 'smollm'"),
    ({"tokenizer.ggml.merges": ["th"]}, "the merge 'th', which is no pair"),
    ({"tokenizer.ggml.merges": ["q z"]}, "q"),
    ({"tokenizer.ggml.token_type": [1]}, "has 261 tokens, 261 of them different, and 1 kinds"),
    ({"tokenizer.ggml.eos_token_id": 10**6}, "eos_id=1000000"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_TOKENIZERS)
def test_tokenizers_that_are_not_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bpe_tokenizer(gguf_files.values() | changes)


def test_a_tensor_that_llama_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"holds rope_freqs\.weight, which Llama does not have"):
        LlamaTensors({"rope_freqs.weight": torch.ones(3)}, {})


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = gguf_files.tensors()
    del weights["blk.1.ffn_up.weight"]
    path = gguf_files.write(tmp_path / "lacking.gguf", gguf_files.values(), weights)
    message = r"lacking\.gguf .* missing \['model\.layers\.1\.mlp\.up_proj\.weight'\]"
    with pytest.raises(ValueError, match=message):
        load_smollm2(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"missing\.gguf"):
        load_smollm2(tmp_path / "missing.gguf")
