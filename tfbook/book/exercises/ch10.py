"""Checkers of chapter 10, Masks, padding and cross-attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tfbook.attention import attention, causal_mask, padding_mask
from tfbook.book.exercises import Wrong


def check_causal(fn: Callable[..., Any]) -> None:
    """10.1: the causal mask, aligned bottom-right."""
    square = _boolean(fn(5, 5), (5, 5))
    right = causal_mask(5)
    _recognise(
        square,
        right,
        {
            "row 0 sees position 1: is the mask transposed?": right.T,
            "positions do not see themselves, so row 0 sees nothing: include the diagonal": (
                right.tril(diagonal=-1)
            ),
            "the future is visible and the past is hidden: True must mean *may attend*": ~right,
            "everything is visible: where is the triangle?": torch.ones_like(right),
        },
    )
    cached = _boolean(fn(2, 6), (2, 6))
    _recognise(
        cached,
        causal_mask(2, 6),
        {
            "with 2 queries and 6 keys the first query sees key 0 only: the triangle is aligned "
            "top-left. The queries are the *last* positions: shift the diagonal by n_k - n_q": (
                torch.ones(2, 6, dtype=torch.bool).tril()
            ),
            "with 2 queries and 6 keys the last query does not see the last key: the shift is "
            "n_k - n_q": torch.ones(2, 6, dtype=torch.bool).tril(diagonal=3),
        },
        otherwise="the square mask is right, but that of 2 queries and 6 keys is not",
    )


def check_padding(fn: Callable[..., Any]) -> None:
    """10.2: the padding mask."""
    lengths = torch.tensor([2, 5, 3])
    got = _call(
        fn,
        lengths,
        5,
        hint="turn the lengths into a column, lengths[:, None], so that each is compared with "
        "every position",
    )
    if isinstance(got, Tensor) and got.shape == (3, 5):
        raise Wrong(
            "the shape is (3, 5): the batch axis would be taken for queries. Add axes for heads "
            "and queries in the middle: (3, 1, 1, 5)"
        )
    if isinstance(got, Tensor) and got.shape == (3, 1, 5, 1):
        raise Wrong(
            "the shape is (3, 1, 5, 1): this hides padding *queries*. Keys are the last axis: "
            "(3, 1, 1, 5)"
        )
    right = padding_mask(lengths, 5)
    got = _boolean(got, (3, 1, 1, 5))
    positions = torch.arange(5)
    _recognise(
        got,
        right,
        {
            "real tokens are hidden and padding is visible: True must mean *may attend*": ~right,
            "one padding token too many is visible: positions count from 0, so compare with <": (
                positions <= lengths[:, None, None, None]
            ),
            "the last real token is hidden: length ℓ means positions 0 … ℓ - 1": (
                positions < lengths[:, None, None, None] - 1
            ),
            "the padding is at the start: here it follows the real tokens": right.flip(-1),
        },
    )


def check_softmax(fn: Callable[..., Any]) -> None:
    """10.3: a softmax that respects a mask and survives empty rows."""
    scores = torch.randn(2, 4, 4, generator=_generator(0)).double()
    mask = causal_mask(4).clone()
    mask[2] = False
    leaf = scores.clone().requires_grad_()
    got = _tensor(
        _call(
            fn,
            leaf,
            mask,
            hint="if it names an in-place operation: make a new tensor (masked_fill) instead of "
            "writing into scores",
        ),
        (2, 4, 4),
    )
    if got[:, 2].isnan().any():
        raise Wrong(
            "row 2 sees nothing and is NaN: a softmax of -inf alone is 0/0. Give such a row finite "
            "scores, and set its weights to zero afterwards"
        )
    if (got[:, 2] - 0.25).abs().max() < 1e-6:
        raise Wrong(
            "row 2 sees nothing, yet it attends to all keys alike: a finite stand-in for -inf does "
            "that. Set the weights of such rows to zero"
        )
    if (got[:, 2] != 0).any():
        raise Wrong("row 2 sees nothing, but its weights are not zero")
    if (got[:, ~mask] > 0).any():
        raise Wrong("hidden keys have weight: is the mask inverted, or applied to the wrong axis?")
    unnormalised = scores.softmax(-1) * mask
    if torch.allclose(got, unnormalised):
        raise Wrong(
            "row 0 does not sum to one: you masked after the softmax. Mask the scores, before it"
        )
    right = scores.masked_fill(~mask, -1e30).softmax(-1) * mask.any(-1, keepdim=True)
    if not torch.allclose(got, right):
        raise Wrong("the weights of visible keys are wrong: do the rows sum to one?")
    (gradient,) = torch.autograd.grad((got * scores).sum(), leaf)
    if gradient.isnan().any():
        raise Wrong(
            "the weights are right, but the gradient is NaN: replacing NaN after the softmax comes "
            "too late for the backward pass. Make the scores of empty rows finite before it"
        )
    large = fn(1000 * scores, mask)
    if not torch.isfinite(large).all() or not torch.allclose(large.sum(-1), mask.any(-1).double()):
        raise Wrong(
            "right for small scores, but at scores of about 1000 the weights are not finite or do "
            "not sum to one: exp overflows. Subtract the row's largest score first, or use softmax"
        )


def check_packed(fn: Callable[..., Any]) -> None:
    """10.4: the causal mask of texts packed into one row."""
    documents = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 2, 2]])
    same = documents[:, None, :, None] == documents[:, None, None, :]
    causal = causal_mask(5)
    got = fn(documents)
    if isinstance(got, Tensor) and got.shape == (2, 5, 5):
        raise Wrong("the shape is (2, 5, 5): add an axis for the heads, (2, 1, 5, 5)")
    got = _boolean(got, (2, 1, 5, 5))
    everything = causal.expand(2, 1, 5, 5)
    _recognise(
        got,
        same & causal,
        {
            "token 3 begins a new text, but still sees the text before: compare the documents of "
            "query and key": everything,
            "tokens see later tokens of their own text: the model is causal": same,
            "token 0 sees tokens 1 and 2: is the triangle transposed?": same & causal.T,
            "no token sees itself, so the first of each text sees nothing: include the diagonal": (
                same & causal.tril(diagonal=-1)
            ),
            "a token sees earlier texts *or* its own future: join the two rules with &, not |": (
                same | causal
            ),
            "a token sees every other text and not its own: True must mean *may attend*": ~(
                same & causal
            ),
        },
    )


def check_cross(fn: Callable[..., Any]) -> None:
    """10.5: cross-attention with one head."""
    generator = _generator(1)
    x = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    context = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    w_q, w_k, w_v = torch.randn(3, 7, 11, generator=generator, dtype=torch.float64)
    got = _call(
        fn,
        x,
        context,
        w_q,
        w_k,
        w_v,
        hint="x has 3 tokens and context 5. Keys and values both come from context; scores are "
        "q @ k.transpose(-2, -1), of shape (2, 3, 5)",
    )
    if isinstance(got, Tensor) and got.shape == (2, 5, 11):
        raise Wrong(
            "there is one output per context token: queries come from x, keys and values from "
            "context. Are they exchanged?"
        )
    got = _tensor(got, (2, 3, 11))
    q, k, v = x @ w_q, context @ w_k, context @ w_v
    scores = q @ k.mT
    _recognise(
        got,
        attention(q, k, v),
        {
            "keys and values come from x: this is self-attention. Take them from context": (
                attention(q, x @ w_k, x @ w_v)
            ),
            "the scores are not divided by √d_head": scores.softmax(-1) @ v,
            "a causal mask hides part of the context: query and key positions belong to two "
            "sequences, and every query may see all keys": (
                attention(q, k, v, mask=causal_mask(3, 5))
            ),
            "a causal mask (top-left) hides part of the context: every query may see all keys": (
                attention(q, k, v, mask=torch.ones(3, 5, dtype=torch.bool).tril())
            ),
            "the softmax runs over the queries: each row must sum to one over the keys": (
                (scores / math.sqrt(11)).softmax(-2) @ v
            ),
            "the scores are divided by √d of the input, 7, not by √d_head, 11": (
                (scores / math.sqrt(7)).softmax(-1) @ v
            ),
            "keys and values are exchanged: the weights come from w_k, the average from w_v": (
                attention(q, v, k)
            ),
        },
    )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _call(fn: Callable[..., Any], *arguments: Any, hint: str) -> Any:
    """Run an answer; an error of PyTorch becomes a diagnosis."""
    try:
        return fn(*arguments)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        raise Wrong(f"PyTorch stops with: {error}. A hint: {hint}") from error


def _tensor(got: Any, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(got, Tensor):
        raise Wrong(f"a {type(got).__name__} came back: return a tensor")
    if tuple(got.shape) != shape:
        raise Wrong(f"the shape is {tuple(got.shape)}, it should be {shape}")
    return got


def _boolean(got: Any, shape: tuple[int, ...]) -> Tensor:
    got = _tensor(got, shape)
    if got.dtype != torch.bool:
        raise Wrong(
            f"the dtype is {got.dtype}: a mask is boolean, or 1 is added to a score where True "
            "was meant"
        )
    return got


def _recognise(
    got: Tensor,
    right: Tensor,
    mistakes: Mapping[str, Tensor],
    otherwise: str = "the values differ from the solution",
) -> None:
    """Pass the right answer, name the wrong ones, and show where any other differs."""
    if torch.allclose(got.double(), right.double()):
        return
    for diagnosis, wrong in mistakes.items():
        if torch.allclose(got.double(), wrong.double().expand_as(right)):
            raise Wrong(diagnosis)
    index = tuple((got.double() - right.double()).abs().nonzero()[0].tolist())
    raise Wrong(
        f"{otherwise}: at {index} stands {got[index].item()}, it should be {right[index].item()}"
    )


CHECKERS = {
    "10.1": check_causal,
    "10.2": check_padding,
    "10.3": check_softmax,
    "10.4": check_packed,
    "10.5": check_cross,
}
