"""The headline claims of chapter 14 fail when the classic mistakes are planted."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

import tfbook.book
import tfbook.evaluation
from tfbook.book import ClaimError
from tfbook.layers import FeedForward, GatedFeedForward, ParallelBlock

NOTEBOOK = "14-feed-forward.ipynb"
SETUP = "setup(seed=0)"
ALONE = (SETUP, "def reach(", '"c002"')
SAME = (*ALONE, '"c173"')
FORMULA = (SETUP, "def plain_feed_forward(", "def by_hand(", '"c177"')
LINEAR = (SETUP, "def attend(")
GPT_J = (SETUP, "def gpt_j_block(")
SHARES = (SETUP, "def by_part(", "def built_by_part(", "names = sorted(MODELS", '"c171"')
LOG = (SETUP, "def against(", 'labels = {"relu"', '"c065"', '"c176"')
WIDTHS = (SETUP, "def by_part(", "def against(", "SWEEP = ", '"c081"')
MEMORY = (
    SETUP,
    "tokenizer = CharacterTokenizer",
    "def listen(",
    "def promoted(",
    "pattern = []",
    "agreement, chance = [], []",
)
HALVES = (SETUP, "def load_halves(", '"b091"')


def source(marker: str) -> str:
    """The first code cell that holds a marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return next(c.source for c in cells if c.cell_type == "code" and marker in c.source)


@pytest.mark.parametrize(
    "cells", [SAME, FORMULA, LINEAR, GPT_J, SHARES, LOG, WIDTHS, MEMORY, HALVES]
)
def test_the_claims_hold_as_they_stand(cells: tuple[str, ...]) -> None:
    run_cells(NOTEBOOK, *cells)


def plain(self: FeedForward, x: Tensor) -> Tensor:
    return self.w_down(self.activation(self.w_up(x)))


def mixing(self: FeedForward, x: Tensor) -> Tensor:
    """A norm over the sequence, say, taken for one over the features."""
    return plain(self, x - x.mean(dim=-2, keepdim=True))


def by_place(self: FeedForward, x: Tensor) -> Tensor:
    """Something of its own at every position."""
    return plain(self, x) * torch.arange(1, x.shape[-2] + 1)[:, None]


def without_bend(self: FeedForward, x: Tensor) -> Tensor:
    return self.w_down(self.w_up(x))


def leaky(self: FeedForward, x: Tensor) -> Tensor:
    return self.w_down(F.leaky_relu(self.w_up(x), 0.01))


def bias_twice(self: FeedForward, x: Tensor) -> Tensor:
    return plain(self, x) + self.w_down.bias


@pytest.mark.parametrize(
    ("bug", "cells", "name"),
    [
        (mixing, ALONE, "c002"),
        (by_place, ALONE, "c002"),
        (without_bend, ALONE, "c002"),
        (leaky, FORMULA, "c177"),
        (bias_twice, FORMULA, "c177"),
        (without_bend, LINEAR, "c172"),
    ],
)
def test_a_wrong_layer_fails(
    bug: Any, cells: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeedForward, "forward", bug)
    with pytest.raises(ClaimError, match=name):
        run_cells(NOTEBOOK, *cells)


def test_a_layer_that_knows_positions_fails_c173(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, *ALONE)
    monkeypatch.setattr(FeedForward, "forward", by_place)
    layer, x = namespace["ffn"], namespace["x"]
    namespace["rows"]["feed-forward"] = namespace["reach"](layer, x)
    with pytest.raises(ClaimError, match="c173"):
        exec(source('"c173"'), namespace)


def test_weights_that_are_not_recomputed_fail_c172() -> None:
    planted = source("def attend(").replace(
        "source = x if weights_from is None else weights_from", "source = fixed"
    )
    assert planted != source("def attend(")
    with pytest.raises(ClaimError, match="c172"):
        exec(planted, run_cells(NOTEBOOK, SETUP))


