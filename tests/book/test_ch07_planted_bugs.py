"""The headline claims of chapter 07 fail when the classic mistakes are planted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

import tfbook.attention
import tfbook.book
from tfbook.book import ClaimError, recipe_log
from tfbook.models.recurrent_attention import AttendingGRU

NOTEBOOK = "07-first-attention.ipynb"
START = ("setup(seed=0)", "def plain_additive(")
PAIRS = (*START, "def keys_seen(", '"c134"')
SPREAD = (*START, "def draw(", "shares = []", '"c027"')
COUNTS = (*START, "class Tally(", '"c140"')
MEMORY = (*COUNTS, "def kept_bytes(", '"c136"', '"b061"')
STEPS = (*START, "class Tally(", '"c137"')
LOOKUP = (*START, "def lookup(", "KEY_WIDTHS, RATES", '"c139"', '"b063"')
LOG = (*START, 'recipe_log("key_width")', "small_peaks = ", '"b066"')
READING = (
    *START,
    "letters = CharacterTokenizer(",
    "def train_reader(",
    '"b065"',
    "def aligned(",
    "def hits(",
)
NAMES = (*START, "broken = ", 'module["width"] = 512', "def undefined_names(", '"c286"')


def sources(*markers: str) -> dict[str, str]:
    """The first code cell that holds each marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return {
        marker: next(c.source for c in cells if c.cell_type == "code" and marker in c.source)
        for marker in markers
    }


def planted(marker: str, right: str, wrong: str) -> str:
    """The cell with one line changed."""
    source = sources(marker)[marker]
    changed = source.replace(right, wrong)
    assert changed != source
    return changed


@pytest.mark.parametrize("cells", [PAIRS, SPREAD, MEMORY, STEPS, LOG, NAMES])
def test_the_claims_hold_as_they_stand(cells: tuple[str, ...]) -> None:
    run_cells(NOTEBOOK, *cells)


def row_by_row(q: Tensor, k: Tensor, w: Tensor) -> Tensor:
    """Rows are added instead of pairs."""
    return (torch.tanh(q + k[: len(q)]) @ w)[:, None].expand(-1, len(k))


row_by_row.__name__ = "additive_scores"  # the chapter prints the name


def without_tanh(q: Tensor, k: Tensor, w: Tensor) -> Tensor:
    return (q[..., :, None, :] + k[..., None, :, :]) @ w


def products(q: Tensor, k: Tensor, w: Tensor) -> Tensor:
    return (q * w) @ k.mT


@pytest.mark.parametrize(
    ("bug", "cells", "name"),
    [
        (row_by_row, PAIRS, "c134"),
        (without_tanh, SPREAD, "c027"),
        (products, SPREAD, "c027"),
    ],
)
def test_a_wrong_score_fails(
    bug: Any, cells: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfbook.attention, "additive_scores", bug)
    with pytest.raises(ClaimError, match=name):
        run_cells(NOTEBOOK, *cells)


def test_features_of_all_pairs_at_once_fail_b061(monkeypatch: pytest.MonkeyPatch) -> None:
    equation = tfbook.attention.additive_scores
    monkeypatch.setattr(tfbook.attention, "chunked_additive_scores", equation)
    with pytest.raises(ClaimError, match="b061"):
        run_cells(NOTEBOOK, *MEMORY)


@pytest.mark.parametrize(
    ("cells", "name"), [(COUNTS, "c140"), (STEPS, "c137")], ids=["c140", "c137"]
)
def test_scores_in_a_loop_over_queries_fail(cells: tuple[str, ...], name: str) -> None:
    namespace = run_cells(NOTEBOOK, *START)
    exec(
        planted(
            "def plain_additive(",
            "    features = torch.tanh(q[:, None] + k[None])  # one vector for every pair\n"
            "    scores = features @ w\n",
            "    scores = torch.stack([torch.tanh(row + k) @ w for row in q])\n",
        ),
        namespace,
    )
    source = sources(*cells)
    exec(source["class Tally("], namespace)
    with pytest.raises(ClaimError, match=name):
        exec(source[f'"{name}"'], namespace)


