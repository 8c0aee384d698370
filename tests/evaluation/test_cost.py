"""Costs of single layers: against the layers themselves, as PyTorch counts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from measuring import flops, parameters, saved_bytes
from torch import Tensor, nn
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

from tfbook.attention import MultiHeadAttention
from tfbook.evaluation import (
    Cost,
    Workload,
    attention_cost,
    convolution_cost,
    embedding_cost,
    feed_forward_cost,
    gru_cost,
    linear_cost,
    lstm_cost,
    norm_cost,
)
from tfbook.layers import Embedding, FeedForward, GatedFeedForward, LayerNorm, RMSNorm
from tfbook.positions import LearnedPositions, SinusoidalPositions

BATCH, N, N_CONTEXT, D, D_FF, HEADS = 2, 7, 11, 30, 41, 6
DTYPES = (torch.float32, torch.float64)


@pytest.fixture(autouse=True)
def default_device() -> None:
    """Stay on the CPU, for which the saved bytes are stated."""


def work(**changes: Any) -> Workload:
    return Workload(**{**dict(n=N, batch=BATCH), **changes})


def tokens(n: int = N, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(BATCH, n, D, dtype=dtype, requires_grad=True)


def matches(
    cost: Cost,
    module: nn.Module,
    run: Callable[[], Tensor],
    *,
    fused: bool = True,
    recomputed: int = 0,
) -> None:
    """Parameters, operations and saved bytes are those of the module, to the last one.

    Args:
        recomputed: operations of the fused kernel's backward pass alone, which are not counted.
    """
    assert cost.parameters == parameters(module)
    assert (cost.flops, cost.training_flops - recomputed) == flops(run)
    assert cost.saved_bytes == saved_bytes(run, module, fused=fused)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("options", [{}, {"n_kv_heads": 3}, {"n_kv_heads": 1}, {"d_head": 13}])
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention(
    bias: bool, options: dict[str, int], causal: bool, fused: bool, dtype: torch.dtype
) -> None:
    layer, x = MultiHeadAttention(D, HEADS, bias=bias, **options).to(dtype), tokens(dtype=dtype)
    cost = attention_cost(
        work(fused=fused, dtype=dtype), d_model=D, n_heads=HEADS, causal=causal, bias=bias,
        **options,
    )  # fmt: skip
    scores = 2 * BATCH * HEADS * layer.d_head * N * N
    matches(cost, layer, lambda: layer(x, causal=causal), fused=fused, recomputed=fused * scores)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("n_kv_heads", [6, 2, 1])
def test_cross_attention(n_kv_heads: int, fused: bool) -> None:
    layer = MultiHeadAttention(D, HEADS, n_kv_heads=n_kv_heads)
    x, context = tokens(), tokens(N_CONTEXT)
    cost = attention_cost(
        work(n_context=N_CONTEXT, fused=fused), d_model=D, n_heads=HEADS, n_kv_heads=n_kv_heads
    )
    scores = 2 * BATCH * D * N * N_CONTEXT
    matches(cost, layer, lambda: layer(x, context), fused=fused, recomputed=fused * scores)


@pytest.mark.parametrize("n_kv_heads", [6, 2, 1])
def test_the_backward_pass_of_a_fused_kernel_as_pytorch_counts_it(n_kv_heads: int) -> None:
    """Its own count, of a GPU's kernel: five products, for the scores are computed again."""
    query, key = (BATCH, HEADS, N, 5), (BATCH, n_kv_heads, N_CONTEXT, 5)
    forward = sdpa_flop_count(query, key, key)
    backward = sdpa_backward_flop_count(query, query, key, key)
    sizes = dict(d_model=D, n_heads=HEADS, n_kv_heads=n_kv_heads)
    cost = attention_cost(work(n_context=N_CONTEXT), **sizes)
    projections = cost.flops - forward
    assert cost.training_flops == 3 * projections + forward + backward
    unfused = attention_cost(work(n_context=N_CONTEXT, fused=False), **sizes)
    assert unfused.training_flops == 3 * unfused.flops
    assert cost.training_flops - unfused.training_flops == forward // 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("n_kv_heads", [6, 2, 1])
