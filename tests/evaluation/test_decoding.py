"""What a decoding step reads and computes, against real caches, weights and PyTorch's counter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from tfbook.compression import quantize_int8
from tfbook.evaluation import (
    StepWork,
    Workload,
    cache_bytes,
    causal_lm_cost,
    step_work,
    weight_bytes,
)
from tfbook.models import CausalLM, CausalLMConfig, StackConfig, count_parameters
from tfbook.models.decoding_step import decoding_step

STACK = StackConfig(
    d_model=30, n_heads=6, n_kv_heads=2, d_ff=44, n_layers=3, placement="pre", dropout_p=0.0
)


def model(**changes: object) -> CausalLM:
    config = CausalLMConfig(vocab_size=53, decoder=STACK, max_length=19)
    return CausalLM(replace(config, **changes)).eval()


@given(
    layers=st.integers(1, 3),
    heads=st.sampled_from([(6, 6), (6, 3), (6, 1), (5, 5)]),
    width=st.integers(1, 7),
    length=st.integers(1, 13),
    batch=st.integers(1, 3),
    window=st.sampled_from([None, 1, 4, 40]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_the_formula_is_the_size_of_a_real_cache(
    layers: int,
    heads: tuple[int, int],
    width: int,
    length: int,
    batch: int,
    window: int | None,
    dtype: torch.dtype,
) -> None:
    stack = StackConfig(
        d_model=11,
        n_heads=heads[0],
        n_kv_heads=heads[1],
        head_width=width,
        d_ff=5,
        n_layers=layers,
        window=window,
        placement="pre",
    )
    made = CausalLM(CausalLMConfig(vocab_size=3, decoder=stack, positions="none")).to(dtype)
    assert cache_bytes(stack, length, batch=batch, dtype=dtype) == (
        made.new_cache(batch, length).n_bytes
    )


def test_it_is_the_size_of_hugging_faces_cache() -> None:
    config = LlamaConfig(
        vocab_size=53,
        hidden_size=30,
        head_dim=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        num_hidden_layers=3,
        intermediate_size=44,
    )
    cache = DynamicCache(config=config)
    LlamaForCausalLM(config)(torch.ones(2, 7, dtype=torch.int64), past_key_values=cache)
    theirs = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(replace(STACK, head_width=4), 7, batch=2) == theirs


def test_the_cost_of_whole_models_counts_the_same_cache() -> None:
    config = CausalLMConfig(vocab_size=53, decoder=STACK)
    cost = causal_lm_cost(Workload(n=17, batch=5), config)
    assert cost.cache_bytes == cache_bytes(STACK, 17, batch=5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_all_weights_are_read_but_tables_that_are_looked_up(tied: bool, positions: str) -> None:
    stack = replace(STACK, head_width=6)
    made = model(tie_output=tied, positions=positions, decoder=stack)
    looked_up = 0 if tied else made.embedding.weight.numel()
    if positions == "learned":
        looked_up += 19 * 30
    assert weight_bytes(made) == 4 * (count_parameters(made) - looked_up)
    assert weight_bytes(made.to(torch.bfloat16)) == 2 * (count_parameters(made) - looked_up)


def test_integers_count_one_byte_and_joining_tables_adds_none() -> None:
    whole = model(positions="none")
    matrices = sum(p.numel() for p in whole.parameters() if p.ndim == 2)
    rows = sum(p.shape[0] for p in whole.parameters() if p.ndim == 2)
    others = sum(p.nbytes for p in whole.parameters() if p.ndim == 1)
    small = model(positions="none")
    quantize_int8(small)
    assert weight_bytes(small) == matrices + 2 * rows + others
    for made in (whole, small):
        before = weight_bytes(made)
        decoding_step(made)
        assert weight_bytes(made) == before


@pytest.mark.parametrize("batch", [1, 3])
def test_the_operations_are_those_that_pytorch_counts(batch: int) -> None:
    made = model()
    cache = made.new_cache(batch, 19)
    made(torch.ones(batch, 10, dtype=torch.int64), cache=cache)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made(torch.ones(batch, 1, dtype=torch.int64), cache=cache)
    work = step_work(made, 11, batch=batch)
    assert work.flops == counter.get_total_flops()
    assert work.n_bytes == weight_bytes(made) + cache_bytes(STACK, 11, batch=batch)
    assert work.intensity == work.flops / work.n_bytes


def test_batches_share_the_weights_and_not_the_cache() -> None:
    made = model()
    one, many = step_work(made, 7), step_work(made, 7, batch=5)
    assert many.weight_bytes == one.weight_bytes
    assert many.cache_bytes == 5 * one.cache_bytes
    assert many.flops == 5 * one.flops
    assert isinstance(one, StepWork)


def test_a_linear_layer_alone_is_counted() -> None:
    assert weight_bytes(nn.Linear(3, 2)) == 4 * 8


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="length=0"):
        cache_bytes(STACK, 0)
    with pytest.raises(ValueError, match="batch=0"):
        step_work(model(), 3, batch=0)
    with pytest.raises(ValueError, match="beyond the model's max_length=19"):
        step_work(model(), 20)
