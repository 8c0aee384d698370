"""The checkers of chapter 09: right answers pass, typical wrong ones get the right diagnosis."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tfbook.attention import MultiHeadAttention
from tfbook.book import exercises
from tfbook.book.exercises.ch09 import CHECKERS


def split(x, h):
    b, n, width = x.shape
    return x.reshape(b, n, h, width // h).transpose(1, 2)


def contributions(heads, weight):
    parts = weight.view(weight.shape[0], heads.shape[1], heads.shape[3])
    return torch.einsum("b h n e, d h e -> b h n d", heads, parts)


def cost(n, d, h):
    return 4 * n * d * d + 2 * n * n * d, h * n * n


def from_torch(theirs, *, order="qkv", bias=True, out=True, out_bias=True, heads=None, turn=False):
    ours = MultiHeadAttention(theirs.embed_dim, heads or theirs.num_heads).double()
    for i, name in enumerate(order):
        rows = theirs.in_proj_weight.data.chunk(3)[i]
        getattr(ours, f"w_{name}").weight.data.copy_(rows.T if turn else rows)
        if bias:
            getattr(ours, f"w_{name}").bias.data.copy_(theirs.in_proj_bias.data.chunk(3)[i])
    if out:
        ours.w_o.weight.data.copy_(theirs.out_proj.weight.data)
    if out_bias:
        ours.w_o.bias.data.copy_(theirs.out_proj.bias.data)
    return ours


def share(k, h):
    return k.repeat_interleave(h // k.shape[1], dim=1)


def sees_everything(layer, n, d):
    x = torch.randn(1, n, d)
    with torch.no_grad():
        before = layer(x)
        for j in range(n):
            changed = x.clone()
            changed[:, j] += 1
            if ((layer(changed) - before).abs().amax(dim=-1) < 1e-6).any():
                return False
    return True


RIGHT = {
    "09.1": split,
    "09.2": contributions,
    "09.3": cost,
    "09.4": from_torch,
    "09.5": share,
    "09.6": sees_everything,
}


def weights_of_head_0(heads, weight):
    return heads @ weight[:, : heads.shape[-1]].T


def interleaved(heads, weight):
    parts = weight.view(weight.shape[0], heads.shape[3], heads.shape[1])
    return torch.einsum("b h n e, d e h -> b h n d", heads, parts)


def shape_only(layer, n, d):
    return layer(torch.zeros(1, n, d)).shape == (1, n, d)


def exact(layer, n, d):  # bitwise equal outputs, where it should ask what moves
    x = torch.randn(1, n, d)
    return bool((layer(x) == layer(x + 1)).all())


def too_strict(layer, n, d):
    return sees_everything(layer, n, d) and layer.n_heads == 1


def token_changed(layer, n, d, changed):
    x = torch.randn(1, n, d)
    other = x.clone()
    other[:, changed] += 1
    return (layer(other) - layer(x)).abs().amax(dim=-1)[0] > 1e-6


def last_token_only(layer, n, d):
    return bool(token_changed(layer, n, d, n - 1).all())


def output_0_only(layer, n, d):
    return all(bool(token_changed(layer, n, d, j)[0]) for j in range(n))


def all_tokens_at_once(layer, n, d):
    return bool(token_changed(layer, n, d, slice(None)).all())


def double(layer, n, d):
    return bool(layer(torch.randn(1, n, d, dtype=torch.float64)).any())


def first_token_only(layer, n, d):
    x = torch.randn(1, n, d)
    changed = x.clone()
    changed[:, 0] += 1
    return bool(((layer(changed) - layer(x)).abs().amax(dim=-1) > 1e-6).all())


WRONG: list[tuple[str, Callable[..., Any], str]] = [
    ("09.1", lambda x, h: x.view(*x.shape[:2], h, -1), "is a transpose of axes 1 and 2 missing"),
    ("09.1", lambda x, h: x.reshape(x.shape[0], h, x.shape[1], -1), "did you reshape straight to"),
    ("09.1", lambda x, h: x.view(*x.shape[:2], -1, h).permute(0, 3, 1, 2), "cut as (d_head, h)"),
    ("09.1", lambda x, h: split(x, h).flip(1), "reverse order"),
    ("09.1", lambda x, h: x, "the shape is (2, 7, 15)"),
    ("09.1", lambda x, h: None, "is the return missing"),
    ("09.1", lambda x, h: x.chunk(h, dim=-1), "returned 3 pieces in a tuple"),
    ("09.1", lambda x, h: 2 * split(x, h), "compare one head by hand"),
    ("09.2", lambda a, w: contributions(a, w.T), "the weight is used transposed"),
    ("09.2", interleaved, "every third column"),
    ("09.2", weights_of_head_0, "the columns of head 0"),
    ("09.2", lambda a, w: contributions(a, w).sum(1), "already added up"),
    ("09.2", lambda a, w: contributions(a, w).sum(1, True).expand(-1, 3, -1, -1), "whole sum"),
    ("09.3", lambda n, d, h: (8 * n * d * d + 4 * n * n * d, h * n * n), "multiply-add is one"),
    ("09.3", lambda n, d, h: (3 * n * d * d + 2 * n * n * d, h * n * n), "output projection"),
    ("09.3", lambda n, d, h: (4 * n * d * d + n * n * d, h * n * n), "two products"),
    ("09.3", lambda n, d, h: (h * (4 * n * d * d + 2 * n * n * d), h * n * n), "d/h wide, not d"),
    ("09.3", lambda n, d, h: (0, h * n * n), "count four projections and two products"),
    ("09.3", lambda n, d, h: (cost(n, d, h)[0] + 4 * n * d, h * n * n), "leave biases out"),
    ("09.3", lambda n, d, h: cost(n, d, h)[::-1], "swapped"),
    ("09.3", lambda n, d, h: cost(n, d, h)[0], "return two numbers"),
    ("09.3", lambda n, d, h: (cost(n, d, h)[0], n * n), "every head has its own"),
    ("09.3", lambda n, d, h: (cost(n, d, h)[0], h * n), "a map has n × n"),
    ("09.4", lambda t: from_torch(t, order="kqv"), "in_proj_weight is [q; k; v]"),
    ("09.4", lambda t: from_torch(t, turn=True), "w_q is transposed"),
    ("09.4", lambda t: from_torch(t, bias=False), "copy in_proj_bias as well"),
    ("09.4", lambda t: from_torch(t, out=False), "w_o.weight is not out_proj.weight"),
    ("09.4", lambda t: from_torch(t, out_bias=False), "w_o.bias is not out_proj.bias"),
    ("09.4", lambda t: from_torch(t, heads=7), "n_heads is 7"),
    ("09.4", lambda t: MultiHeadAttention(21, 3), "is not the part of in_proj_weight"),
    ("09.4", lambda t: t, "returned MultiheadAttention"),
    ("09.5", lambda k, h: k.repeat(1, h // k.shape[1], 1, 1), "*neighbours* share"),
    ("09.5", lambda k, h: k, "came back unchanged"),
    ("09.5", lambda k, h: k.repeat_interleave(h, dim=1), "n_heads / n_kv_heads times"),
    ("09.5", lambda k, h: k[:, :1].expand(-1, h, -1, -1), "every query head got key head 0"),
    ("09.5", lambda k, h: k.mean(1, True).expand(-1, h, -1, -1), "the mean of the key heads"),
    ("09.6", shape_only, "reshapes without a transpose"),
    ("09.6", exact, "says False for every layer"),
    ("09.6", lambda layer, n, d: False, "says False for every layer"),
    ("09.6", lambda layer, n, d: True, "reshapes without a transpose"),
    ("09.6", too_strict, "says False for a right layer with 3 heads"),
    ("09.6", last_token_only, "ignores one input, neither the first nor the last"),
    ("09.6", output_0_only, "one output, not the first, sees only itself"),
    ("09.6", all_tokens_at_once, "reshapes without a transpose"),
    ("09.6", double, "the layers are float32"),
    ("09.6", first_token_only, "see only the first one"),
    ("09.6", lambda layer, n, d: torch.tensor(True), "returned Tensor"),
]


def test_every_exercise_has_an_answer_here() -> None:
    assert set(CHECKERS) == set(RIGHT)
    for name in CHECKERS:
        assert sum(wrong[0] == name for wrong in WRONG) >= 3


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exercises.check(name, RIGHT[name]) is True
    assert capsys.readouterr().out == f"✓ {name}: solved\n"


@pytest.mark.parametrize(("name", "fn", "diagnosis"), WRONG)
def test_wrong(name: str, fn: Callable[..., Any], diagnosis: str) -> None:
    with pytest.raises(exercises.Wrong, match=re.escape(diagnosis)):
        exercises.check(name, fn, required=True)


def test_copies_in_single_precision_pass() -> None:
    exercises.check("09.4", lambda t: from_torch(t).float(), required=True)


def test_the_planted_layer_is_wrong_in_values_and_right_in_shape() -> None:
    from tfbook.book.exercises.ch09 import _Reshaped

    layer, x = _Reshaped(12, 3), torch.randn(2, 6, 12)
    assert isinstance(layer, nn.Module)
    assert layer(x).shape == x.shape
    assert not torch.allclose(layer(x), layer.right(x), atol=1e-3)
