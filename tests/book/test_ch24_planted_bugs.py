"""The headline claims of chapter 24 fail when the classic mistakes are planted."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

import tfbook.book
import tfbook.evaluation
from tfbook.attention import ContextCache, KVCache
from tfbook.book import ClaimError, recipe_log
from tfbook.models import CausalLM

NOTEBOOK = "24-kv-cache.ipynb"
SETUP = "setup(seed=0)"
CAUSAL = (SETUP, '"b130"')
COUNTED = (SETUP, "counted_model = ", '"c079"')
TRANSLATOR = (SETUP, "translator = ")
SIZES = (SETUP, "published = {", '"c218"')
GROUPS = (SETUP, "def shared_heads(", "def multi_head_of(")
RECIPE = (SETUP, 'recipe_log("', "def attend_over(", '"c071"')
RING = (SETUP, "windowed = CausalLM(", '"b134"')
PADDED = (SETUP, '"b130"', '"b135"')
POSITIONS = (SETUP, "windowed = CausalLM(", "def largest_gap(")


# Operations, milliseconds and errors as the cell that is too slow for a test finds them.
ABLATED = {
    "both": (154e6, 55.0, 2e-6),
    "own keys alone": (588e6, 65.0, 2e-6),
    "the source's keys alone": (1715e6, 83.0, 2e-6),
    "nothing": (2149e6, 102.0, 2e-6),
}


def source(marker: str) -> str:
    """The first code cell that holds the marker."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    return next(c.source for c in cells if c.cell_type == "code" and marker in c.source)


def planted(marker: str, right: str, wrong: str) -> str:
    """A cell of the notebook with a mistake in it."""
    found = source(marker)
    assert right in found
    return found.replace(right, wrong)


@pytest.fixture(autouse=True)
def _gradients() -> Any:
    """The notebook turns gradients off."""
    with torch.enable_grad():
        yield
    torch.set_grad_enabled(True)


def test_the_claims_hold_as_they_stand() -> None:
    for cells in (CAUSAL, COUNTED, TRANSLATOR, SIZES, GROUPS, RECIPE, RING, PADDED, POSITIONS):
        namespace = run_cells(NOTEBOOK, *cells)
        if cells is TRANSLATOR:
            exec(source('"c098"'), {**namespace, "ablated": ABLATED})


def test_a_model_that_sees_the_future_fails_b130() -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    cell = planted('"b130"', '("causal", small)', '("causal", encoder)')
    with pytest.raises(ClaimError, match="b130"):
        exec(cell, namespace)


