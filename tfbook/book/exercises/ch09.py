"""Checkers of chapter 09, Multi-head attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from tfbook.attention import MultiHeadAttention
from tfbook.book.exercises import Wrong

BATCH, N, HEADS, D_HEAD = 2, 7, 3, 5


def check_split(fn: Callable[..., Any]) -> None:
    """09.1: ``(b, n, h·d_head)`` to ``(b, h, n, d_head)``."""
    x = torch.randn(BATCH, N, HEADS * D_HEAD, generator=torch.Generator().manual_seed(0))
    got = _tensor(fn(x, HEADS))
    if got.shape == (BATCH, N, HEADS, D_HEAD):
        raise Wrong(
            f"the shape is {_shape(got)}: cut, but the head axis still stands behind the tokens. "
            "Move it forward: is a transpose of axes 1 and 2 missing?"
        )
    _require_shape(got, (BATCH, HEADS, N, D_HEAD))
    _recognise(
        got,
        right=rearrange(x, "b n (h d) -> b h n d", h=HEADS),
        mistakes={
            "the shape is right, but head 0 holds whole tokens from the start of the sequence: "
            "did you reshape straight to (b, h, n, d_head)? Cut the last axis, then transpose": (
                x.reshape(BATCH, HEADS, N, D_HEAD)
            ),
            f"head 0 holds features 0, {HEADS}, {2 * HEADS}, …: a head's features are neighbours. "
            "Is the last axis cut as (d_head, h) instead of (h, d_head)?": (
                rearrange(x, "b n (d h) -> b h n d", h=HEADS)
            ),
            "the heads come in reverse order": rearrange(x, "b n (h d) -> b h n d", h=HEADS).flip(
                1
            ),
        },
    )


def check_contributions(fn: Callable[..., Any]) -> None:
    """09.2: what each head adds to the output."""
    generator = torch.Generator().manual_seed(1)
    width = HEADS * D_HEAD
    heads = torch.randn(BATCH, HEADS, N, D_HEAD, generator=generator, dtype=torch.float64)
    weight = torch.randn(width, width, generator=generator, dtype=torch.float64)
    got = _tensor(fn(heads, weight))
    if got.shape == (BATCH, N, width):
        raise Wrong(
            f"the shape is {_shape(got)}: the heads are already added up. Keep their axis, the sum "
            "comes later"
        )
    _require_shape(got, (BATCH, HEADS, N, width))

    def with_parts(parts: Tensor) -> Tensor:  # (heads, d_head, d_model)
        return torch.einsum("b h n e, h e d -> b h n d", heads, parts)

    right = with_parts(rearrange(weight, "d (h e) -> h e d", h=HEADS))
    _recognise(
        got,
        right=right,
        mistakes={
            "the weight is used transposed: nn.Linear computes x @ weight.T, so head i owns "
            "*columns* of weight": with_parts(rearrange(weight, "(h e) d -> h e d", h=HEADS)),
            "each head gets every third column: head i owns neighbouring columns, "
            "i·d_head to (i+1)·d_head": with_parts(rearrange(weight, "d (e h) -> h e d", h=HEADS)),
            "every head goes through the columns of head 0: head i owns columns i·d_head to "
            "(i+1)·d_head": with_parts(weight[:, :D_HEAD].T.expand(HEADS, -1, -1)),
            "every head holds the whole sum: is the sum over heads inside?": (
                right.sum(1, keepdim=True).expand_as(right)
            ),
        },
    )


def check_cost(fn: Callable[..., Any]) -> None:
    """09.3: multiply-adds and scores of one layer on one sequence."""
    for n, d, h in ((11, 35, 5), (13, 35, 7), (512, 512, 8)):
        got = fn(n, d, h)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"returned {got!r}; return two numbers: multiply_adds, scores")
        adds, scores = got
        projections, products = 4 * n * d * d, 2 * n * n * d
        if (scores, adds) == (projections + products, h * n * n):
            raise Wrong("both numbers are right, but swapped: multiply_adds comes first")
        mistakes = {
            2 * (projections + products): "that counts multiplications and additions apart; one "
            "multiply-add is one unit here",
            projections + products + 4 * n * d: "leave biases out: adding one is no "
            "multiply-add of a matrix product",
            3 * n * d * d + products: "the output projection is missing",
            projections + n * n * d: "there are two products of size n × n: q·k and weights·v",
            projections + h * products: "each head is d/h wide, not d: the heads together do the "
            "work of one wide head",
            h * (projections + products): "each head is d/h wide, not d: the heads together do "
            "the work of one wide head",
            4 * n * d * d // h + products: "the matrices of all heads together are d × d",
        }
        if adds != projections + products:
            hint = mistakes.get(adds, "count four projections and two products")
            raise Wrong(f"n={n}, d_model={d}, n_heads={h}: {adds:,} multiply-adds. {hint}")
        if scores == n * n:
            raise Wrong(f"n={n}, n_heads={h}: {scores:,} scores is one map; every head has its own")
        if scores != h * n * n:
            raise Wrong(f"n={n}, n_heads={h}: {scores:,} scores, but a map has n × n of them")


def check_from_torch(fn: Callable[..., Any]) -> None:
    """09.4: copy an ``nn.MultiheadAttention``."""
    torch.manual_seed(2)
    theirs = nn.MultiheadAttention(21, 3, batch_first=True, dtype=torch.float64).eval()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.5)
    ours = fn(theirs)
    if not isinstance(ours, MultiHeadAttention):
        raise Wrong(f"returned {type(ours).__name__}; build a tfbook MultiHeadAttention")
    if ours.n_heads != theirs.num_heads:
        raise Wrong(f"n_heads is {ours.n_heads}, but theirs has num_heads={theirs.num_heads}")
    ours = ours.double().eval()
    x = torch.randn(2, 5, 21, dtype=torch.float64)
    with torch.no_grad():
        error = (ours(x) - theirs(x, x, x)[0]).abs().max()
    if error > 1e-4:
        raise Wrong(_what_was_not_copied(ours, theirs))


def _what_was_not_copied(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> str:
    chunks = dict(zip("qkv", theirs.in_proj_weight.chunk(3), strict=True))
    biases = dict(zip("qkv", theirs.in_proj_bias.chunk(3), strict=True))
    for name in "qkv":
        layer = getattr(ours, f"w_{name}")
        for other, rows in chunks.items():
            if torch.allclose(layer.weight.double(), rows) and other != name:
                return f"w_{name} holds the matrix of {other}: in_proj_weight is [q; k; v]"
            if torch.allclose(layer.weight.double(), rows.T):
                return f"w_{name} is transposed: both modules compute x @ weight.T"
        if not torch.allclose(layer.weight.double(), chunks[name]):
            return f"w_{name}.weight is not the part of in_proj_weight that belongs to {name}"
        if not torch.allclose(layer.bias.double(), biases[name]):
            return f"w_{name}.weight is right, but w_{name}.bias is not: copy in_proj_bias as well"
    if not torch.allclose(ours.w_o.weight.double(), theirs.out_proj.weight):
        return "the input projections are right, but w_o.weight is not out_proj.weight"
    return "all weights are right, but w_o.bias is not out_proj.bias"


def check_share(fn: Callable[..., Any]) -> None:
    """09.5: give every query head its key head."""
    for n_kv_heads, n_heads in ((2, 6), (3, 3), (1, 5)):
        k = torch.randn(BATCH, n_kv_heads, N, D_HEAD, generator=torch.Generator().manual_seed(3))
        got = _tensor(fn(k, n_heads))
        if got.shape == k.shape and n_heads != n_kv_heads:
            raise Wrong(f"{n_kv_heads} key heads for {n_heads} query heads came back unchanged")
        if got.ndim == 4 and got.shape[1] == n_kv_heads * n_heads and n_kv_heads > 1:
            raise Wrong(
                f"{n_kv_heads} key heads became {got.shape[1]}, not {n_heads}: repeat each one "
                "n_heads / n_kv_heads times, not n_heads times"
            )
        _require_shape(got, (BATCH, n_heads, N, D_HEAD))
        group = n_heads // n_kv_heads
        _recognise(
            got,
            right=k.repeat_interleave(group, dim=1),
            mistakes={
                "query heads 0, 1, 2, … get key heads 0, 1, 0, …: *neighbours* share a key head. "
                "Repeat each head, not the whole row of heads": k.repeat(1, group, 1, 1),
                "every query head got key head 0": k[:, :1].expand(-1, n_heads, -1, -1),
                "every query head got the mean of the key heads": (
                    k.mean(1, keepdim=True).expand(-1, n_heads, -1, -1)
                ),
            },
        )


class _Reshaped(nn.Module):
    """The classic bug: heads cut by a reshape alone, before and after."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.right = MultiHeadAttention(d_model, n_heads)

    def forward(self, x: Tensor) -> Tensor:
        mha, (b, n, d) = self.right, x.shape
        shape = (b, mha.n_heads, n, mha.d_head)
        q, k, v = (w(x).reshape(shape) for w in (mha.w_q, mha.w_k, mha.w_v))
        return mha.w_o(mha.attend(q, k, v).reshape(b, n, d))