def test_attention_in_half_precision_keeps_more_than_half(
    n_kv_heads: int, fused: bool, dtype: torch.dtype
) -> None:
    sizes = dict(n_kv_heads=n_kv_heads)
    layer, x = MultiHeadAttention(D, HEADS, **sizes).to(dtype), tokens(dtype=dtype)
    context = tokens(N_CONTEXT, dtype=dtype)
    for n_context, given in ((None, (x,)), (N_CONTEXT, (x, context))):
        at = work(fused=fused, dtype=dtype, n_context=n_context)
        cost = attention_cost(at, d_model=D, n_heads=HEADS, **sizes)
        kept = saved_bytes(lambda given=given: layer(*given), layer, fused=fused)
        assert cost.saved_bytes == kept


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("name", "activation"),
    [("relu", F.relu), ("gelu", F.gelu), ("silu", F.silu), ("sigmoid", torch.sigmoid),
     ("identity", nn.Identity())],
)  # fmt: skip
@pytest.mark.parametrize("gated", [True, False])
def test_feed_forward(
    gated: bool, name: str, activation: Callable[[Tensor], Tensor], bias: bool
) -> None:
    made = GatedFeedForward if gated else FeedForward
    layer, x = made(D, D_FF, activation=activation, bias=bias), tokens()
    cost = feed_forward_cost(work(), d_model=D, d_ff=D_FF, activation=name, gated=gated, bias=bias)
    matches(cost, layer, lambda: layer(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_norm(norm: str, dtype: torch.dtype) -> None:
    layer = {"layer_norm": LayerNorm, "rms_norm": RMSNorm}[norm](D).to(dtype)
    x = tokens(dtype=dtype)
    matches(norm_cost(work(dtype=dtype), d_model=D, norm=norm), layer, lambda: layer(x))


def test_norm_without_bias() -> None:
    layer, x = LayerNorm(D, bias=False), tokens()
    matches(norm_cost(work(), d_model=D, bias=False), layer, lambda: layer(x))


@pytest.mark.parametrize(
    ("positions", "rows"),
    [(None, 0), (SinusoidalPositions(17, D), 0), (LearnedPositions(17, D), 17)],
)
def test_embedding(positions: nn.Module | None, rows: int) -> None:
    layer, ids = Embedding(19, D, positions=positions), torch.randint(19, (BATCH, N))
    cost = embedding_cost(work(), vocab_size=19, d_model=D, learned_positions=rows)
    matches(cost, layer, lambda: layer(ids))


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    layer, x = nn.Linear(D, 13, bias=bias), tokens()
    matches(linear_cost(work(), d_in=D, d_out=13, bias=bias), layer, lambda: layer(x))
    assert linear_cost(work(), d_in=D, d_out=13, bias=bias, tied=True).parameters == 0


@pytest.mark.parametrize("d_hidden", [5, 31])
def test_lstm(d_hidden: int) -> None:
    cell, x = nn.LSTMCell(D, d_hidden), tokens()

    def run() -> Tensor:
        state, outputs = (torch.zeros(BATCH, d_hidden), torch.zeros(BATCH, d_hidden)), []
        for t in range(N):
            state = cell(x[:, t], state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1)

    cost = lstm_cost(work(), d_input=D, d_hidden=d_hidden)
    matches(cost, cell, run)
    assert cost.parameters == parameters(nn.LSTM(D, d_hidden))
    assert cost.cache_bytes == 2 * BATCH * d_hidden * 4


@pytest.mark.parametrize("d_hidden", [5, 31])
def test_gru(d_hidden: int) -> None:
    cell, x = nn.GRUCell(D, d_hidden), tokens()

    def run() -> Tensor:
        state, outputs = torch.zeros(BATCH, d_hidden), []
        for t in range(N):
            state = cell(x[:, t], state)
            outputs.append(state)
        return torch.stack(outputs, dim=1)

    cost = gru_cost(work(), d_input=D, d_hidden=d_hidden)
    matches(cost, cell, run)
    whole = nn.GRU(D, d_hidden, batch_first=True)
    assert cost.parameters == parameters(whole)
    assert cost.saved_bytes == saved_bytes(lambda: whole(x), whole)
    assert cost.cache_bytes == BATCH * d_hidden * 4


def convolutions(
    kernel: int, dilations: tuple[int, ...], causal: bool, d: int = D
) -> nn.Sequential:
    layers = []
    for dilation in dilations:
        reach = (kernel - 1) * dilation
        pads = (reach, 0) if causal else (reach // 2, reach // 2)
        padding = 0 if causal else reach // 2
        layers += [nn.ConstantPad1d(pads, 0.0)] if causal else []
        layers += [nn.Conv1d(d, d, kernel, dilation=dilation, padding=padding)]
    return nn.Sequential(*layers)


STACKS = [
    (3, (1,), False), (5, (1, 1, 1), False), (3, (1, 2, 4), False), (3, (1, 3, 9, 27), False),
    (2, (1, 2, 4, 8), True), (3, (1, 3, 9), True), (1, (1,), True), (4, (2, 1, 3), True),
    (2, (4, 4, 1, 2), True), (3, (9, 3, 1, 1), True), (3, (2, 4, 8), True),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "dilations", "causal"), STACKS)
def test_convolution(kernel: int, dilations: tuple[int, ...], causal: bool) -> None:
    layers, x = convolutions(kernel, dilations, causal), tokens()
    cost = convolution_cost(work(), d_model=D, kernel=kernel, dilations=dilations, causal=causal)
    matches(cost, layers, lambda: layers(x.mT))
    assert cost.sequential_steps == len(dilations)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13, 16, 17, 27])
