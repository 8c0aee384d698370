"""Plant the classic bugs of multi-head attention: the chapter's own experiments must notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from einops import rearrange

import tfbook.attention.multi_head as multi_head
from tfbook.attention import attention, attention_weights
from tfbook.book import ClaimError, claim, compared

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "09-multi-head-attention.ipynb"


def failures(last: str, *, seeds: int = 4) -> set[str]:
    """Run the chapter up to the cell that holds ``last``; give what did not hold."""
    failed: set[str] = set()

    def noting(check: Callable[..., None]) -> Callable[..., None]:
        def run(name: str, *arguments: object, **options: object) -> None:
            try:
                check(name, *arguments, **options)
            except ClaimError:
                failed.add(name)

        return run

    mpl.use("agg")
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sum("seeds = range(4)" in source for source in sources) == 1
    sources = [source.replace("seeds = range(4)", f"seeds = range({seeds})") for source in sources]
    names: dict[str, object] = {"__name__": "chapter"}
    for source in sources[1:]:  # without the cell that installs the package
        if "setup(seed=0)" in source:
            exec(source, names)
            names.update(claim=noting(claim), compared=noting(compared))
            names.update(figure=lambda *a, **k: None, show_source=lambda *a: None)
            continue
        exec(source, names)
        if last in source:
            return failed
    raise AssertionError(f"no cell of the chapter holds {last}")


@pytest.fixture(autouse=True)
def quiet() -> None:
    torch.manual_seed(0)


def test_nothing_fails_without_a_bug() -> None:
    assert failures('"b011"') == set()


def test_reshape_without_transpose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        multi_head,
        "split_heads",
        lambda x, h: x.reshape(x.shape[0], h, x.shape[1], x.shape[2] // h),
    )
    monkeypatch.setattr(
        multi_head,
        "merge_heads",
        lambda x: x.reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3]),
    )
    failed = failures('"Ablation study"')
    assert {"Multi-head attention", "Attention output projection"} <= failed
    assert "c082" not in failed  # shapes do not show it, as the chapter says


def test_features_dealt_out_like_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    # (d_head, h) instead of (h, d_head): right within the module, wrong for anyone's weights.
    monkeypatch.setattr(
        multi_head,
        "split_heads",
        lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2),
    )
    assert "Multi-head attention" in failures('"Multi-head attention"')


@pytest.mark.slow
def test_heads_that_share_one_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores merged over heads: two heads are then no better than one at two look-ups."""

    def merged(q, k, v, *, mask=None, causal=False, bias=None, scale=None, dropout_p=0.0):
        if q.shape[1] != k.shape[1]:
            return attention(q, k, v, mask=mask, causal=causal)
        wide_q, wide_k = (rearrange(x, "b h n d -> b 1 n (h d)") for x in (q, k))
        return attention_weights(wide_q, wide_k) @ v

    made = multi_head.MultiHeadAttention.__init__

    def planted(self, *arguments, **options):
        made(self, *arguments, **{**options, "attend": merged})

    monkeypatch.setattr(multi_head.MultiHeadAttention, "__init__", planted)
    failed = failures('"c077"', seeds=1)
    assert {"c025", "c077", "Multi-head attention"} <= failed
