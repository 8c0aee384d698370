"""The headline claims of chapter 13 fail when the classic mistakes are planted."""

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

from tfbook.book import ClaimError
from tfbook.layers import BatchNorm, LayerNorm, PostNorm, PowerNorm, PreNorm

NOTEBOOK = "13-residuals-and-norms.ipynb"
SETUP = "setup(seed=0)"
TOKENS = (SETUP, "token, sequence = x.clone()", '"c084"')
WIRES = (SETUP, "token, sequence = x.clone()", "def pre_norm_block(", "def random_parameters(",
         "def to_torch(")  # fmt: skip
STREAM = ("def stream_sizes(", '"c161"')
PATH = ("def encoder(", '"c162"')
TAPS = ("def tap(", '"c028"')
FORMULA = (SETUP, '"c122"')
ENTROPY = (SETUP, "def entropy(")
MODES = (SETUP, '"c164"')
POWER = (SETUP, "power = PowerNorm(", '"c167"')
LEAK = (SETUP, "def per_sequence(")


def source(marker: str) -> str:
    """The first code cell that holds the marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return next(c.source for c in cells if c.cell_type == "code" and marker in c.source)


def after(namespace: dict[str, Any], *markers: str) -> None:
    """Run further cells in a namespace."""
    for marker in markers:
        exec(compile(source(marker), NOTEBOOK, "exec"), namespace)


def test_the_claims_hold_as_they_stand() -> None:
    namespace = run_cells(NOTEBOOK, *WIRES)
    after(namespace, *TAPS, *STREAM, *PATH)
    for cells in (TOKENS, FORMULA, ENTROPY, MODES, POWER, LEAK):
        run_cells(NOTEBOOK, *cells)


def over_the_sequence(self: LayerNorm, x: Tensor) -> Tensor:
    """Normalise over positions and features, where features alone are meant."""
    variance = x.var((-2, -1), keepdim=True, correction=0)
    y = (x - x.mean((-2, -1), keepdim=True)) / (variance + self.eps).sqrt()
    return y * self.weight + self.bias


def test_statistics_of_a_sequence_fail_c084(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LayerNorm, "forward", over_the_sequence)
    with pytest.raises(ClaimError, match="c084"):
        run_cells(NOTEBOOK, *TOKENS)


def norm_on_the_branch(self: PostNorm, x: Tensor, sublayer: Any) -> Tensor:
    """The formula that is often given as post-norm."""
    return x + self.norm(sublayer(x))


def test_a_norm_on_the_branch_is_not_post_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, *WIRES)
    monkeypatch.setattr(PostNorm, "forward", norm_on_the_branch)
    with pytest.raises(ClaimError, match="Post-norm placement"):
        run_cells(NOTEBOOK, *WIRES)
    with pytest.raises(AssertionError, match="not the formula of 2017"):
        run_cells(NOTEBOOK, *FORMULA)
    after(namespace, "def stream_sizes(")
    with pytest.raises(ClaimError, match="c161"):
        after(namespace, '"c161"')
    after(namespace, "def tap(")
    with pytest.raises(ClaimError, match="c028"):
        after(namespace, '"c028"')


def normalised_skip(self: PreNorm, x: Tensor, sublayer: Any) -> Tensor:
    """The skip starts behind the norm."""
    h = self.norm(x)
    return h + sublayer(h)


def test_a_skip_that_starts_behind_the_norm_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, *WIRES)
    after(namespace, "def stream_sizes(")
    monkeypatch.setattr(PreNorm, "forward", normalised_skip)
    with pytest.raises(ClaimError, match="Pre-norm placement"):
        run_cells(NOTEBOOK, *WIRES)
    after(namespace, "def encoder(")
    # c080 and c162 stand in one cell: the first of them stops it.
    with pytest.raises(ClaimError, match="c080"):
        after(namespace, '"c162"')
    assert namespace["kept"]["pre"] > 0.1


@pytest.mark.parametrize(
    ("right", "planted"),
    [
        # No layer norm in front of the projections.
        ("F.layer_norm(x, (64,)) if norm else x", "x"),
        # Queries and keys are not normalised where it says so.
        ("if qk_norm:", "if False:"),
    ],
)
def test_a_missing_norm_fails_c166(right: str, planted: str) -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    cell = source("def entropy(")
    assert cell.count(right) == 1
    with pytest.raises(ClaimError, match="c166"):
        exec(cell.replace(right, planted), namespace)


def test_a_batch_norm_that_stays_in_evaluation_fails_c164(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = BatchNorm.forward

    def evaluated(self: BatchNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return forward(self.eval(), x, mask)

    monkeypatch.setattr(BatchNorm, "forward", evaluated)
    with pytest.raises(ClaimError, match="c164"):
        run_cells(NOTEBOOK, *MODES)


def test_a_power_norm_per_token_fails_c167(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, *POWER[:2])

    def per_token(self: PowerNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.nn.functional.rms_norm(x, x.shape[-1:]) * self.weight + self.bias

    monkeypatch.setattr(PowerNorm, "forward", per_token)
    with pytest.raises(ClaimError, match="c167"):
        after(namespace, POWER[2])


def test_a_leak_that_is_not_there_fails_b085() -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    cell = source("def per_sequence(")
    planted = cell.replace("x.shape[-2:]", "x.shape[-1:]")
    assert planted != cell
    with pytest.raises(ClaimError, match="b085"):
        exec(planted, namespace)


def test_a_log_in_which_post_norm_learns_as_well_fails_c009(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace = trained()
    tampered = copy.deepcopy(namespace["log"])
    for run in tampered["runs"]:
        run["validation"] = min(run["validation"], 2.3)
    monkeypatch.setitem(namespace, "recipe_log", lambda name: tampered)
    after(namespace, "log = recipe_log(", "tried = [", "small = {")
    with pytest.raises(ClaimError, match="c009"):
        after(namespace, '"c009"')
    with pytest.raises(ClaimError, match="c105"):
        after(namespace, '"c105"')


def test_a_small_start_that_does_not_help_fails_c009(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = trained()
    tampered = copy.deepcopy(namespace["log"])
    for run in tampered["runs"]:
        if run["grid"] == "small_start" and run["placement"] == "post":
            run["validation"] = 3.03
    monkeypatch.setitem(namespace, "recipe_log", lambda name: tampered)
    after(namespace, "log = recipe_log(", "tried = [", "small = {")
    with pytest.raises(ClaimError, match="c009"):
        after(namespace, '"c009"')


def test_tokens_that_stay_apart_in_stuck_models_fail_c296() -> None:
    namespace = trained()
    after(namespace, "def entropy(", "def differences(", '"c296"')
    for run in namespace["stuck"]:
        run["layers"]["spread"][-1] = 0.5
    with pytest.raises(ClaimError, match="c296"):
        after(namespace, '"c296"')


@pytest.mark.parametrize(
    ("grid", "norm", "measure", "planted", "claimed"),
    [
        # From a small start no norm would do as badly as from that of 2017.
        ("mechanism_small", "none", "validation", 2.7, "c106"),
        # Shaking would cost nothing there.
        ("mechanism_small", "shaken", "validation", 2.28, "c106"),
        # From a small start, too, no norm would fit the training text best.
        ("overfit_small", "none", "seen", 1.5, "c165"),
    ],
)
def test_a_result_that_does_not_turn_with_the_start_fails(
    monkeypatch: pytest.MonkeyPatch,
    grid: str,
    norm: str,
    measure: str,
    planted: float,
    claimed: str,
) -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    namespace["layouts"] = ()  # of which the log's cell prints a table
    measuring = "changed = {" if claimed == "c106" else "starts = {"
    cells = ("log = recipe_log(", measuring, f'"{claimed}"')
    after(namespace, *cells)
    tampered = copy.deepcopy(namespace["log"])
    for run in tampered["runs"]:
        if run["grid"] == grid and run["norm"] == norm:
            run[measure] = planted
    monkeypatch.setitem(namespace, "recipe_log", lambda name: tampered)
    after(namespace, *cells[:-1])
    with pytest.raises(ClaimError, match=claimed):
        after(namespace, cells[-1])


def trained() -> dict[str, Any]:
    """Run the cells up to the claims about trained models."""
    namespace = run_cells(NOTEBOOK, *WIRES)
    after(namespace, "def rms(x)", "def encoder(", "def language_model(", "def gradients(")
    after(namespace, "log = recipe_log(", "tried = [", "def spread_of(", "small = {", '"c009"')
    return namespace