def test_exchanged_forms_fail_the_lookup() -> None:
    """Training takes seconds, so one run serves both claims, as it stands and planted."""
    namespace = run_cells(NOTEBOOK, *LOOKUP)
    source = sources('"c139"', '"b063"')
    for name, one, other in (("c139", "additive", "scaled dot"), ("b063", "dot", "scaled dot")):
        changed = dict(namespace)
        exchange = {one: other, other: one}
        for table in ("best", "shares"):
            changed[table] = {
                (exchange.get(score, score), *rest): value
                for (score, *rest), value in namespace[table].items()
            }
        with pytest.raises(ClaimError, match=name):
            exec(source[f'"{name}"'], changed)


def test_exchanged_forms_fail_b066(monkeypatch: pytest.MonkeyPatch) -> None:
    log = recipe_log("key_width")
    other = {"scaled": "additive", "additive": "scaled"}
    for run in log["runs"]:
        if (run["phase"], run["rate"]) == ("main", 0.01):  # the chosen rate of both
            run["score"] = other.get(run["score"], run["score"])
    monkeypatch.setattr(tfbook.book, "recipe_log", lambda name: log)
    with pytest.raises(ClaimError, match="b066"):
        run_cells(NOTEBOOK, *LOG)


def test_a_small_start_that_does_not_help_fails_b067(monkeypatch: pytest.MonkeyPatch) -> None:
    log = recipe_log("key_width")
    for run in log["runs"]:
        if (run["phase"], run["score"]) == ("small_start", "dot"):
            run["loss"] += 0.5
    monkeypatch.setattr(tfbook.book, "recipe_log", lambda name: log)
    with pytest.raises(ClaimError, match="b067"):
        run_cells(NOTEBOOK, *LOG)


def test_tanh_that_wait_for_one_another_fail_c137(monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(q: Tensor, k: Tensor, w: Tensor) -> Tensor:
        scores = torch.tanh(q[:, None] + k) @ w
        return scores + 0.1 * scores.flatten().cumsum(0).view_as(scores)

    monkeypatch.setattr(tfbook.attention, "additive_scores", waiting)
    with pytest.raises(ClaimError, match="c137"):
        run_cells(NOTEBOOK, *STEPS)


def test_exchanged_forms_and_a_source_read_backwards_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace = run_cells(NOTEBOOK, *READING)
    source = sources('"b065"', "def hits(")
    losses = namespace["reader_losses"]
    changed = {**namespace, "reader_losses": {**losses, "dot": losses["additive"]}}
    with pytest.raises(ClaimError, match="b065"):
        exec(source['"b065"'], changed)
    alignment = AttendingGRU.alignment

    def backwards(self: AttendingGRU, *args: Any, **kw: Any) -> Tensor:
        return alignment(self, *args, **kw).flip(-1)

    monkeypatch.setattr(AttendingGRU, "alignment", backwards)
    with pytest.raises(ClaimError, match="b060"):
        exec(source["def hits("], namespace)

    def straight(self: AttendingGRU, *args: Any, **kw: Any) -> Tensor:
        """Reads straight along the word, whatever stands there; the last column is its end."""
        right = alignment(self, *args, **kw)
        line, last = torch.zeros_like(right), right.shape[2] - 2
        for i in range(right.shape[1]):
            line[:, i, min(last, round(i * last / max(1, right.shape[1] - 2)))] = 1
        return line

    monkeypatch.setattr(AttendingGRU, "alignment", straight)
    with pytest.raises(ClaimError, match="b060"):
        exec(source["def hits("], namespace)


def test_a_correction_that_corrects_nothing_fails_c286() -> None:
    namespace = run_cells(NOTEBOOK, *NAMES[:-2])
    namespace["width"] = 16
    exec(planted("def undefined_names(", "math.sqrt(k.shape[-1])", "math.sqrt(len(k))"), namespace)
    with pytest.raises(ClaimError, match="c286"):
        exec(sources('"c286"')['"c286"'], namespace)
