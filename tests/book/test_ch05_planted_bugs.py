"""The headline claims of chapter 05 fail when the classic mistakes are planted."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

import tfbook.training
from tfbook.attention import MultiHeadAttention
from tfbook.book import ClaimError
from tfbook.evaluation import TextScore
from tfbook.layers import Block

NOTEBOOK = "05-language-models.ipynb"
SETUP = (
    "setup(seed=0)",
    "def plain_softmax(",
    "generator = torch.Generator().manual_seed(0)\nscores",
)
SOFTMAX = (*SETUP, '"c008"')
TEXT = (*SETUP, "train = king_james.load")
SUMS = (*TEXT, "every_pair = torch.cartesian_prod", '"c100"')
GRADIENTS = (*TEXT, "def gradient_norms(", '"c076"')
SCORES = (*TEXT, 'subwords = hub.load("king-james")', "LEAD = 256", "by_place = {")
WINDOWS = (*TEXT, "LEAD = 256")
CALIBRATION = (*TEXT, "LEAD = 256", "def calibration(")
SHIFT = (*TEXT, "def network_next(", "def write(", "LEAD = 256", "def not_shifted(", '"b104"')


def cell(marker: str) -> str:
    """The first code cell that holds the marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return next(c.source for c in cells if c.cell_type == "code" and marker in c.source)


@pytest.fixture(scope="module")
def scored() -> dict[str, Any]:
    """The chapter up to the scores of its four models."""
    return run_cells(NOTEBOOK, *SCORES)


@pytest.fixture(scope="module")
def counts(scored: dict[str, Any]) -> dict[str, Any]:
    """The same with the counts of strings, and the network's scores by context."""
    for marker in ("def number(", "by_context = {"):
        exec(cell(marker), scored)
    return scored


def sigmoid(scores: Tensor, **_: Any) -> Tensor:
    return scores.sigmoid()


def over_queries(scores: Tensor, **_: Any) -> Tensor:
    return scores.softmax(dim=0)


def over_the_norm(scores: Tensor, **_: Any) -> Tensor:
    """Scores divided by their size first: no constant is without effect."""
    return (scores / scores.norm(dim=-1, keepdim=True)).softmax(dim=-1)


@pytest.mark.parametrize("bug", [sigmoid, over_queries, over_the_norm])
def test_another_normalisation_fails_c008(bug: Any) -> None:
    namespace = run_cells(NOTEBOOK, *SOFTMAX)
    namespace |= {"masked_softmax": bug, "p": bug(namespace["scores"])}
    with pytest.raises(ClaimError, match="c008"):
        exec(cell('"c008"'), namespace)


def test_a_mask_that_lets_the_future_through_fails_c100(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, *SUMS)
    forward = MultiHeadAttention.forward

    def see_all(self: MultiHeadAttention, *args: Any, **kw: Any) -> Any:
        return forward(self, *args, **{**kw, "causal": False})

    monkeypatch.setattr(MultiHeadAttention, "forward", see_all)
    namespace["sums"]["network, 71² strings"] = namespace["sum_over_strings"](
        namespace["characters"].model
    )
    with pytest.raises(ClaimError, match="c100"):
        exec(cell('"c100"'), namespace)


def test_a_path_that_is_cut_fails_c076(monkeypatch: pytest.MonkeyPatch) -> None:
    run_cells(NOTEBOOK, *GRADIENTS)
    forward = Block.forward

    def cut(self: Block, x: Tensor, *args: Any, **kw: Any) -> Any:
        return forward(self, x.detach(), *args, **kw)

    monkeypatch.setattr(Block, "forward", cut)
    with pytest.raises(ClaimError, match="c076"):
        run_cells(NOTEBOOK, *GRADIENTS)


def test_a_sum_for_a_mean_fails_c076(monkeypatch: pytest.MonkeyPatch) -> None:
    mean = tfbook.training.cross_entropy

    def summed(logits: Tensor, targets: Tensor, **kw: Any) -> Tensor:
        return mean(logits, targets, **kw) * targets.numel()

    monkeypatch.setattr(tfbook.training, "cross_entropy", summed)
    with pytest.raises(ClaimError, match="c076"):
        run_cells(NOTEBOOK, *GRADIENTS)


