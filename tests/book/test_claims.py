"""A claim that does not hold stops the notebook, and so does one that is not put properly."""

import math

import numpy as np
import pytest
import torch

from tfbook.book import ClaimError, claim, compared
from tfbook.shapes import split_heads

GOOD = {"verdict": "confirmed", "holds": True, "measured": "4"}


def test_confirmed_claim_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    claim("c001", "Two and two make four", **GOOD)
    assert capsys.readouterr().out == "c001 [confirmed] Two and two make four. Measured: 4\n"


def test_refined_claim_says_what_is_true(capsys: pytest.CaptureFixture[str]) -> None:
    claim("b001", "All are odd", verdict="refined", finding="One is even", holds=True, measured="1")
    assert "Finding: One is even. Measured: 1" in capsys.readouterr().out


def test_failing_claim_raises_with_its_finding_and_numbers() -> None:
    with pytest.raises(ClaimError, match=r"c002 does not hold: One is even \(measured: 0 even\)"):
        claim("c002", "s", verdict="refuted", finding="One is even", holds=False, measured="0 even")


@pytest.mark.parametrize("holds", [True, np.bool_(True), torch.tensor(True), np.array([True])])
def test_booleans_of_numpy_and_torch_count(holds: object) -> None:
    claim("c003", "s", verdict="confirmed", holds=holds, measured="m")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "holds", [1, 0.7, "yes", [True], torch.tensor([True, False]), np.float64(1)]
)
def test_what_merely_looks_true_does_not_count(holds: object) -> None:
    with pytest.raises(ValueError, match="must be one bool"):
        claim("c003", "s", verdict="confirmed", holds=holds, measured="m")  # type: ignore[arg-type]


@pytest.mark.parametrize("holds", [np.bool_(False), torch.tensor(False)])
def test_false_of_numpy_and_torch_fails(holds: object) -> None:
    with pytest.raises(ClaimError, match="c003 does not hold"):
        claim("c003", "s", verdict="confirmed", holds=holds, measured="m")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "171"}, "must be a letter and three digits"),
        ({"id": "q171"}, "must be a letter and three digits"),
        ({"verdict": "true"}, "verdict='true' is unknown"),
        ({"statement": " "}, "statement=' ' of c001 must be a non-empty string"),
        ({"verdict": "refined"}, "finding=None of c001 must be a non-empty string"),
        ({"holds": None}, "holds=None of c001 must be a bool"),
        ({"measured": None}, "measured=None of c001 must be a non-empty string"),
        ({"measured": 4}, "measured=4 of c001 must be a non-empty string"),
        ({"source": "key"}, "source='key' of c001 excludes holds and measured"),
    ],
)
def test_badly_put_claims_raise(changed: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"id": "c001", "statement": "s", **GOOD, **changed}
    with pytest.raises(ValueError, match=message):
        claim(**arguments)  # type: ignore[arg-type]


def test_literature_claim_has_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    claim("c004", "A paper says so", verdict="confirmed", source="vaswani2017attention")
    assert "Looked up in: vaswani2017attention" in capsys.readouterr().out
    claim("c004", "Two say so", verdict="confirmed", source="vaswani2017attention, su2021roformer")
    assert "Looked up in: vaswani2017attention, su2021roformer" in capsys.readouterr().out


def test_comparison_within_tolerance(capsys: pytest.CaptureFixture[str]) -> None:
    compared("Heads", split_heads, oracle="view", error=3e-8, tolerance=1e-6)
    out = capsys.readouterr().out
    assert out == "Heads: tfbook.shapes.split_heads agrees with view (error 3e-08 ≤ 1e-06)\n"


@pytest.mark.parametrize("error", [1e-3, math.nan, math.inf, torch.tensor(0.5)])
def test_comparison_outside_tolerance_raises(error: float) -> None:
    with pytest.raises(ClaimError, match=r"Heads: tfbook\.shapes\.split_heads differs from view"):
        compared("Heads", split_heads, oracle="view", error=error, tolerance=1e-6)


def test_comparison_without_oracle_says_how_it_was_verified() -> None:
    compared("Heads", split_heads, verified="a case worked by hand")
    compared("Addressing", None, verified="the table in the chapter")
    with pytest.raises(ValueError, match="needs oracle, error and tolerance together"):
        compared("Heads", split_heads)
    with pytest.raises(ValueError, match="needs oracle, error and tolerance together"):
        compared("Heads", split_heads, oracle="view", error=0.0)
    with pytest.raises(ValueError, match="must be an object of tfbook"):
        compared("Heads", None, oracle="view", error=0.0, tolerance=1.0)


def test_comparison_of_something_private_raises() -> None:
    with pytest.raises(ValueError, match="must be a public class or function of tfbook"):
        compared("Printing", print, verified="by eye")
