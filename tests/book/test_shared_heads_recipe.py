"""The log of the models that share keys and values holds what its settings say."""

from __future__ import annotations

import itertools

import pytest

from tfbook.book import recipe_log
from tfbook.evaluation import cache_bytes
from tfbook.models import CausalLM, CausalLMConfig, StackConfig, count_parameters

VOCAB_SIZE = 71  # 68 characters and three special tokens
LOG = recipe_log("shared_heads")
SETTINGS = LOG["settings"]


def test_it_holds_every_run_once() -> None:
    runs = [(run["variant"], run["seed"]) for run in LOG["runs"]]
    assert sorted(runs) == sorted(itertools.product(SETTINGS["variants"], SETTINGS["seeds"]))
    for run in LOG["runs"]:
        assert [step for step, _ in run["curve"]] == [200, 400]
        assert run["curve"][-1][1] == pytest.approx(run["loss"], abs=1e-4)
        assert run["curve"][-1][1] < run["curve"][0][1]


@pytest.mark.parametrize("name", SETTINGS["variants"])
def test_sizes_are_those_of_the_models(name: str) -> None:
    stack = StackConfig(**{**SETTINGS["stack"], **SETTINGS["variants"][name]})
    config = CausalLMConfig(vocab_size=VOCAB_SIZE, decoder=stack, positions=SETTINGS["positions"])
    model = CausalLM(config)
    for run in LOG["runs"]:
        if run["variant"] == name:
            assert run["n_parameters"] == count_parameters(model)
            assert run["cache_bytes_per_token"] == cache_bytes(stack, 1)
            assert (run["n_heads"], run["n_kv_heads"]) == (stack.n_heads, stack.kv_heads)


def test_the_widened_variants_have_as_many_parameters_as_multi_head() -> None:
    counts = {run["variant"]: run["n_parameters"] for run in LOG["runs"]}
    for name in ("multi-query, wider", "one narrow head"):
        assert counts[name] == pytest.approx(counts["multi-head"], rel=0.002)
