"""Chapter 08: with a classic bug planted in the package, its headline claims fail."""

import math
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
import torch
from repository import ROOT
from torch import Tensor

import tfbook.attention
from tfbook.book import ClaimError

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "08-self-attention.ipynb", as_version=4)
IMPORTS = "from tfbook.book import"
SATURATION = ["WIDTHS = [", "def jacobian_norm"]
EXPERIMENTS = {
    "b001": ["def soft_lookup", 'tokens = ["the"', "by_hand = [", '"b001"'],
    "c029": [*SATURATION, "def typical", '"c029"'],
    "c039": ["raw_weights =", '"c039"'],
    "c060": [*SATURATION, "def final", '"c060"'],
}


def cell(part: str) -> str:
    """The first code cell that contains a piece of text."""
    return next(c.source for c in NOTEBOOK.cells if c.cell_type == "code" and part in c.source)


def run(claim: str, planted: dict[str, Any]) -> dict[str, Any]:
    """Run a claim's experiment, with parts of the package replaced."""
    names: dict[str, Any] = {}
    exec(cell(IMPORTS), names)
    names |= planted
    if claim == "c060":  # its training takes seconds and is not what these bugs are about
        rates = (3e-3, 1e-2, 3e-2)
        names["styles"] = dict.fromkeys(rates, "-")
        sharp = 30 * torch.eye(64)  # a lookup that has learned: each word finds itself
        names |= {"asked": torch.eye(64), "stored": torch.eye(64)}
        names["runs"] = {
            (name, lr, seed): ((sharp, sharp), [loss] * 100)
            for name, loss in (("raw", 1.0), ("scaled", 0.01))
            for lr in rates
            for seed in (0, 1)
        }
    for part in EXPERIMENTS[claim]:
        exec(cell(part), names)
    return names


def plant(weights: Callable[..., Tensor]) -> dict[str, Any]:
    """Let the notebook's names attend with other weights."""

    def attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        return weights(q, k, **options) @ v

    return {"attention_weights": weights, "attention": attention}


def wrong_axis(q: Tensor, k: Tensor, *, scale: float | None = None) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (q @ k.mT * scale).softmax(dim=-2)


def no_scale(q: Tensor, k: Tensor, *, scale: float | None = None) -> Tensor:
    return tfbook.attention.attention_weights(q, k, scale=1.0 if scale is None else scale)


def no_root(q: Tensor, k: Tensor, *, scale: float | None = None) -> Tensor:
    return tfbook.attention.attention_weights(
        q, k, scale=1 / q.shape[-1] if scale is None else scale
    )


def scale_of_model_width(q: Tensor, k: Tensor, *, scale: float | None = None) -> Tensor:
    """As if eight heads shared the width, and the root were taken of all of it."""
    usual = 1 / math.sqrt(8 * q.shape[-1])
    return tfbook.attention.attention_weights(q, k, scale=usual if scale is None else scale)


@pytest.mark.parametrize("claim", EXPERIMENTS)
def test_claims_hold_for_the_package(claim: str) -> None:
    run(claim, {})


@pytest.mark.parametrize(
    ("bug", "claims"),
    [
        (wrong_axis, ["b001", "c029", "c039", "c060"]),
        (no_scale, ["b001", "c029", "c039", "c060"]),
        (no_root, ["b001", "c060"]),
        (scale_of_model_width, ["b001", "c060"]),
    ],
)
def test_claims_fail_with_a_planted_bug(bug: Callable[..., Tensor], claims: list[str]) -> None:
    for claim in claims:
        with pytest.raises(ClaimError, match=claim):
            run(claim, plant(bug))


def test_the_checks_of_the_bug_section_catch_the_wrong_axis() -> None:
    names = run("b001", {})
    exec(cell("def wrong_axis"), names)
    exec(cell("def mean_of_ones"), names)
    for check in (names["mean_of_ones"], names["asked_alone"]):
        assert check(names["attention"]) < 1e-5
        assert check(names["fused_attention"]) < 1e-5
        assert check(names["wrong_axis"]) > 0.1


def test_numbers_in_the_worked_answer_come_out_of_the_package() -> None:
    names = run("b001", {})
    answer = next(c.source for c in NOTEBOOK.cells if "### q053" in c.source)
    answer = answer.split("### q053")[1].split("### q054")[0]
    for name in ("weights", "output"):
        for row in names[name].tolist():
            assert f"({', '.join(f'{number:.2f}' for number in row)})" in answer
    for name in ("q", "k", "v", "scores"):
        for row in names[name].tolist():
            assert f"({', '.join(f'{number:.0f}' for number in row)})" in answer
