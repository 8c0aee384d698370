"""The headline claims of chapter 16 fail when the classic mistakes are planted."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import run_cells

from tfbook import evaluation
from tfbook.attention import MultiHeadAttention
from tfbook.book import ClaimError

NOTEBOOK = "16-counting-cost.ipynb"
SETUP = ("setup(seed=0)", "def counted(run)", "def layer_runs(", "def kept_bytes(")
GRID = "GRID = ["
CHECK = (*SETUP, GRID, '"b053"')
WORK = (*SETUP, "def fit(terms, counts)", "measured_work = {", "def exactly(", '"c132"')
SPAN = (*WORK[:-1], "def exactly(", "def chains(y)", "def span(run", "def linear(numbers)")
STEPS = (*SPAN, "def stacked(layer, times)", "def steady(", '"c215"')
REACH = (*SETUP, "def layers_to_cross(", '"c210"')
DECODER = (*SETUP, "def fit(terms, counts)", "def decoder_flops(", '"c207"')
MEMORY = (*WORK[:-1], "def exactly(", "def block_memory(", '"c209"')
ALL = {"check": CHECK, "work": WORK, "steps": STEPS, "reach": REACH, "decoder": DECODER,
       "memory": MEMORY}  # fmt: skip


@pytest.fixture(autouse=True)
def default_device() -> None:
    """Stay on the CPU, for which the saved bytes are stated."""


@pytest.mark.parametrize("cells", ALL)
def test_the_claims_hold_as_they_stand(cells: str) -> None:
    run_cells(NOTEBOOK, *ALL[cells])


def test_multiply_adds_taken_for_flops_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation.Cost, "flops", property(lambda self: self.multiply_adds))
    with pytest.raises(ClaimError, match="FLOPs and complexity analysis"):
        run_cells(NOTEBOOK, *SETUP, GRID, '"CNN for sequences"')


def _let_any_kernel_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.attention, "sdpa_kernel", lambda _: contextlib.nullcontext())


def test_a_counter_that_misses_the_kernel_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    # The careless counter of the section on bugs: the fused kernel is invisible.
    _let_any_kernel_run(monkeypatch)
    with pytest.raises(ClaimError, match="FLOPs and complexity analysis"):
        run_cells(NOTEBOOK, *SETUP, GRID, '"CNN for sequences"')


def test_a_fused_kernel_taken_for_step_by_step_fails_c209(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_any_kernel_run(monkeypatch)
    with pytest.raises(ClaimError, match="c209"):
        run_cells(NOTEBOOK, *MEMORY)


def test_forgotten_attention_weights_in_the_prediction_fail_b053(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = evaluation.attention_cost

    def forgets(work: Any, **sizes: Any) -> Any:
        return right(replace(work, fused=True), **sizes)

    monkeypatch.setattr(evaluation, "attention_cost", forgets)
    with pytest.raises(ClaimError, match="b053"):
        run_cells(NOTEBOOK, *CHECK)


def test_cross_attention_that_reads_the_target_fails_c207(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = MultiHeadAttention.forward

    def no_memory(self: MultiHeadAttention, x: Tensor, context: Any = None, **kw: Any) -> Tensor:
        return forward(self, x, None, **kw)  # keys and values of the target, not of the source

    monkeypatch.setattr(MultiHeadAttention, "forward", no_memory)
    with pytest.raises(ClaimError, match="c207"):
        run_cells(NOTEBOOK, *DECODER)


def test_dilations_that_do_not_grow_fail_c210(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.conv1d

    def contiguous(x: Tensor, weight: Tensor, *args: Any, **kw: Any) -> Tensor:
        y = right(x, weight, *args, **{**kw, "dilation": 1}) if kw else right(x, weight, *args)
        return y[..., (weight.shape[-1] - 1) * (kw.get("dilation", 1) - 1) :]

    monkeypatch.setattr(torch.nn.functional, "conv1d", contiguous)
    with pytest.raises(ClaimError, match="c210"):
        run_cells(NOTEBOOK, *REACH)
