"""The headline claims of chapter 12 fail when the classic mistakes are planted."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

import tfbook.book
import tfbook.positions
from tfbook.attention import MultiHeadAttention
from tfbook.book import ClaimError, recipe_log
from tfbook.positions import ALiBi, RotaryEmbedding

NOTEBOOK = "12-relative-positions.ipynb"
SETUP = ("setup(seed=0)",)
PRODUCT = (*SETUP, "def rotary_score(", '"c096"')
BLOCK = (*SETUP, "def watched(", '"c156"')
LINE = (*BLOCK, "def plain_slopes(", '"c159"')
WAVES = (*SETUP, '"Sandwich encoding"', '"c155"')
PLACES = (*SETUP, "def attend(", "def package_gap(", '"c086"', '"c095"')
GRID = (*SETUP, "def plain_axial(", '"b073"')
LENGTH = (
    *SETUP,
    'log = recipe_log("length")',
    "proper = {",
    "shown = {",
    '"c062"',
    '"c047"',
)
BUGS = (*SETUP, "def token_by_token(", '"b070"')


def sources(marker: str) -> str:
    """The first code cell that holds the marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return next(c.source for c in cells if c.cell_type == "code" and marker in c.source)


def test_the_claims_hold_as_they_stand() -> None:
    for cells in (PRODUCT, LINE, WAVES, PLACES, GRID, LENGTH, BUGS):
        run_cells(NOTEBOOK, *cells)


def queries_only(self: RotaryEmbedding, x: Tensor, positions: Tensor | None = None) -> Tensor:
    """Every second call, which is for the keys, turns nothing."""
    calls = getattr(self, "calls", 0)
    self.calls = calls + 1
    return x if calls % 2 else FORWARD(self, x, positions)


def stretched(self: RotaryEmbedding, x: Tensor, positions: Tensor | None = None) -> Tensor:
    """Longer queries and keys, as with the sum of the old and the turned."""
    return x + FORWARD(self, x, positions)


FORWARD = RotaryEmbedding.forward


@pytest.mark.parametrize(
    ("bug", "cells", "name"),
    [
        (queries_only, PRODUCT, "c096"),
        (queries_only, BLOCK, "c156"),
        (stretched, BLOCK, "c156"),
        (queries_only, PLACES, "c095"),
    ],
)
def test_a_wrong_rotation_fails(
    bug: Any, cells: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RotaryEmbedding, "forward", bug)
    with pytest.raises(ClaimError, match=name):
        run_cells(NOTEBOOK, *cells)


def test_turned_values_fail_c156(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotary code that turns all three of queries, keys and values."""
    project = MultiHeadAttention.project

    def turned(self: MultiHeadAttention, *args: Any, **options: Any) -> tuple[Tensor, ...]:
        q, k, v = project(self, *args, **options)
        if self.rotate is not None:
            v = FORWARD(self.rotate, v, options.get("positions"))  # no hook sees this call
        return q, k, v

    monkeypatch.setattr(MultiHeadAttention, "project", turned)
    with pytest.raises(ClaimError, match="c156"):
        run_cells(NOTEBOOK, *BLOCK)


def test_a_scale_on_the_distance_fails_c159(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = ALiBi.forward
    monkeypatch.setattr(ALiBi, "forward", lambda self, q, k: -forward(self, q, k).abs().sqrt())
    with pytest.raises(ClaimError, match="c159"):
        run_cells(NOTEBOOK, *LINE)


def test_one_slope_for_all_heads_fails_c159(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = ALiBi.forward
    monkeypatch.setattr(
        ALiBi, "forward", lambda self, q, k: forward(self, q, k)[:1].expand(8, -1, -1)
    )
    with pytest.raises(ClaimError, match="c159"):
        run_cells(NOTEBOOK, *LINE)


def test_a_bias_of_the_index_fails_c095(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bias of the key's position instead of its distance."""
    forward = ALiBi.forward
    monkeypatch.setattr(ALiBi, "forward", lambda self, q, k: forward(self, torch.zeros_like(q), k))
    with pytest.raises(ClaimError, match="c095"):
        run_cells(NOTEBOOK, *PLACES)


def test_a_mixed_term_in_sandwich_fails_c155(monkeypatch: pytest.MonkeyPatch) -> None:
    """A projection between the two codes: no longer a function of the distance."""
    forward = tfbook.positions.Sandwich.forward

    def mixed(self: Any, q: Tensor, k: Tensor) -> Tensor:
        return forward(self, q, k) + 0.01 * k

    source = sources('"c155"')
    namespace = run_cells(NOTEBOOK, *SETUP, '"Sandwich encoding"')
    monkeypatch.setattr(tfbook.positions.Sandwich, "forward", mixed)
    with pytest.raises(ClaimError, match="c155"):
        exec(source, namespace)


def test_one_axis_for_both_fails_b073(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and columns added up: a diagonal step looks like none."""
    angles = tfbook.positions.AxialRotaryEmbedding.angles
    monkeypatch.setattr(
        tfbook.positions.AxialRotaryEmbedding,
        "angles",
        lambda self, p: angles(self, p.sum(-1, keepdim=True).expand(*p.shape)),
    )
    with pytest.raises(ClaimError, match="b073"):
        run_cells(NOTEBOOK, *GRID)


def test_converted_weights_fail_b070() -> None:
    """The chapter's bug, mended where the chapter leaves it."""
    namespace = run_cells(NOTEBOOK, *SETUP)
    source = sources("def token_by_token(")
    planted = source.replace(
        "layer_with(RotaryEmbedding(8)), lambda t: t", "reference, lambda t: t"
    )
    assert planted != source
    exec(planted, namespace)
    with pytest.raises(ClaimError, match="b070"):
        exec(sources('"b070"'), namespace)


@pytest.mark.parametrize(
    ("scheme", "like", "name"),
    [
        ("rotary", "alibi", "c062"),
        ("alibi", "rotary", "c062"),
        ("sinusoidal", "alibi", "c062"),
        ("none", "rotary", "c062|c150|c047"),
        ("t5_faster", "t5", "c047"),
    ],
)
def test_a_scheme_with_the_losses_of_another_fails(
    scheme: str, like: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a model had been measured under the wrong name."""
    log = copy.deepcopy(recipe_log("length"))
    losses = {(r["positions"], r["seed"]): r["evaluations"] for r in log["runs"]}
    for run in log["runs"]:
        if run["positions"] == scheme:
            other = losses.get((like, run["seed"])) or losses[like, 1]
            run["evaluations"] = [e for e in other if e["scaling"] is None]
    monkeypatch.setattr(tfbook.book, "recipe_log", lambda _: log)
    with pytest.raises(ClaimError, match=name):
        run_cells(NOTEBOOK, *LENGTH)
