"""The log and the checkpoints that chapter 05 uses belong to the recipe as it stands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tfbook import hub
from tfbook.book import recipe_log
from tfbook.data import king_james
from tfbook.evaluation import perplexity
from tfbook.models import CausalLM, count_parameters

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tfbook" / "pretrained" / "king_james"
SETTINGS = json.loads((ROOT / "recipes" / "king_james_lm" / "settings.json").read_text("utf-8"))
NAMES = {"characters": "king-james-characters", "bpe": "king-james"}


@pytest.mark.parametrize("name", NAMES)
def test_log_holds_the_whole_run(name: str) -> None:
    run, own = recipe_log("king_james_lm")["models"][name], SETTINGS["models"][name]
    every = SETTINGS["evaluate_every"]
    steps = list(range(every, own["n_steps"] + 1, every))
    assert [record["step"] for record in run["evaluations"]] == steps
    assert run["train"][-1]["step"] == own["n_steps"]


@pytest.mark.parametrize("name", NAMES)
def test_shipped_models_load_and_predict(name: str) -> None:
    pretrained = hub.load(NAMES[name])
    run, stack = recipe_log("king_james_lm")["models"][name], SETTINGS["stack"]
    assert isinstance(pretrained.model, CausalLM)
    assert count_parameters(pretrained.model) == run["n_parameters"]
    assert pretrained.tokenizer.vocab_size == run["vocab_size"]
    assert pretrained.model.config.decoder.d_model == stack["d_model"]
    encode, piece = pretrained.tokenizer.encode, king_james.load("validation")[0]
    score = perplexity(
        pretrained.model, encode(piece[200:1200]), piece[200:1200], prompt=encode(piece[:200]),
        window=SETTINGS["length"],
    )  # fmt: skip
    # One place of the book is not like all: half more or less.
    assert abs(math.log(score.bits_per_byte / run["evaluations"][-1]["bits_per_byte"])) < 0.4


def test_the_checkpoints_are_small_and_alone() -> None:
    expected = {f"{n}{end}" for n in NAMES for end in (".safetensors", "-tokenizer.json")}
    assert {path.name for path in FOLDER.iterdir()} == expected
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000
