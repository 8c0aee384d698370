"""MiniLM as it is loaded: its vectors against transformers, and each kind of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertModel

from tfbook import hub
from tfbook.compression import Int8Linear, stored_bytes
from tfbook.data import king_james
from tfbook.hub import Pretrained
from tfbook.hub.minilm import CONFIG, load_minilm
from tfbook.models.sentence_encoder import SentenceEncoder
from tfbook.tokenizers.wordpiece import WordPieceTokenizer

MiniLM = Pretrained[SentenceEncoder, WordPieceTokenizer]


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return hub.load("minilm")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Sentences of 1 to 256 tokens, around which stand two more."""
    words = king_james.load("validation")[0].split()
    return ["eat", "naïve 日本", *(" ".join(words[: n * n]) for n in range(2, 14))]


def vectors(minilm: MiniLM, texts: list[str]) -> Tensor:
    batch = minilm.tokenizer.encode_batch(texts, max_length=minilm.card["max_tokens"])
    with torch.no_grad():
        return minilm.model(batch.ids, lengths=batch.lengths)


def test_vectors_equal_those_of_transformers(minilm: MiniLM, texts: list[str]) -> None:
    theirs = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).eval()
    weights = safetensors.torch.load_file(hub.fetch(hub.MINILM))
    theirs.load_state_dict(
        {name: tensor for name, tensor in weights.items() if name in theirs.state_dict()}
    )
    batch = minilm.tokenizer.encode_batch(texts, max_length=256)
    assert batch.lengths.min() == 3
    assert batch.lengths.max() > 200
    mask = batch.mask.long()
    with torch.no_grad():
        hidden = theirs(input_ids=batch.ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    ours = vectors(minilm, texts)
    assert (ours - F.normalize(mean, dim=-1)).abs().max() < 1e-5
    one_by_one = torch.cat([vectors(minilm, [text]) for text in texts])
    assert (ours - one_by_one).abs().max() < 1e-5


def test_meanings(minilm: MiniLM) -> None:
    eat, meal, physics = vectors(minilm, ["eat", "meal", "physics"])
    assert eat @ meal > 0.6
    assert eat @ physics < 0.3
    assert minilm.card["licence"] == "Apache-2.0"
    assert not minilm.model.training


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_smaller_weights(minilm: MiniLM, texts: list[str], weights: hub.Weights) -> None:
    small = hub.load("minilm", weights=weights)
    cosines = (vectors(small, texts).float() * vectors(minilm, texts)).sum(-1)
    assert (cosines > 0.99).all()
    assert stored_bytes(small.model) < 0.52 * stored_bytes(minilm.model)
    layers = [module for module in small.model.modules() if isinstance(module, Int8Linear)]
    # Four projections and two layers in each of six blocks, and the pooler that is not used.
    assert len(layers) == (0 if weights == "bfloat16" else 37)


def test_damaged_files(tmp_path: Path) -> None:
    vocabulary = hub.fetch(hub.MINILM_VOCABULARY)
    path = tmp_path / "model.safetensors"
    path.write_bytes(hub.fetch(hub.MINILM).read_bytes()[:1_000_000])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated or not a safetensors"):
        load_minilm(path, vocabulary)
    safetensors.torch.save_file({"x": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="missing"):
        load_minilm(path, vocabulary)
