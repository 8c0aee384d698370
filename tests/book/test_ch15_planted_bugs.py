"""The headline claims of chapter 15 fail when the classic mistakes are planted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import run_cells

from tfbook.attention import MultiHeadAttention
from tfbook.book import ClaimError
from tfbook.layers import PostNorm
from tfbook.models import EncoderDecoderConfig

NOTEBOOK = "15-the-transformer.ipynb"
SETUP = ("setup(seed=0)", "def heads(x, h)", "def encoder_block(p, x)")
ORDER = (*SETUP, "def trace(", "def parity(", "def called_order(", '"c308"')
PARTS = (
    "setup(seed=0)",
    "def build(positions",
    "def without(part, ",
    "def tests(model)",
    "names = list(results",
    '"c023"',
)
SIZES = ("setup(seed=0)", "def blocks(model)", "def built(config)", "TABLE_3 = ", '"c281"')


def test_the_claims_hold_as_they_stand() -> None:
    run_cells(NOTEBOOK, *ORDER)
    run_cells(NOTEBOOK, *PARTS)
    run_cells(NOTEBOOK, *SIZES)


def test_a_forgotten_causal_mask_fails_c308(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = MultiHeadAttention.forward

    def see_all(self: MultiHeadAttention, *args: Any, **kw: Any) -> Any:
        return forward(self, *args, **{**kw, "causal": False})

    monkeypatch.setattr(MultiHeadAttention, "forward", see_all)
    with pytest.raises(ClaimError, match="c308"):
        run_cells(NOTEBOOK, *ORDER)


def test_a_norm_before_the_sublayer_fails_c308(monkeypatch: pytest.MonkeyPatch) -> None:
    def pre(self: PostNorm, x: Any, sublayer: Any) -> Any:
        return x + sublayer(self.norm(x))

    monkeypatch.setattr(PostNorm, "forward", pre)
    with pytest.raises(ClaimError, match="c308"):
        run_cells(NOTEBOOK, *ORDER)


def test_a_missing_residual_fails_c023(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(self: PostNorm, x: Any, sublayer: Any) -> Any:
        return self.norm(sublayer(x))

    monkeypatch.setattr(PostNorm, "forward", without)
    with pytest.raises(ClaimError, match="c023"):
        run_cells(NOTEBOOK, *PARTS)


def test_eight_heads_in_the_big_model_fail_c277(monkeypatch: pytest.MonkeyPatch) -> None:
    big = EncoderDecoderConfig._from_2017(37_000, d_model=1024, n_heads=8, d_ff=4096, dropout_p=0.3)
    monkeypatch.setattr(EncoderDecoderConfig, "big", classmethod(lambda cls: big))
    with pytest.raises(ClaimError, match="c277"):
        run_cells(NOTEBOOK, *SIZES)