@pytest.mark.parametrize(("kernel", "dilations", "causal"), STACKS)
def test_path_length_of_convolutions(
    n: int, kernel: int, dilations: tuple[int, ...], causal: bool
) -> None:
    """The layers after which the Jacobian has no zero left where it may have entries."""
    expected = None
    for depth in range(len(dilations), 0, -1):
        layers = convolutions(kernel, dilations[:depth], causal, d=1).double()
        for parameter in layers.parameters():
            nn.init.uniform_(parameter, 0.5, 1.0)
        slopes = torch.autograd.functional.jacobian(layers, torch.zeros(1, 1, n).double())
        reached = slopes.reshape(n, n) != 0
        expected = (
            depth if bool((reached | reached.new_ones(n, n).triu(1) * causal).all()) else expected
        )
    cost = convolution_cost(
        Workload(n=n), d_model=1, kernel=kernel, dilations=dilations, causal=causal
    )
    assert cost.path_length == expected


def test_steps_and_paths_by_hand() -> None:
    n = 100
    at = Workload(n=n)
    attention = attention_cost(at, d_model=8, n_heads=2)
    recurrence = lstm_cost(at, d_input=8, d_hidden=8)
    assert (attention.sequential_steps, attention.path_length) == (1, 1)
    assert (recurrence.sequential_steps, recurrence.path_length) == (n, n)
    # Kernel 3 moves one position to each side in a layer: 99 layers join 100 positions.
    flat = convolution_cost(at, d_model=8, kernel=3, dilations=(1,) * 120)
    assert (flat.sequential_steps, flat.path_length) == (120, 99)
    # Doubling dilations: 1 + 2 + 4 + ... + 64 = 127 is the first sum of at least 99.
    doubling = convolution_cost(at, d_model=8, kernel=3, dilations=[2**i for i in range(9)])
    assert doubling.path_length == 7
    assert feed_forward_cost(at, d_model=8, d_ff=32).path_length is None
    assert norm_cost(at, d_model=8).sequential_steps == 0


def test_path_lengths_of_long_sequences_are_computed_without_the_sequence() -> None:
    n = 2**40
    for dilations, layers in ([2**i for i in range(41)], 40), ((1, 1), None):
        sizes = dict(kernel=2, dilations=dilations, causal=True)
        assert convolution_cost(Workload(n=n), d_model=8, **sizes).path_length == layers
    assert convolution_cost(Workload(n=n), d_model=8, kernel=3).path_length is None