def test_a_serial_block_is_not_gpt_j(monkeypatch: pytest.MonkeyPatch) -> None:
    def serial(self: ParallelBlock, x: Tensor, context: Any = None, **options: Any) -> Tensor:
        x = x + self.attention(self.norm(x), **options)
        return x + self.feed_forward(self.norm(x))

    monkeypatch.setattr(ParallelBlock, "forward", serial)
    with pytest.raises(ClaimError, match="GPT-J"):
        run_cells(NOTEBOOK, *GPT_J)


def test_two_matrices_for_a_gated_layer_fail_c171(monkeypatch: pytest.MonkeyPatch) -> None:
    right = tfbook.evaluation.feed_forward_cost

    def forgetful(*args: Any, gated: bool = False, **options: Any) -> Any:
        return right(*args, **options)

    monkeypatch.setattr(tfbook.evaluation, "feed_forward_cost", forgetful)
    with pytest.raises(ClaimError, match="c171"):
        run_cells(NOTEBOOK, *SHARES)


def exchanged(first: str, second: str) -> dict[str, Any]:
    """The recipe's log with the names of two variants exchanged."""
    log = copy.deepcopy(tfbook.book.recipe_log("feed_forward"))
    names = {first: second, second: first}
    for run in log["runs"]:
        run["variant"] = names.get(run["variant"], run["variant"])
    return log


@pytest.mark.parametrize(
    ("variants", "name"),
    [(("relu", "gelu"), "c065"), (("swiglu", "gelu"), "c065|c176"), (("glu", "geglu"), "c176")],
)
def test_exchanged_results_fail(
    variants: tuple[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = exchanged(*variants)
    monkeypatch.setattr(tfbook.book, "recipe_log", lambda _: log)
    with pytest.raises(ClaimError, match=name):
        run_cells(NOTEBOOK, *LOG)


def test_exchanged_widths_fail_c081(monkeypatch: pytest.MonkeyPatch) -> None:
    log = exchanged("ratio_2", "gelu")
    monkeypatch.setattr(tfbook.book, "recipe_log", lambda _: log)
    with pytest.raises(ClaimError, match="c081"):
        run_cells(NOTEBOOK, *WIDTHS)


def test_attention_that_averages_alone_fails_c172() -> None:
    """With equal weights for both tokens attention is no gate."""
    planted = source("def attend(").replace("(query, both, both)", "(0 * query, both, both)")
    assert planted != source("def attend(")
    with pytest.raises(ClaimError, match="c172"):
        exec(planted, run_cells(NOTEBOOK, SETUP))


def test_values_of_the_wrong_units_fail_b097() -> None:
    """Keys paired with the values of other units, as after a wrong permutation of weights."""
    namespace = run_cells(NOTEBOOK, *MEMORY[:-1])
    namespace["raised"] = [r.roll(1, dims=0) for r in namespace["raised"]]
    with pytest.raises(ClaimError, match="b097"):
        exec(source(MEMORY[-1]), namespace)


def test_a_quiet_control_fails_b098() -> None:
    """The unit that adds as much is no control if it was drawn by lot as the other one is."""
    namespace = run_cells(NOTEBOOK, *MEMORY[:2], "removed = {", *MEMORY[2:])
    planted = source("peer = off_by").replace("peer = off_by.argmin(1)", "peer = drawn[0]")
    assert planted != source("peer = off_by")
    exec(planted, namespace)
    with pytest.raises(ClaimError, match="b098"):
        exec(source('"b098"'), namespace)


def test_exchanged_halves_fail_b091(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    planted = source("def load_halves(").replace("if gate_first else", "if not gate_first else")
    assert planted != source("def load_halves(")
    exec(planted, namespace)
    with pytest.raises(ClaimError, match="b091"):
        exec(source('"b091"'), namespace)


def test_a_gate_that_is_ignored_is_not_swiglu(monkeypatch: pytest.MonkeyPatch) -> None:
    def ungated(self: GatedFeedForward, x: Tensor) -> Tensor:
        return self.w_down(self.activation(self.w_up(x)))

    monkeypatch.setattr(GatedFeedForward, "forward", ungated)
    with pytest.raises(ClaimError, match="GLU and SwiGLU"):
        run_cells(NOTEBOOK, SETUP, "by_definition = {")
