"""BERT: segments, norms after every sublayer, and three heads."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tfbook.models.classifier import SequenceClassifier
from tfbook.models.config import StackConfig, TextEncoderConfig
from tfbook.models.convert.architecture import Architecture
from tfbook.models.convert.settings import (
    Settings,
    read_activation,
    read_flag,
    read_group,
    read_int,
    read_number,
    require_setting,
    required_size,
    write_activation,
)
from tfbook.models.convert.tensors import Entry, renamed
from tfbook.models.masked_lm import MaskedLM
from tfbook.models.text_encoder import TextEncoder

Bert = TextEncoder | MaskedLM | SequenceClassifier


def _build(settings: Settings, names: Collection[str]) -> Bert:
    for name, value in [
        ("is_decoder", False),
        ("add_cross_attention", False),
        ("position_embedding_type", "absolute"),
    ]:
        require_setting(settings, name, value)
    classifies = "classifier.weight" in names
    pooler = classifies or "bert.pooler.dense.weight" in names
    encoder = TextEncoder(_config(settings, pooler=pooler))
    if classifies:
        labels = (
            read_int(settings, "num_labels", None) or len(read_group(settings, "id2label")) or 2
        )
        dropout_p = read_number(settings, "classifier_dropout", None)
        dropout_p = encoder.config.encoder.dropout_p if dropout_p is None else dropout_p
        return SequenceClassifier(encoder, labels, dropout_p=dropout_p)
    if any(name.startswith("cls.predictions.") for name in names):
        return MaskedLM(encoder, tie_output=read_flag(settings, "tie_word_embeddings", True))
    return encoder


def _config(settings: Settings, *, pooler: bool) -> TextEncoderConfig:
    stack = StackConfig(
        d_model=required_size(settings, "hidden_size"),
        n_heads=required_size(settings, "num_attention_heads"),
        d_ff=required_size(settings, "intermediate_size"),
        n_layers=required_size(settings, "num_hidden_layers"),
        dropout_p=read_number(settings, "hidden_dropout_prob", 0.1),
        norm="layer_norm",
        norm_eps=read_number(settings, "layer_norm_eps", 1e-12),
        placement="post",
        activation=read_activation(settings, "hidden_act", "gelu"),
    )
    return TextEncoderConfig(
        vocab_size=required_size(settings, "vocab_size"),
        encoder=stack,
        max_length=read_int(settings, "max_position_embeddings", 512),
        positions="learned",
        n_segments=read_int(settings, "type_vocab_size", 2),
        embedding_norm=True,
        pooler=pooler,
    )


def _write(model: Bert) -> dict[str, Any]:
    config = _encoder(model).config
    stack = config.encoder
    settings: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "hidden_size": stack.d_model,
        "num_hidden_layers": stack.n_layers,
        "num_attention_heads": stack.n_heads,
        "intermediate_size": stack.d_ff,
        "hidden_act": write_activation(stack.activation),
        "hidden_dropout_prob": stack.dropout_p,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": config.max_length,
        "type_vocab_size": config.n_segments,
        "layer_norm_eps": 1e-5 if stack.norm_eps is None else stack.norm_eps,
        "tie_word_embeddings": not isinstance(model, MaskedLM) or model.config.tie_output,
    }
    if isinstance(model, SequenceClassifier):
        labels = {str(i): f"LABEL_{i}" for i in range(model.config.n_classes)}
        settings |= {"id2label": labels, "classifier_dropout": model.config.dropout_p}
        settings["label2id"] = {label: int(i) for i, label in labels.items()}
    return settings


def _encoder(model: Bert) -> TextEncoder:
    return model if isinstance(model, TextEncoder) else model.encoder


def _entries(model: Bert) -> list[Entry]:
    at = "" if isinstance(model, TextEncoder) else "encoder."
    embeddings = "bert.embeddings"
    entries = [
        Entry(f"{embeddings}.word_embeddings.weight", (f"{at}embedding.weight",)),
        Entry(f"{embeddings}.position_embeddings.weight", (f"{at}embedding.positions.table",)),
        Entry(f"{embeddings}.token_type_embeddings.weight", (f"{at}embedding.segments",)),
        *renamed(f"{embeddings}.LayerNorm", f"{at}embedding.norm"),
    ]
    for i in range(_encoder(model).config.encoder.n_layers):
        entries += _block(f"bert.encoder.layer.{i}", f"{at}encoder.blocks.{i}")
    transform = "cls.predictions.transform"
    return [
        *entries,
        *renamed("bert.pooler.dense", f"{at}pooler"),
        *renamed(f"{transform}.dense", "transform"),
        *renamed(f"{transform}.LayerNorm", "norm"),
        *renamed("cls.predictions.decoder", "head"),
        *renamed("classifier", "output"),
    ]


def _block(theirs: str, ours: str) -> list[Entry]:
    attention = f"{theirs}.attention"
    return [
        *renamed(f"{attention}.self.query", f"{ours}.attention.w_q"),
        *renamed(f"{attention}.self.key", f"{ours}.attention.w_k"),
        *renamed(f"{attention}.self.value", f"{ours}.attention.w_v"),
        *renamed(f"{attention}.output.dense", f"{ours}.attention.w_o"),
        *renamed(f"{attention}.output.LayerNorm", f"{ours}.attention_residual.norm"),
        *renamed(f"{theirs}.intermediate.dense", f"{ours}.feed_forward.w_up"),
        *renamed(f"{theirs}.output.dense", f"{ours}.feed_forward.w_down"),
        *renamed(f"{theirs}.output.LayerNorm", f"{ours}.feed_forward_residual.norm"),
    ]


def _same(model: Bert) -> dict[str, str]:
    if not isinstance(model, MaskedLM):
        return {}
    same = {"cls.predictions.bias": "cls.predictions.decoder.bias"}
    if model.config.tie_output:
        same["cls.predictions.decoder.weight"] = "bert.embeddings.word_embeddings.weight"
    return same


BERT = Architecture(
    model_type="bert",
    classes=(
        "BertModel",
        "BertForMaskedLM",
        "BertForPreTraining",
        "BertForSequenceClassification",
    ),
    prefix="bert.",
    heads=("cls.", "classifier."),
    ignored=(
        "bert.embeddings.position_ids",
        "bert.embeddings.token_type_ids",
        "cls.seq_relationship.*",
    ),
    build=_build,
    write=_write,
    entries=_entries,
    same=_same,
    old_names={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