def test_base_attention_at_512_tokens_by_hand() -> None:
    # Four projections of 512 x 512 and two products of 512 x 512 x 512: six times 2^27.
    cost = attention_cost(Workload(n=512), d_model=512, n_heads=8)
    assert cost.multiply_adds == 6 * 2**27
    # The fused kernel's backward pass computes the scores once more.
    assert cost.training_multiply_adds == 19 * 2**27


def test_the_cache_of_attention() -> None:
    at = work(n_context=N_CONTEXT)
    sizes = dict(d_model=D, n_heads=HEADS, n_kv_heads=2)
    assert attention_cost(work(), **sizes).cache_bytes == 0
    # Keys and values, batch 2, two heads of 5 features, 7 or 11 tokens, 4 bytes.
    assert attention_cost(work(), causal=True, **sizes).cache_bytes == 2 * 2 * 2 * 5 * 7 * 4
    assert attention_cost(at, **sizes).cache_bytes == 2 * 2 * 2 * 5 * 11 * 4
    half = attention_cost(work(dtype=torch.bfloat16), causal=True, **sizes)
    assert half.cache_bytes == 2 * 2 * 2 * 5 * 7 * 2


def test_the_cache_of_a_causal_convolution_does_not_grow() -> None:
    sizes = dict(d_model=D, kernel=3, dilations=(1, 2), causal=True)
    assert convolution_cost(work(), **sizes).cache_bytes == 2 * D * (2 + 4) * 4
    assert convolution_cost(work(n=99), **sizes).cache_bytes == 2 * D * (2 + 4) * 4


def test_costs_add_up() -> None:
    attention = Cost(parameters=2, multiply_adds=3, training_multiply_adds=9, saved_bytes=5,
                     cache_bytes=7, sequential_steps=1, path_length=1)  # fmt: skip
    recurrence = Cost(parameters=11, saved_bytes=13, sequential_steps=17, path_length=17)
    plain = Cost(parameters=19)
    total = 3 * attention + recurrence + plain
    assert total == Cost(parameters=36, multiply_adds=9, training_multiply_adds=27,
                         saved_bytes=28, cache_bytes=21, sequential_steps=20,
                         path_length=1)  # fmt: skip
    assert (total.flops, total.training_flops) == (18, 54)
    assert (plain + plain).path_length is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Workload(n=0), "n=0 must be at least 1"),
        (lambda: Workload(n=1, n_context=0), "n_context=0 must be at least 1"),
        (lambda: Workload(n=1, dtype=torch.int64), "dtype=torch.int64 must be floating point"),
        (lambda: 0 * Cost(), "times=0 must be at least 1"),
        (lambda: linear_cost(work(), d_in=0, d_out=1), "d_in=0 must be at least 1"),
        (lambda: attention_cost(work(), d_model=10, n_heads=3), "d_model=10 must be divisible by"),
        (lambda: attention_cost(work(), d_model=12, n_heads=6, n_kv_heads=4),
         "n_heads=6 must be divisible by n_kv_heads=4"),
        (lambda: feed_forward_cost(work(), d_model=4, d_ff=0), "d_ff=0 must be at least 1"),
        (lambda: feed_forward_cost(work(), d_model=4, d_ff=8, activation="tanh"),
         "activation='tanh' is unknown"),
        (lambda: norm_cost(work(), d_model=4, norm="batch"), "norm='batch' is unknown; use"),
        (lambda: embedding_cost(work(), vocab_size=0, d_model=4), "vocab_size=0 must be"),
        (lambda: embedding_cost(work(), vocab_size=5, d_model=4, learned_positions=-1),
         "learned_positions=-1 must be at least 0"),
        (lambda: lstm_cost(work(), d_input=0, d_hidden=4), "d_input=0 must be at least 1"),
        (lambda: gru_cost(work(), d_input=4, d_hidden=0), "d_hidden=0 must be at least 1"),
        (lambda: convolution_cost(work(), d_model=4, kernel=2), "kernel=2 must be odd.*use 3"),
        (lambda: convolution_cost(work(), d_model=4, kernel=3, dilations=()), "must hold one"),
        (lambda: convolution_cost(work(), d_model=4, kernel=3, dilations=(1, 0)),
         "dilation=0 must be at least 1"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
