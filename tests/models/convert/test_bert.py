"""BERT, bare and under its heads, and a real checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from converting import VOCAB, N, agree, check_back, check_saved, padding, theirs_of
from parity import FLOATS
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    PreTrainedModel,
)

from tfbook.data.wheels import fetch
from tfbook.hub.minilm import CONFIG, MINILM
from tfbook.models import (
    MaskedLM,
    SentenceEncoder,
    SequenceClassifier,
    TextEncoder,
    from_huggingface,
    from_huggingface_state,
)

CASES: dict[str, tuple[type[PreTrainedModel], dict[str, Any], type]] = {
    "bare": (BertModel, {}, TextEncoder),
    "bare, one head": (BertModel, dict(num_attention_heads=1, hidden_act="relu"), TextEncoder),
    "masked": (BertForMaskedLM, {}, MaskedLM),
    "masked, untied, tanh": (
        BertForMaskedLM, dict(tie_word_embeddings=False, hidden_act="gelu_new"), MaskedLM,
    ),
    "classes": (BertForSequenceClassification, dict(num_labels=5), SequenceClassifier),
    "classes, epsilon": (
        BertForSequenceClassification,
        dict(num_labels=1, layer_norm_eps=0.3, type_vocab_size=3),
        SequenceClassifier,
    ),
}  # fmt: skip


def bert(
    kind: type[PreTrainedModel] = BertModel, dtype: torch.dtype = torch.float32, **changes: Any
) -> Any:
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, hidden_size=35, num_attention_heads=5, num_hidden_layers=2,
        intermediate_size=17, max_position_embeddings=N + 2,
    )  # fmt: skip
    return theirs_of(kind, BertConfig(**{**sizes, **changes}), dtype)


@torch.no_grad()
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_bert_gives_the_same(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    kind, changes, our_kind = CASES[case]
    theirs = bert(kind, dtype, **changes)
    ours, real = from_huggingface(theirs), padding("right")
    assert type(ours) is our_kind
    ids = torch.randint(VOCAB, real.shape)
    segments = torch.randint(theirs.config.type_vocab_size, real.shape)
    inputs = dict(input_ids=ids, attention_mask=real.long(), token_type_ids=segments)
    expected, got = theirs(**inputs)[0], ours(ids, lengths=real.sum(-1), segments=segments)
    at = ... if our_kind is SequenceClassifier else real
    agree(got[at], expected[at], pure=True)
    assert check_back(ours, theirs, tmp_path)["model_type"] == "bert"


@torch.no_grad()
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_pooler(dtype: torch.dtype) -> None:
    theirs, ids = bert(dtype=dtype), torch.randint(VOCAB, (2, N))
    ours = from_huggingface(theirs)
    agree(ours.first(ids), theirs(input_ids=ids).pooler_output, pure=True)
    without = from_huggingface(theirs_of_no_pooler())
    assert not without.config.pooler


def theirs_of_no_pooler() -> BertModel:
    config = bert().config
    return BertModel(config, add_pooling_layer=False)


def test_folders_that_they_wrote(tmp_path: Path) -> None:
    check_saved(bert(BertForMaskedLM), tmp_path, lambda model, ids: model(ids))


@torch.no_grad()
def test_a_published_checkpoint_has_more_heads_and_other_names() -> None:
    """The first checkpoints call a norm's gain gamma, and were trained on two tasks."""
    theirs, ids = bert(BertForPreTraining), torch.randint(VOCAB, (2, N))
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        tensors[name.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    for name in ("decoder.weight", "decoder.bias"):  # tied, and kept once
        del tensors[f"cls.predictions.{name}"]
    tensors["bert.embeddings.position_ids"] = torch.arange(N + 2)[None]
    ours = from_huggingface_state(theirs.config.to_dict(), tensors)
    agree(ours(ids), theirs(input_ids=ids).prediction_logits, pure=True)
    assert ours.encoder.config.pooler


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_decoder": True}, "config has is_decoder=True, which no part of this package does"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"architectures": ["BertForTokenClassification"]}, "of which BertForTokenClassificatio"),
    ],
)
def test_settings_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    theirs = bert()
    with pytest.raises(ValueError, match=message):
        from_huggingface_state({**theirs.config.to_dict(), **changes}, theirs.state_dict())


@torch.no_grad()
def test_minilm_gives_the_same_embeddings(tmp_path: Path) -> None:
    """The published weights, for sentences of 1 to 256 tokens, alone and padded."""
    (tmp_path / "model.safetensors").symlink_to(fetch(MINILM))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    ours = SentenceEncoder(from_huggingface(tmp_path))
    theirs = BertModel.from_pretrained(tmp_path).eval()
    for n in (1, 2, 3, 17, 128, 256):
        lengths = torch.tensor([n, -(-n // 2), 1])
        ids = torch.randint(theirs.config.vocab_size, (3, n))
        real = torch.arange(n) < lengths[:, None]
        hidden = theirs(input_ids=ids, attention_mask=real.long()).last_hidden_state
        mean = (hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        agree(ours(ids, lengths=lengths), F.normalize(mean, dim=-1), pure=True)
