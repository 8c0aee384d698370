import math

import pytest
import torch
from torch import nn

from tfbook.attention import MultiHeadAttention
from tfbook.layers import Embedding, FeedForward, LayerNorm
from tfbook.models import (
    CausalLM,
    CausalLMConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    StackConfig,
    initialize_normal,
    initialize_xavier,
)
from tfbook.positions import LearnedPositions


def parts() -> nn.ModuleDict:
    # At least 64 · 64 numbers each: a deviation of them has a standard error of 1.1 %.
    return nn.ModuleDict(
        {
            "mha": MultiHeadAttention(64, 4),
            "ffn": FeedForward(64, 256),
            "embedding": Embedding(101, 64, positions=LearnedPositions(67, 64), n_segments=59),
            "norm": LayerNorm(64),
        }
    )


def test_xavier() -> None:
    model = parts()
    initialize_xavier(model)
    for layer in [model["mha"].w_q, model["mha"].w_o, model["ffn"].w_up, model["ffn"].w_down]:
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert (layer.bias == 0).all()
    assert model["embedding"].weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    for table in (model["embedding"].positions.table, model["embedding"].segments):
        assert table.std().item() == pytest.approx(0.02, rel=0.05)
    assert (model["norm"].weight == 1).all()


def test_normal() -> None:
    model = parts()
    initialize_normal(model, std=0.05, n_residual=16)
    for weight in [
        model["mha"].w_q.weight,
        model["mha"].w_k.weight,
        model["mha"].w_v.weight,
        model["ffn"].w_up.weight,
        model["embedding"].weight,
        model["embedding"].positions.table,
        model["embedding"].segments,
    ]:
        assert weight.std().item() == pytest.approx(0.05, rel=0.05)
    for layer in [model["mha"].w_o, model["ffn"].w_down]:
        assert layer.weight.std().item() == pytest.approx(0.05 / 4, rel=0.05)
        assert (layer.bias == 0).all()
    assert (model["norm"].weight == 1).all()


def test_a_tied_head_keeps_the_embeddings_initialisation() -> None:
    stack = StackConfig(d_model=64, n_heads=4, d_ff=64, n_layers=3)
    causal = CausalLM(CausalLMConfig(vocab_size=101, decoder=stack))
    assert causal.head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert causal.decoder.blocks[0].attention.w_o.weight.std().item() == pytest.approx(
        0.02 / math.sqrt(6), rel=0.05
    )
    both = EncoderDecoder(
        EncoderDecoderConfig(
            source_vocab_size=101, target_vocab_size=103, encoder=stack, decoder=stack
        )
    )
    for table in (both.source_embedding.weight, both.head.weight):
        assert table.std().item() == pytest.approx(1 / 8, rel=0.05)


def test_a_fresh_language_model_knows_nothing() -> None:
    """Its first loss is that of guessing: ln of the vocabulary."""
    stack = StackConfig(d_model=64, n_heads=4, d_ff=64, n_layers=3, placement="pre")
    model = CausalLM(CausalLMConfig(vocab_size=101, decoder=stack)).eval()
    ids = torch.randint(0, 101, (4, 33))
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(101), abs=0.1)
