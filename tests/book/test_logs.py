"""The logs that chapters replot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfbook.book import recipe_log
from tfbook.data import cmudict, king_james

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
# recipes/king_james.py is what these four share; the others train on letters and phonemes.
KING_JAMES = {"length", "placement", "feed_forward", "king_james_lm", "shared_heads"}


@pytest.mark.parametrize("name", sorted(p.name for p in RECIPES.iterdir() if p.is_dir()))
def test_every_recipe_has_its_log(name: str) -> None:
    log = recipe_log(name)
    assert log["settings"] == json.loads((RECIPES / name / "settings.json").read_text())
    data = king_james if name in KING_JAMES else cmudict
    assert log["data_sha256"] == data.DATA_SHA256


def test_the_log_of_lengths_holds_every_run_once() -> None:
    log = recipe_log("length")
    settings = log["settings"]
    planned = [(p, seed) for p in settings["positions"] for seed in settings["seeds"]]
    assert sorted((r["positions"], r["seed"]) for r in log["runs"]) == sorted(planned)
    for run in log["runs"]:
        scalings = [None, *(settings["scalings"] if run["positions"] == "rotary" else [])]
        measured = [(e["scaling"], e["length"]) for e in run["evaluations"]]
        assert measured == [(s, n) for s in scalings for n in settings["lengths"]]
        # The loss over all positions is the mean of the buckets, which are of equal size.
        for e in run["evaluations"]:
            buckets = [loss for _, _, loss in e["by_position"]]
            assert abs(sum(buckets) / len(buckets) - e["loss"]) < 2e-5


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="name='bread' is unknown; use "):
        recipe_log("bread")
