"""The headline claims of chapter 16 fail when the classic mistakes are planted."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor
from torch.utils import flop_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import run_cells

from tfbook import evaluation
from tfbook.attention import KVCache, MultiHeadAttention, attention
from tfbook.book import ClaimError
from tfbook.shapes import merge_heads

NOTEBOOK = "16-counting-cost.ipynb"
SETUP = ("setup(seed=0)", "def counted(run)", "def layer_runs(", "def kept_bytes(")
GRID = "GRID = ["
CHECK = (*SETUP, GRID, '"b053"')
WORK = (*SETUP, "def fit(terms, counts)", "measured_work = {", "def exactly(", '"c132"')
SPAN = (*WORK[:-1], "def exactly(", "def chains(y)", "def span(run", "def linear(numbers)")
STEPS = (*SPAN, "def stacked(layer, times)", "def steady(", '"c215"')
REACH = (*SETUP, "def layers_to_cross(", '"c210"')
DECODER = (*SETUP, "def fit(terms, counts)", "def decoder_flops(", "def most_of_it(", '"c207"')
MEMORY = (*WORK[:-1], "def exactly(", "def block_memory(", '"c209"')
CROSSOVER = (*SETUP, "def block_flops(", "def pieces(n", "def crossovers(d", '"c211"')
AT_ONCE = (*SPAN, "def inputs_first(", "def work_of(", "def times(", '"c222"')
CARRIED = (*SETUP, "def fit(terms", "def block_flops(", "KEPT_AT = (", "def predicted_kept(",
           "def per_token(")  # fmt: skip
TRAFFIC = (*SETUP, "class Traffic(", "def one_token(", '"c213"')
FORMULAS = (*SETUP, "class Tally(", "def both(", "def as_the_formulas_say(")
ALL = {"check": CHECK, "work": WORK, "steps": STEPS, "reach": REACH, "decoder": DECODER,
       "memory": MEMORY, "at once": AT_ONCE, "crossover": CROSSOVER, "carried": CARRIED,
       "traffic": TRAFFIC, "formulas": (*FORMULAS, '"c306"')}  # fmt: skip


@pytest.fixture(autouse=True)
def default_device() -> None:
    """Stay on the CPU, for which the saved bytes are stated."""


@pytest.mark.parametrize("cells", ALL)
def test_the_claims_hold_as_they_stand(cells: str) -> None:
    run_cells(NOTEBOOK, *ALL[cells])


def _edit(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Let the notebook be read with one line changed."""
    read = nbformat.read

    def edited(*args: Any, **kw: Any) -> Any:
        notebook = read(*args, **kw)
        holders = [cell for cell in notebook.cells if old in cell.source]
        assert len(holders) == 1
        holders[0].source = holders[0].source.replace(old, new)
        return notebook

    monkeypatch.setattr(nbformat, "read", edited)


def test_multiply_adds_taken_for_flops_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation.Cost, "flops", property(lambda self: self.multiply_adds))
    with pytest.raises(ClaimError, match="FLOPs and complexity analysis"):
        run_cells(NOTEBOOK, *SETUP, GRID, '"FLOPs and complexity analysis"')


def _let_any_kernel_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.attention, "sdpa_kernel", lambda _: contextlib.nullcontext())


def test_a_counter_that_misses_the_kernel_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    # The careless counter of the section on bugs: the fused kernel is invisible.
    _let_any_kernel_run(monkeypatch)
    with pytest.raises(ClaimError, match="FLOPs and complexity analysis"):
        run_cells(NOTEBOOK, *SETUP, GRID, '"FLOPs and complexity analysis"')


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


def test_attention_among_features_fails_c306_at_two_primes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def among_features(self: MultiHeadAttention, x: Tensor) -> Tensor:
        q, k, v = (heads.mT for heads in self.project(x))
        return self.w_o(merge_heads(attention(q, k, v).mT).contiguous())

    monkeypatch.setattr(MultiHeadAttention, "forward", among_features)
    as_the_formulas_say = run_cells(NOTEBOOK, *FORMULAS)["as_the_formulas_say"]
    assert as_the_formulas_say(512, 512)
    assert not as_the_formulas_say(211, 307)
    with pytest.raises(ClaimError, match="c306"):
        run_cells(NOTEBOOK, *FORMULAS, '"c306"')


def test_a_count_of_the_visible_half_fails_c211(monkeypatch: pytest.MonkeyPatch) -> None:
    bmm = torch.ops.aten.bmm
    count = flop_counter.flop_registry[bmm]
    monkeypatch.setitem(flop_counter.flop_registry, bmm, lambda *a, **kw: count(*a, **kw) // 2)
    with pytest.raises(ClaimError, match="c211"):
        run_cells(NOTEBOOK, *CROSSOVER)


def test_parameters_read_once_a_sequence_instead_of_once_a_call_fail_c213(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = torch.nn.LSTMCell.forward

    def one_by_one(self: torch.nn.LSTMCell, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        rows = [
            forward(self, x[i : i + 1], tuple(s[i : i + 1] for s in state)) for i in range(len(x))
        ]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    monkeypatch.setattr(torch.nn.LSTMCell, "forward", one_by_one)
    with pytest.raises(ClaimError, match="c213"):
        run_cells(NOTEBOOK, *TRAFFIC)


@pytest.mark.parametrize(("claimed", "cells"), [("c220", SPAN), ("c222", AT_ONCE)])
def test_a_loop_hidden_in_one_call_fails(
    claimed: str, cells: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _edit(
        monkeypatch,
        '"LSTM": lambda x: stepped(lstm_cell, x)',
        '"LSTM": lambda x: nn.LSTM(8, 8, batch_first=True)(x)[0]',
    )
    with pytest.raises(ClaimError, match=claimed):
        run_cells(NOTEBOOK, *cells, f'"{claimed}"')


def test_a_cache_of_keys_alone_fails_c301(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KVCache, "n_bytes", property(lambda self: self.keys.nbytes))
    with pytest.raises(ClaimError, match="c301"):
        run_cells(NOTEBOOK, *CARRIED)


def test_a_fused_kernel_taken_for_step_by_step_fails_c301(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_any_kernel_run(monkeypatch)
    with pytest.raises(ClaimError, match="c301"):
        run_cells(NOTEBOOK, *CARRIED)


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