def test_bits_per_token_called_bits_per_byte_fail_c011(
    scored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    exec(cell('"c011"'), scored)
    monkeypatch.setattr(TextScore, "bits_per_byte", TextScore.bits_per_token)
    with pytest.raises(ClaimError, match="c011"):
        exec(cell('"c011"'), scored)


def test_a_model_of_another_text_fails_b100(scored: dict[str, Any]) -> None:
    source = cell("def bigram_scores(")
    exec(source, scored)
    planted = source.replace("(change(lead), change(text)) for", "(lead, text) for")
    assert planted != source
    with pytest.raises(ClaimError, match="b100"):
        exec(planted, scored)


def test_a_mean_before_the_exponential_fails_b102(scored: dict[str, Any]) -> None:
    source = cell('"b102"')
    exec(source, scored)
    planted = source.replace("batches.exp().mean().item()", "batches.mean().exp().item()")
    assert planted != source
    with pytest.raises(ClaimError, match="b102"):
        exec(planted, scored)


def count_again(namespace: dict[str, Any]) -> None:
    """Score by counts once more, as the chapter does, and claim."""
    source = cell("by_context = {")
    exec(source[source.index("by_order = {}") :], namespace)
    exec(cell('"b105"'), namespace)


def test_counts_without_smoothing_fail_b105(
    counts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    count_again(counts)
    smoothed = counts["ngram_probability"]

    def barely(strings: Tensor, order: int) -> Any:
        return smoothed(strings, order, strength=1e-4)

    monkeypatch.setitem(counts, "ngram_probability", barely)
    with pytest.raises(ClaimError, match="b105"):
        count_again(counts)


def test_counts_that_have_seen_the_test_text_fail_b105(
    counts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [torch.tensor(counts["to_ids"](lead + text)) for lead, text in counts["test"]]
    monkeypatch.setitem(counts, "pieces", counts["pieces"] + seen)
    monkeypatch.setitem(counts, "tables", counts["count"](8))
    with pytest.raises(ClaimError, match="b105"):
        count_again(counts)


def test_an_ignored_stride_fails_b101(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package's attribute of this name is the function.
    module = importlib.import_module("tfbook.evaluation.perplexity")
    losses = module.token_losses

    def side_by_side(*args: Any, **kw: Any) -> Tensor:
        return losses(*args, **{**kw, "stride": kw["window"]})

    namespace = run_cells(NOTEBOOK, *WINDOWS)
    namespace["short"] = [(lead, text[:256]) for lead, text in namespace["short"]]
    exec(cell("by_window = {"), namespace)
    exec(cell('"b101"'), namespace)
    monkeypatch.setattr(module, "token_losses", side_by_side)
    exec(cell("by_window = {"), namespace)
    with pytest.raises(ClaimError, match="b101"):
        exec(cell('"b101"'), namespace)


def test_a_model_that_is_too_sure_fails_b103(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = run_cells(NOTEBOOK, *CALIBRATION)
    model = namespace["characters"].model
    forward = type(model).forward

    def sharpened(self: Any, *args: Any, **kw: Any) -> Tensor:
        return 2 * forward(self, *args, **kw)

    monkeypatch.setattr(type(model), "forward", sharpened)
    with pytest.raises(ClaimError, match="b103"):
        exec(cell("def calibration("), namespace)


def test_the_right_shift_in_both_places_fails_b104() -> None:
    namespace = run_cells(NOTEBOOK, *SHIFT)
    assert namespace["results"]["not_shifted"][2]
    assert torch.is_tensor(namespace["row"])
    source = cell("def not_shifted(")
    planted = source.replace(
        "return rows[:, :-1], rows[:, :-1]", "return rows[:, :-1], rows[:, 1:]"
    )
    assert planted != source
    exec(planted, namespace)
    with pytest.raises(ClaimError, match="b104"):
        exec(cell('"b104"'), namespace)
