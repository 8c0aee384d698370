"""The headline claims of chapter 11 fail when the classic mistakes are planted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

import tfbook.positions
from tfbook.attention import MultiHeadAttention
from tfbook.book import ClaimError

NOTEBOOK = "11-absolute-positions.ipynb"
SETUP = ("setup(seed=0)", "def plain_code(")
SYMMETRY = ("setup(seed=0)", "n, d_model = 11, 40", "above = MultiHead", '"c046"')
SPEED = (*SETUP, "width, span = 512", '"c290"')
SHIFT = (*SETUP, "def rotation(", '"c291"')
DISTINCT = (*SETUP, "def smallest_distance(", '"c292"')
COUNTING = (*SYMMETRY, '"b041"')
AXIS = (*SYMMETRY, "def wrong_axis(", '"b043"')
COUNTED = (*SETUP, "def dimension_code(", '"c149"')
NEAR = (*SETUP, "far = 1000", '"c151"')
GRADIENTS = (*SYMMETRY, "def random_encoder(", "added = {", '"c293"')


def sources(*markers: str) -> dict[str, str]:
    """The first code cell that holds each marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return {
        marker: next(c.source for c in cells if c.cell_type == "code" and marker in c.source)
        for marker in markers
    }


def test_the_claims_hold_as_they_stand() -> None:
    for cells in (SPEED, SHIFT, DISTINCT, COUNTING, AXIS, COUNTED, NEAR, GRADIENTS):
        run_cells(NOTEBOOK, *cells)


def test_a_mask_that_is_ignored_fails_c046_and_b041(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = MultiHeadAttention.forward

    def see_all(self: MultiHeadAttention, *args: Any, **kw: Any) -> Any:
        return forward(self, *args, **{**kw, "causal": False})

    namespace = run_cells(NOTEBOOK, *SYMMETRY)
    monkeypatch.setattr(MultiHeadAttention, "forward", see_all)
    with pytest.raises(ClaimError, match="c046"):
        run_cells(NOTEBOOK, *SYMMETRY)
    with pytest.raises(ClaimError, match="b041"):
        exec(sources('"b041"')['"b041"'], namespace)


def test_a_mask_that_is_always_there_fails_c046(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = MultiHeadAttention.forward

    def see_the_past(self: MultiHeadAttention, *args: Any, **kw: Any) -> Any:
        return forward(self, *args, **{**kw, "causal": True})

    monkeypatch.setattr(MultiHeadAttention, "forward", see_the_past)
    with pytest.raises(ClaimError, match="c046"):
        run_cells(NOTEBOOK, *SYMMETRY)


def by_column(n: int, d_model: int, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    """The index of the column taken for the index of the pair."""
    column = torch.arange(d_model)
    angle = torch.arange(n).double()[:, None] / 10_000.0 ** (2 * column / d_model)
    code = torch.where(column % 2 == 0, angle.sin(), angle.cos())
    return code.to(dtype or torch.get_default_dtype())


def reversed_order(n: int, d_model: int, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    """Slow columns first."""
    i = torch.arange(d_model // 2 - 1, -1, -1)
    angle = torch.arange(n).double()[:, None] / 10_000.0 ** (2 * i / d_model)
    code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return code.to(dtype or torch.get_default_dtype())


def all_sines_first(n: int, d_model: int, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    """Another order of the columns: a rotation in blocks does not fit it."""
    angle = torch.arange(n).double()[:, None] / 10_000.0 ** (
        2 * torch.arange(d_model // 2) / d_model
    )
    code = torch.cat([angle.sin(), angle.cos()], dim=1)
    return code.to(dtype or torch.get_default_dtype())


@pytest.mark.parametrize(
    ("bug", "cells", "name"),
    [
        (by_column, SPEED, "c290"),
        (reversed_order, SPEED, "c290"),
        (by_column, SHIFT, "c291"),
        (all_sines_first, SHIFT, "c291"),
        (by_column, DISTINCT, "c292"),
        (by_column, COUNTED, "c149"),
        (by_column, NEAR, "c151"),
    ],
)
def test_a_wrong_table_fails(
    bug: Any, cells: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The notebook imports the name from the package in its second cell.
    monkeypatch.setattr(tfbook.positions, "sinusoidal_table", bug)
    with pytest.raises(ClaimError, match=name):
        run_cells(NOTEBOOK, *cells)


def test_positions_along_the_batch_fail_b043() -> None:
    """The chapter's bug, planted where the chapter has the right line."""
    namespace = run_cells(NOTEBOOK, *SYMMETRY)
    source = sources("def wrong_axis(", '"b043"')
    planted = source["def wrong_axis("].replace("x + table[: x.shape[1]]", "x + table[:1]")
    assert planted != source["def wrong_axis("]
    exec(planted, namespace)
    with pytest.raises(ClaimError, match="b043"):
        exec(source['"b043"'], namespace)


def test_a_path_that_is_cut_fails_c293(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = tfbook.positions.SinusoidalPositions.forward

    def detached(self: Any, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return forward(self, x.detach(), positions)

    monkeypatch.setattr(tfbook.positions.SinusoidalPositions, "forward", detached)
    with pytest.raises(ClaimError, match="c293"):
        run_cells(NOTEBOOK, *GRADIENTS)


def test_a_judge_whose_mask_is_ignored_fails_c148() -> None:
    namespace = run_cells(NOTEBOOK, "setup(seed=0)", "LETTERS = 8", "class Judge(", "def train(")
    source = sources("class Judge(", "plans = {", '"c148"')
    planted = source["class Judge("].replace("if self.causal", "if False")
    assert planted != source["class Judge("]
    exec(planted, namespace)
    others = ('"sinusoidal":', '"learned":', '"concatenated":')
    lines = source["plans = {"].splitlines()
    exec("\n".join(line for line in lines if not line.strip().startswith(others)), namespace)
    assert set(namespace["judges"]) == {"no positions", "no positions, causal"}
    with pytest.raises(ClaimError, match="c148"):
        exec(source['"c148"'], namespace)
