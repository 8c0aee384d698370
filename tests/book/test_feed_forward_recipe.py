"""The log and the model that chapter 14 uses belong to the recipe as it stands."""

from __future__ import annotations

import json
from pathlib import Path

from tfbook.book import recipe_log
from tfbook.data import king_james
from tfbook.models import CausalLM, count_parameters, load_model
from tfbook.tokenizers import CharacterTokenizer

ROOT = Path(__file__).parents[2]
SETTINGS = json.loads((ROOT / "recipes" / "feed_forward" / "settings.json").read_text("utf-8"))
MODEL = ROOT / "tfbook" / "pretrained" / "feed_forward" / "king-james.safetensors"


def test_log_holds_every_run_of_the_settings_once() -> None:
    log = recipe_log("feed_forward")
    assert log["settings"] == SETTINGS
    done = [(r["variant"], r["seed"], r["peak_lr"]) for r in log["runs"]]
    planned = {
        (name, seed, rate)
        for group in SETTINGS["groups"]
        for name in group["variants"]
        for seed in group["seeds"]
        for rate in group["peak_lrs"]
    }
    memory = SETTINGS["memory"]
    planned.add(("memory", memory["seed"], memory["peak_lr"]))
    assert sorted(done) == sorted(planned)


def test_variants_have_equal_parameters_where_the_chapter_says_so() -> None:
    sizes = {r["variant"]: r["n_parameters"] for r in recipe_log("feed_forward")["runs"]}
    plain = sizes["gelu"]
    equal = ["relu", "silu", "squared_relu", "glu", "reglu", "geglu", "swiglu", "shared_wide"]
    for name in [*equal, "ratio_1", "ratio_2", "ratio_7", "parallel"]:
        assert abs(sizes[name] / plain - 1) < 0.003, name
    assert 0.985 < sizes["none"] / plain <= 1
    thin = [sizes[name] for name in ("shared", "low_rank", "narrow")]
    assert max(thin) / min(thin) < 1.01


def test_shipped_model_loads() -> None:
    assert MODEL.stat().st_size < 1_500_000
    model = load_model(MODEL)
    assert isinstance(model, CausalLM)
    stack = SETTINGS["memory"]["stack"]
    config = model.config.decoder
    assert (config.d_model, config.d_ff, config.n_layers) == (
        stack["d_model"],
        stack["d_ff"],
        stack["n_layers"],
    )
    tokenizer = CharacterTokenizer.from_texts(king_james.load("all"))
    assert model.config.vocab_size == tokenizer.vocab_size
    assert count_parameters(model) < 500_000


def test_nothing_else_is_shipped() -> None:
    assert [path.name for path in MODEL.parent.iterdir()] == [MODEL.name]