def test_a_cache_that_is_not_read_fails_c079(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = CausalLM.forward

    def without_attention(self: CausalLM, ids: torch.Tensor, **kw: Any) -> Any:
        return forward(self, ids, **{**kw, "cache": None})

    monkeypatch.setattr(CausalLM, "forward", without_attention)
    with pytest.raises(ClaimError, match="c079"):
        run_cells(NOTEBOOK, *COUNTED)


def test_blocks_that_are_skipped_fail_c079() -> None:
    namespace = run_cells(NOTEBOOK, *COUNTED[:2])
    namespace["counts"] = {
        n: (whole, (*kept[:2], kept[2] - 1)) for n, (whole, kept) in namespace["counts"].items()
    }
    with pytest.raises(ClaimError, match="c079"):
        exec(source('"c079"'), namespace)


def test_a_context_that_is_not_kept_fails_c098(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextCache, "keys_values", lambda self, project: project())
    namespace = run_cells(NOTEBOOK, *TRANSLATOR)
    with pytest.raises(ClaimError, match="c098"):
        exec(source('"c098"'), {**namespace, "ablated": ABLATED})


def test_a_cache_that_is_never_worth_it_fails_c098() -> None:
    namespace = run_cells(NOTEBOOK, *TRANSLATOR)
    same = dict.fromkeys(ABLATED, ABLATED["both"])
    with pytest.raises(ClaimError, match="c098"):
        exec(source('"c098"'), {**namespace, "ablated": same})


def test_values_that_are_forgotten_fail_c218(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tfbook.evaluation.cache_bytes
    # The notebook imports the name from the package.
    monkeypatch.setattr(tfbook.evaluation, "cache_bytes", lambda *a, **kw: real(*a, **kw) // 2)
    with pytest.raises(ClaimError, match="c218"):
        run_cells(NOTEBOOK, *SIZES)


def test_heads_that_share_by_turns_fail_c085() -> None:
    namespace = run_cells(NOTEBOOK, *GROUPS[:2])
    cell = planted("def multi_head_of(", ".repeat_interleave(\n", ".repeat_by_turns(\n")
    assert "group, 0" in cell
    namespace["torch"].Tensor.repeat_by_turns = lambda x, n, dim: x.repeat(n, 1, 1)
    try:
        with pytest.raises(ClaimError, match="c085"):
            exec(cell, namespace)
    finally:
        del namespace["torch"].Tensor.repeat_by_turns


def looks(*, regions: bool) -> list[torch.Tensor]:
    """Weights of two layers of nine heads: groups that look alike, or each at its own third."""
    generator = torch.Generator().manual_seed(0)
    n = 96
    place = torch.randn(n, generator=generator, dtype=torch.float64)
    heads = torch.randn(2, 9, n, n, generator=generator, dtype=torch.float64)
    scores = 2 * place + heads
    if regions:
        own = torch.arange(9)[:, None] // 3 == torch.arange(n) * 3 // n
        scores = scores + 8 * own[:, None]
    return list(scores.softmax(-1))


def test_groups_that_watch_regions_and_a_blind_measure_fail_c091() -> None:
    group_of = torch.arange(9) // 3
    namespace = run_cells(NOTEBOOK, SETUP, "def shared_heads(", "def apart(")
    namespace |= {"group_of": group_of, "same_group": group_of[:, None] == group_of}

    def checked(*, regions: bool, measured: str = source("own_third = ")) -> None:
        found = {**namespace, "looks": looks(regions=regions)}
        exec(measured, found)
        exec(source('"c091"'), found)

    # Every pair of heads overlaps; and the regions that are planted are none.
    blind = planted("own_third = ", "torch.minimum(", "torch.maximum(")
    unplanted = planted("own_third = ", "0.99 * to_one(last_rows * own_third)", "last_rows")
    checked(regions=False)
    with pytest.raises(ClaimError, match="c091"):
        checked(regions=True)
    for mistaken in (blind, unplanted):
        with pytest.raises(ClaimError, match="c091"):
            checked(regions=False, measured=mistaken)


def test_queries_that_are_shared_fail_c071(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log in which multi-query attention is as bad as a single head."""
    log = copy.deepcopy(recipe_log("shared_heads"))
    runs = {(run["variant"], run["seed"]): run for run in log["runs"]}
    for seed in log["settings"]["seeds"]:
        runs["multi-query", seed]["loss"] = runs["one narrow head", seed]["loss"]
    monkeypatch.setattr(tfbook.book, "recipe_log", lambda name: log)
    with pytest.raises(ClaimError, match="c071"):
        run_cells(NOTEBOOK, *RECIPE)


def test_a_ring_that_grows_fails_b134(monkeypatch: pytest.MonkeyPatch) -> None:
    new_cache = CausalLM.new_cache

    def unbounded(self: CausalLM, batch: int, max_length: int, **kw: Any) -> KVCache:
        cache = new_cache(self, batch, max_length, **kw)
        sizes = dict(n_layers=2, batch=batch, n_kv_heads=4, d_head=8, max_length=max_length)
        return KVCache(**sizes, dtype=cache.keys.dtype)

    monkeypatch.setattr(CausalLM, "new_cache", unbounded)
    with pytest.raises(ClaimError, match="b134"):
        run_cells(NOTEBOOK, *RING)


def test_padding_that_is_seen_fails_b135(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KVCache, "mask", lambda self, n: None)
    with pytest.raises(ClaimError, match="b135"):
        run_cells(NOTEBOOK, *PADDED)


def test_positions_that_start_again_fail_b136() -> None:
    namespace = run_cells(NOTEBOOK, *POSITIONS[:2])
    cell = planted("def largest_gap(", "cache.next_positions(new.shape[1])", "restart(new, cache)")
    with pytest.raises(ClaimError, match="b136"):
        exec(cell, namespace)


def numbers(*, bound: bool) -> dict[str, Any]:
    """Times of products and steps on a machine that memory limits, or one that it does not."""
    machine = tfbook.evaluation.Machine(bytes_per_second=10e9, flops_per_second=100e9)
    n_bytes, per_vector = 64e6, 32e6

    def seconds(b: int) -> float:
        least = machine.least_seconds(n_bytes=n_bytes, flops=b * per_vector)
        return least if bound else b * n_bytes / machine.bytes_per_second

    products = {
        b: (seconds(b), n_bytes / seconds(b), b * per_vector / seconds(b), b * 0.5)
        for b in (1, 256)
    }
    batches = {b: (seconds(b), None) for b in (1, 16)}
    return {"machine": machine, "products": products, "batches": batches}


def test_times_that_grow_with_the_batch_fail_c265() -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    exec(source('"c265"'), {**namespace, **numbers(bound=True)})
    with pytest.raises(ClaimError, match="c265"):
        exec(source('"c265"'), {**namespace, **numbers(bound=False)})


def test_precision_that_saves_no_time_or_saves_arithmetic_fails_b132() -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    names = ("float32", "bfloat16", "int8")
    form = {"limit": 30.0, "megabytes": 500.0, "perplexity": 18.0}

    def checked(*milliseconds: float, near: float = 8.0) -> None:
        found = {name: {**form, "tfbook": ms} for name, ms in zip(names, milliseconds, strict=True)}
        exec(source('"b132"'), {**namespace, "found": found, "near": dict.fromkeys(names, near)})

    checked(36.0, 22.0, 18.0)
    with pytest.raises(ClaimError, match="b132"):
        checked(36.0, 35.0, 36.0)
    with pytest.raises(ClaimError, match="b132"):  # here quicker products could save all of it
        checked(36.0, 22.0, 18.0, near=20.0)
    for milliseconds in ((120.0, 60.0, 40.0), (15.0, 10.0, 5.0)):  # far from what bytes take
        with pytest.raises(ClaimError, match="b132"):
            checked(*milliseconds)


def test_rounding_that_spoils_predictions_fails_b133() -> None:
    namespace = run_cells(NOTEBOOK, SETUP)
    form = {"limit": 30.0, "megabytes": 500.0, "same best": 0.95, "kl": 0.005}
    found = {
        name: {**form, "tfbook": ms, "perplexity": perplexity}
        for name, ms, perplexity in (
            ("float32", 36.0, 18.0),
            ("bfloat16", 18.0, 18.1),
            ("int8", 9.0, 19.0),
        )
    }
    with pytest.raises(ClaimError, match="b133"):
        exec(
            source('"b133"'),
            {**namespace, "found": found, "ids": torch.zeros(1, 321), "partings": []},
        )
