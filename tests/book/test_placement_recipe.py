"""The log that chapter 13 replots belongs to the recipe as it stands, and its norms are sound."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tfbook.book import recipe_log
from tfbook.layers import LayerNorm

RECIPE = Path(__file__).parents[2] / "recipes" / "placement"
SETTINGS = json.loads((RECIPE / "settings.json").read_text("utf-8"))


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    # Recipes share the name of their script, and put their folder on the path.
    monkeypatch.syspath_prepend(RECIPE.parent)
    spec = importlib.util.spec_from_file_location("placement_recipe", RECIPE / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_log_holds_every_run_of_the_settings_once(recipe: ModuleType) -> None:
    log = recipe_log("placement")
    assert log["settings"] == SETTINGS
    planned = list(recipe.runs(SETTINGS))
    keys = sorted(planned[0])
    done = sorted(str([run[k] for k in keys]) for run in log["runs"])
    assert done == sorted(str([run[k] for k in keys]) for run in planned)


def test_runs_that_ended_are_whole() -> None:
    for run in recipe_log("placement")["runs"]:
        if "diverged" not in run:
            assert len(run["train"]) == run["n_steps"] // SETTINGS["log_every"]
            assert len(run["layers"]["spread"]) == run["n_layers"]
            assert 0 < run["validation"] < 20


@pytest.mark.parametrize("kind", ["plain", "detached", "shaken"])
def test_changed_norms_give_layer_norm_in_evaluation(recipe: ModuleType, kind: str) -> None:
    x = 3 * torch.randn(2, 5, 7) + 1
    changed = recipe.ChangedNorm(7, kind, 0.5)
    torch.testing.assert_close(changed.eval()(x), LayerNorm(7)(x))
    in_training = changed.train()(x)
    assert torch.allclose(in_training, LayerNorm(7)(x), atol=1e-5) == (kind != "shaken")
    assert any(p.requires_grad for p in changed.parameters()) == (kind != "plain")


def test_a_detached_norm_has_another_gradient(recipe: ModuleType) -> None:
    x = torch.randn(2, 5, 7, requires_grad=True)
    gradients = [
        torch.autograd.grad(norm(x).sin().sum(), x)[0]
        for norm in (recipe.ChangedNorm(7, "detached", 0.5), LayerNorm(7))
    ]
    # With constant statistics the gradient is a scaled cosine; the true one sums to zero.
    assert gradients[0].sum(-1).abs().max() > 0.1
    torch.testing.assert_close(gradients[1].sum(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)


def test_without_a_norm_nothing_changes(recipe: ModuleType) -> None:
    x = torch.randn(2, 5, 7)
    assert recipe.ChangedNorm(7, "none", 0.5)(x) is x
