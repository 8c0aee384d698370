"""Scores of additive attention: by hand, and the chunked form against the equation."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tfbook.attention import additive_scores, chunked_additive_scores

BATCH, N_Q, N_K, D_HIDDEN = 2, 5, 7, 3
BOTH = (additive_scores, chunked_additive_scores)
LIMITS = ("CPU_CHUNK", "DEVICE_CHUNK")
Scores = Callable[[Tensor, Tensor, Tensor], Tensor]


def projected(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(BATCH, N_Q, D_HIDDEN, dtype=dtype),
        torch.randn(BATCH, N_K, D_HIDDEN, dtype=dtype),
        torch.randn(D_HIDDEN, dtype=dtype),
    )


def limit_chunks(patch: pytest.MonkeyPatch, numel: int) -> None:
    for name in LIMITS:
        patch.setattr(f"tfbook.attention.additive_scoring.{name}", numel)


class Largest(TorchDispatchMode):
    """The numbers of the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.parametrize("score", BOTH)
def test_scores_worked_by_hand(score: Scores) -> None:
    # tanh(ln 2) = (4 - 1) / (4 + 1) and tanh(ln 3) = (9 - 1) / (9 + 1).
    q, k = torch.tensor([[math.log(2.0), 0.0]]), torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    got = score(q, k, torch.tensor([10.0, 1.0]))
    torch.testing.assert_close(got, torch.tensor([[6.0, 6.8]]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("limit", [1, 25, 50, 130, 10**6])
def test_chunks_give_the_equation_and_its_gradients(
    limit: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_chunks(monkeypatch, limit)
    tensors = [x.requires_grad_() for x in projected(dtype)]
    outputs, slopes = [], []
    for score in BOTH:
        scores = score(*tensors)
        outputs.append(scores)
        slopes.append(torch.autograd.grad(scores.sin().sum(), tensors))
    close(outputs[1], outputs[0])
    for ours, theirs in zip(*reversed(slopes), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("limit", [1, 50])
def test_gradients_are_those_of_finite_differences(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_chunks(monkeypatch, limit)
    tensors = [x.requires_grad_() for x in projected(torch.float64)]
    assert torch.autograd.gradcheck(chunked_additive_scores, tensors)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(0, 6)] * 3, st.integers(1, 6)),
    limit=st.integers(1, 200),
    size=st.sampled_from([0.1, 1.0, 50.0]),
    seed=st.integers(0, 2**31),
)
def test_chunks_of_any_size(
    sizes: tuple[int, int, int, int], limit: int, size: float, seed: int
) -> None:
    batch, n_q, n_k, d = sizes
    generator = torch.Generator().manual_seed(seed)
    shapes = (batch, n_q, d), (batch, n_k, d), (d,)
    q, k, w = (
        torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        for shape in shapes
    )
    with pytest.MonkeyPatch.context() as patch:
        limit_chunks(patch, limit)
        got = chunked_additive_scores(size * q, size * k, w)
    torch.testing.assert_close(got, additive_scores(size * q, size * k, w), atol=1e-12, rtol=0)


def test_the_features_of_all_pairs_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    n, d = 37, 29
    tensors = [torch.randn(*shape, requires_grad=True) for shape in ((1, n, d), (1, n, d), (d,))]
    limit_chunks(monkeypatch, 4 * n * d)
    with Largest() as largest:
        chunked_additive_scores(*tensors).sum().backward()
    assert largest.numel <= 4 * n * d
    with Largest() as largest:
        additive_scores(*tensors).sum().backward()
    assert largest.numel == n * n * d


def test_autograd_keeps_only_queries_keys_and_the_vector() -> None:
    tensors = [x.requires_grad_() for x in projected()]
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x), lambda x: x):
        chunked_additive_scores(*tensors)
    assert sum(x.numel() for x in kept) == sum(x.numel() for x in tensors)


def test_autocast_leaves_the_scores_in_float32() -> None:
    tensors = projected()
    with torch.autocast(tensors[0].device.type, torch.bfloat16):
        scores = chunked_additive_scores(*tensors)
    close(scores, additive_scores(*tensors))


def test_large_scores_saturate() -> None:
    q, k = torch.tensor([[500.0, -500.0, 500.0]]), torch.tensor([[500.0, -500.0, -500.0]])
    got = chunked_additive_scores(q, k, torch.tensor([1.0, 2.0, 4.0]))
    torch.testing.assert_close(got, torch.tensor([[-1.0]]))


@pytest.mark.parametrize("score", BOTH)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(k=torch.zeros(BATCH, N_K, 2)), r"q has shape \(2, 5, 3\) and k \(2, 7, 2\)"),
        (dict(k=torch.zeros(1, N_K, D_HIDDEN)), "must agree in all axes but"),
        (dict(w=torch.zeros(2)), r"w has shape \(2,\), but must weigh each of the 3 features"),
    ],
)
def test_bad_scores(score: Scores, change: dict[str, Tensor], message: str) -> None:
    assert additive_scores is not chunked_additive_scores
    arguments = dict(zip("qkw", projected(), strict=True), **change)
    with pytest.raises(ValueError, match=message):
        score(*arguments.values())


def test_higher_derivatives_are_refused() -> None:
    tensors = [x.requires_grad_() for x in projected()]
    total = chunked_additive_scores(*tensors).sin().sum()
    (slope,) = torch.autograd.grad(total, tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
