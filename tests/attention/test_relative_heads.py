"""Multi-head attention with schemes that act inside it: rotations and relative biases."""

from __future__ import annotations

import pytest
import torch
from parity import close, randomized

from tfbook.attention import KVCache, MultiHeadAttention, attention_weights, causal_mask
from tfbook.positions import (
    DynamicNTKScaling,
    RotaryEmbedding,
    ShawRelative,
    TransformerXLRelative,
)
from tfbook.shapes import merge_heads

D, H, N = 18, 3, 7


def shaw(**options: bool) -> ShawRelative:
    return ShawRelative(D // H, max_distance=2, **options)


def test_shaw_adds_to_scores_and_to_values() -> None:
    mha = randomized(MultiHeadAttention(D, H, relative=shaw()), torch.float64)
    x = torch.randn(2, N, D, dtype=torch.float64)
    q, k, v = mha.project(x)
    offsets = (torch.arange(N) - torch.arange(N)[:, None]).clamp(-2, 2) + 2
    # Equations 3 and 4 with the (n, n, d_head) tensors that the module does without.
    keys, values = mha.relative.key_table[offsets], mha.relative.value_table[offsets]
    scores = q @ k.mT + torch.einsum("bhid,ijd->bhij", q, keys)
    scores = (scores / (D // H) ** 0.5).masked_fill(~causal_mask(N, N), -torch.inf)
    weights = scores.softmax(dim=-1)
    expected = mha.w_o(merge_heads(weights @ v + torch.einsum("bhij,ijd->bhid", weights, values)))
    close(mha(x, causal=True), expected)
    close(mha.weights(x, causal=True), weights)


def test_what_adds_to_values_says_so() -> None:
    schemes = [shaw(), shaw(values=False), TransformerXLRelative(H, D // H, D)]
    assert [scheme.adds_to_values for scheme in schemes] == [True, False, False]
    mha, x = MultiHeadAttention(D, H), torch.randn(2, N, D)
    plain, mha.relative = mha(x), schemes[0]  # a part may be exchanged later
    schemes[0].key_table.data.zero_()
    schemes[0].value_table.data.fill_(1)
    # The same vector at every offset, and weights that sum to one.
    close(mha(x), plain + mha.w_o.weight.sum(dim=1))


@pytest.mark.parametrize("relative", ["shaw", "xl"])
def test_left_padding_and_a_cache_change_nothing(relative: str) -> None:
    scheme = shaw() if relative == "shaw" else TransformerXLRelative(H, D // H, D)
    mha = randomized(MultiHeadAttention(D, H, relative=scheme))
    x = torch.randn(1, N, D)
    alone = mha(x, causal=True)
    padded = torch.cat([torch.randn(1, 2, D), x], dim=1)
    positions = torch.arange(-2, N)[None]
    real = (positions >= 0)[:, None, None]
    cache = KVCache(n_layers=1, batch=1, n_kv_heads=H, max_length=N + 2, d_head=D // H)
    outputs = []
    for part in (slice(0, 4), slice(4, 5), slice(5, N + 2)):
        here = positions[:, part]
        outputs.append(
            mha(
                padded[:, part],
                mask=real[..., : part.stop],
                causal=True,
                positions=here,
                cache=cache.layer(0),
            )
        )
        cache.advance(here.shape[1], positions=here)
    close(torch.cat(outputs, dim=1)[:, 2:], alone)


def test_a_relative_bias_is_added_to_the_given_one() -> None:
    mha = randomized(MultiHeadAttention(D, H, relative=shaw(values=False)))
    x, bias = torch.randn(2, N, D), torch.randn(H, N, N)
    q, k, _ = mha.project(x)
    positions = torch.arange(N)
    whole = bias + mha.relative(q, k, positions, positions)
    close(mha.weights(x, bias=bias), attention_weights(q, k, bias=whole))


def test_relative_positions_need_one_sequence() -> None:
    mha = MultiHeadAttention(D, H, relative=shaw())
    with pytest.raises(ValueError, match="context is given, but relative positions count offsets"):
        mha(torch.zeros(1, 2, D), torch.zeros(1, 3, D))


def test_dropout_of_weights_and_vectors_for_the_values_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"dropout_p=0\.5 must be 0 with relative vectors"):
        MultiHeadAttention(D, H, relative=shaw(), dropout_p=0.5)
    assert MultiHeadAttention(D, H, relative=shaw(values=False), dropout_p=0.5).dropout_p == 0.5


def test_a_rotation_that_depends_on_the_length_refuses_a_cache() -> None:
    scaling = DynamicNTKScaling(factor=2.0, original_length=4)
    mha = MultiHeadAttention(12, 3, rotate=RotaryEmbedding(4, scaling=scaling))
    x = torch.randn(1, 3, 12)
    mha(x)
    cache = KVCache(n_layers=1, batch=1, n_kv_heads=3, max_length=4, d_head=4)
    with pytest.raises(RuntimeError, match="this rotation depends on the length of the sequence"):
        mha(x, cache=cache.layer(0))