class _Masked(nn.Module):
    """A layer of which only some tokens see some others."""

    def __init__(self, see: Tensor) -> None:
        super().__init__()
        self.right = MultiHeadAttention(12, 3)
        self.see = see

    def forward(self, x: Tensor) -> Tensor:
        return self.right(x, mask=self.see)


def _wrong_layers(n: int) -> list[tuple[nn.Module, str]]:
    """Layers in which some token misses another, and what that is."""
    own = torch.eye(n, dtype=torch.bool)
    first, blind, ignored = own.clone(), torch.ones_like(own), torch.ones_like(own)
    first[:, 0] = True
    blind[2] = own[2]
    ignored[:, 3] = False
    return [
        (_Reshaped(12, 3), "the layer that reshapes without a transpose"),
        (_Masked(first), "a layer whose tokens see only the first one"),
        (_Masked(torch.ones_like(own).tril()), "a causal layer"),
        (_Masked(blind), "a layer of which one output, not the first, sees only itself"),
        (_Masked(ignored), "a layer that ignores one input, neither the first nor the last"),
    ]


def check_test(fn: Callable[..., Any]) -> None:
    """09.6: a test that tells a right layer from a wrong one."""
    torch.manual_seed(4)
    heads = {3: "a right layer with 3 heads", 1: "a right layer with 1 head"}
    right = [(MultiHeadAttention(12, h), name) for h, name in heads.items()]
    wrong = _wrong_layers(6)
    found = [_seen(fn, layer) for layer, _ in right + wrong]
    if not any(found):
        raise Wrong(
            "your test says False for every layer, also for a right one: is True returned at all, "
            "and do you look whether outputs *move* by more than a rounding?"
        )
    for (_, name), answer in zip(right, found, strict=False):
        if not answer:
            raise Wrong(
                f"your test says False for {name}: outputs that hardly move still move; is the "
                "tolerance larger than a rounding of float32 calls for?"
            )
    for (_, name), answer in zip(wrong, found[len(right) :], strict=True):
        if answer:
            raise Wrong(
                f"your test says True for {name}: change one token at a time, each in turn, and "
                "look whether *every* output moves"
            )


