"""Whole models with smaller weights: what is replaced, what stays tied, what it changes."""

from __future__ import annotations

import pytest
import torch
from parity import randomized
from torch import nn

from tfbook.compression import (
    Int8Embedding,
    Int8Linear,
    cast_weights,
    dequantize_int8,
    quantize_int8,
    stored_bytes,
)
from tfbook.layers import Embedding
from tfbook.layers.embeddings import require_ids
from tfbook.models import CausalLM, CausalLMConfig, StackConfig


def language_model(*, tied: bool, positions: str = "rotary") -> CausalLM:
    stack = StackConfig(
        d_model=48,
        n_heads=3,
        n_kv_heads=1,
        d_ff=80,
        n_layers=2,
        placement="pre",
        norm="rms_norm",
        bias=False,
        feed_forward="gated",
        activation="silu",
    )
    config = CausalLMConfig(vocab_size=101, decoder=stack, positions=positions, tie_output=tied)
    return randomized(CausalLM(config))


@pytest.mark.parametrize("tied", [True, False])
def test_every_linear_layer_is_replaced(tied: bool) -> None:
    model = language_model(tied=tied)
    before = {n: m.weight for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert quantize_int8(model) is model
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    for name, weight in before.items():
        layer = model.get_submodule(name)
        stands_for = dequantize_int8(layer.weight_int8, layer.scales, torch.float32)
        assert ((stands_for - weight).abs() <= 0.501 * layer.scales.float()[:, None]).all()
    assert isinstance(model.embedding, Int8Embedding if tied else Embedding)
    if tied:
        assert model.embedding.table is model.head


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_is_that_of_the_dequantized_weights(tied: bool, dtype: torch.dtype) -> None:
    reference, model = language_model(tied=tied), language_model(tied=tied)
    cast_weights(quantize_int8(model), dtype)
    for name, layer in model.named_modules():
        if isinstance(layer, Int8Linear):
            weight = dequantize_int8(layer.weight_int8, layer.scales, torch.float32)
            # The tied table is met inside the embedding first.
            name = name.replace("embedding.table", "head")
            reference.get_submodule(name).weight.data.copy_(weight)
    ids = torch.randint(101, (2, 7))
    logits, expected = model(ids), reference(ids)
    assert logits.dtype == dtype
    assert expected.abs().max() > 0.5
    tolerance = 1e-5 if dtype == torch.float32 else 0.03 * expected.abs().max()
    assert (logits.float() - expected).abs().max() < tolerance
    cache = model.new_cache(2, 7)
    steps = torch.cat([model(ids[:, [i]], cache=cache) for i in range(7)], dim=1)
    assert (steps.float() - expected).abs().max() < tolerance


def test_a_tied_table_is_stored_once() -> None:
    tied, untied = language_model(tied=True), language_model(tied=False)
    table = 101 * 48
    assert stored_bytes(untied) - stored_bytes(tied) == 4 * table
    cast_weights(quantize_int8(tied), torch.bfloat16)
    cast_weights(quantize_int8(untied), torch.bfloat16)
    assert stored_bytes(untied) - stored_bytes(tied) == 2 * table
    assert stored_bytes(tied) < stored_bytes(language_model(tied=True)) / 3.5


def test_it_stays_stored_once_when_the_model_moves() -> None:
    model = quantize_int8(language_model(tied=True)).to(torch.bfloat16)
    assert model.embedding.table is model.head
    assert model.embedding(torch.tensor([[3]])).dtype == torch.bfloat16
    assert model.head.weight_int8.dtype == torch.int8


def test_layers_of_one_weight_stay_tied_and_keep_their_biases() -> None:
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5, bias=False))
    for layer in model[1:]:
        layer.weight = model[0].weight
    x = torch.randn(3, 5)
    with torch.no_grad():
        stored = [layer.bias for layer in model]
    quantize_int8(model)
    assert len({layer.weight_int8.data_ptr() for layer in model}) == 1
    for layer, bias in zip(model, stored, strict=True):
        assert (layer.bias is None) == (bias is None)
        if bias is not None:
            assert torch.equal(layer(x) - layer(torch.zeros(1, 5)), layer(x) - bias)


def test_an_embedding_with_a_norm_keeps_its_table() -> None:
    model = nn.ModuleDict({"head": nn.Linear(4, 11, bias=False)})
    model["embedding"] = Embedding(11, 4, norm=nn.LayerNorm(4))
    model["head"].weight = model["embedding"].weight
    quantize_int8(model)
    assert isinstance(model["embedding"], Embedding)
    assert isinstance(model["head"], Int8Linear)


def test_a_bare_layer_cannot_be_replaced() -> None:
    with pytest.raises(ValueError, match=r"model is a linear layer.*use Int8Linear\.from_linear"):
        quantize_int8(nn.Linear(3, 2))


def test_a_model_with_infinite_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].weight.data[1, 2] = float("nan")
    with pytest.raises(ValueError, match="weight holds an infinite number or a NaN"):
        quantize_int8(model)


def test_casting_keeps_ties_and_tables_of_positions() -> None:
    model = language_model(tied=True, positions="sinusoidal")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert buffers
    assert cast_weights(model, torch.bfloat16) is model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.head.weight is model.embedding.weight
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name])
    assert model(torch.tensor([[3, 4]])).dtype == torch.bfloat16


def test_casting_to_integers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype=torch\.int8 must be a floating-point type"):
        cast_weights(nn.Linear(3, 2), torch.int8)


def test_ids_are_checked() -> None:
    require_ids(torch.tensor([[0, 4]]), 5)
    with pytest.raises(ValueError, match=r"ids=0…5 must lie in \[0, vocab_size=5\)"):
        require_ids(torch.tensor([[0, 5]]), 5)