def _seen(fn: Callable[..., Any], layer: nn.Module) -> bool:
    """Ask the reader's test about one layer."""
    try:
        got = fn(layer.eval(), 6, 12)
    except RuntimeError as error:
        if "dtype" not in str(error):
            raise
        raise Wrong("the layers are float32: make x with torch.randn(1, n, d)") from error
    if not isinstance(got, bool):
        raise Wrong(f"returned {type(got).__name__}; return True or False (use bool(...))")
    return got


def _tensor(value: object) -> Tensor:
    if value is None:
        raise Wrong("returned None, not a tensor: is the return missing?")
    if isinstance(value, tuple | list):
        raise Wrong(f"returned {len(value)} pieces in a {type(value).__name__}, not one tensor")
    if not isinstance(value, Tensor):
        raise Wrong(f"returned {type(value).__name__}, not a tensor")
    return value


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def _require_shape(got: Tensor, shape: tuple[int, ...]) -> None:
    if got.shape != shape:
        raise Wrong(f"the shape is {_shape(got)}, but should be {shape}")


def _recognise(got: Tensor, *, right: Tensor, mistakes: Mapping[str, Tensor]) -> None:
    """Pass when right; else name the mistake that gives exactly this result."""
    if torch.allclose(got, right, atol=1e-6):
        return
    for diagnosis, wrong in mistakes.items():
        if torch.allclose(got, wrong, atol=1e-6):
            raise Wrong(diagnosis)
    raise Wrong("the shape is right, but the numbers are not; compare one head by hand")


CHECKERS = {
    "09.1": check_split,
    "09.2": check_contributions,
    "09.3": check_cost,
    "09.4": check_from_torch,
    "09.5": check_share,
    "09.6": check_test,
}
