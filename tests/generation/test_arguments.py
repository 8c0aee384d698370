"""Arguments of the wrong kind are named before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from generating import PROMPTS, Letters, pair, shared_pair
from tiny import encoder_decoder

from tfbook.generation import (
    PromptLookup,
    Sampling,
    generate,
    generate_beams,
    score,
    speculate,
    stream,
)
from tfbook.generation.arguments import (
    require_decoder,
    require_language_model,
    require_number,
)
from tfbook.generation.choosing import require_choosing
from tfbook.generation.starting import Choosing, Reading

Entry = Callable[..., Any]


def beams(model: Any, ids: Any, **options: Any) -> Any:
    return generate_beams(model, ids, **{"n_beams": 2, **options})


def guessed(model: Any, ids: Any, **options: Any) -> Any:
    return speculate(model, ids, **{"draft": PromptLookup(), **options})


ENTRIES: list[Entry] = [generate, stream, beams, guessed]


def every(message: str, model: Any, **change: Any) -> None:
    """All four refuse a change with the same words."""
    for entry in ENTRIES:
        with pytest.raises(ValueError, match=message):
            entry(model, [[3, 4]], **{"max_new_tokens": 3, **change})


def test_what_is_no_language_model() -> None:
    model, theirs = shared_pair("gpt2")
    loaded = SimpleNamespace(model=model, tokenizer=Letters())
    every(r"model is of type SimpleNamespace, .* new_cache; pass its \.model", loaded)
    every("model is of type GPT2LMHeadModel, .* models.from_huggingface", theirs)
    every("model is of type EncoderDecoder, .* writes with greedy or", encoder_decoder().eval())
    every("model is of type NoneType, but must be a language model", None)
    with pytest.raises(ValueError, match=r"model is of type SimpleNamespace, .* its \.model"):
        score(loaded, [[3]], [[4]])
    with pytest.raises(ValueError, match=r"must be a language model with config and new_cache"):
        require_language_model("model", torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(sampling=None), r"sampling=None must be a Sampling; write Sampling\(.*\), or leave"),
        (dict(sampling={"top_k": 5}), "sampling={'top_k': 5} must be a Sampling"),
        (dict(processors=len), "processors=<built-in .*> must be a list of functions"),
        (dict(processors=None), "processors=None must be a list of functions"),
        (dict(processors=[len, 0.7]), r"processors\[1\]=0.7 cannot be called; give functions from"),
        (dict(max_new_tokens=True), "max_new_tokens=True must be an integer"),
        (dict(max_new_tokens="3"), "max_new_tokens='3' must be an integer; give a whole number"),
    ],
)
def test_what_all_refuse(change: dict[str, Any], message: str) -> None:
    every(message, shared_pair("gpt2")[0], **change)


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        (generate, dict(min_new_tokens=1.0, eos_id=2), "min_new_tokens=1.0 must be an integer"),
        (generate, dict(min_new_tokens=None), "min_new_tokens=None must be an integer"),
        (generate, dict(n_sequences=True), "n_sequences=True must be an integer"),
        (generate, dict(chunk=1.5), "chunk=1.5 must be an integer"),
        (generate, dict(cache=True), r"cache is of type bool, .* KVCache; make it with model\.new"),
        (generate, dict(tokenizer=1), "tokenizer is of type int, but must have decode"),
        (
            generate,
            dict(tokenizer=SimpleNamespace(tokenizer=Letters())),
            r"holds one in \.tokenizer",
        ),
        (generate, dict(stop=None), "stop=None must be a list of strings"),
        (stream, dict(stop=3, tokenizer=Letters()), "stop=3 must be a list of strings"),
        (beams, dict(n_beams=2.0), "n_beams=2.0 must be an integer"),
        (beams, dict(n_groups=True), "n_groups=True must be an integer"),
        (beams, dict(n_sequences="1"), "n_sequences='1' must be an integer"),
        (beams, dict(diversity_penalty="1", n_groups=2), "diversity_penalty='1' must be a number"),
        (guessed, dict(n_guesses=4.0), "n_guesses=4.0 must be an integer"),
        (guessed, dict(n_guesses=True), "n_guesses=True must be an integer"),
        (guessed, dict(tokenizer=1), "tokenizer is of type int, but must have decode"),
        (guessed, dict(draft=None), r"draft is of type NoneType, .* or a PromptLookup\(\)"),
        (guessed, dict(draft=PromptLookup), r"draft is of type type, .* or a PromptLookup\(\)"),
    ],
)
def test_what_some_refuse(entry: Entry, change: dict[str, Any], message: str) -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match=message):
        entry(model, [[3, 4]], **{"max_new_tokens": 3, **change})


def test_a_draft_inside_another_object() -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match=r"draft is of type SimpleNamespace, .* pass its \.model"):
        speculate(model, [[3]], draft=SimpleNamespace(model=model), max_new_tokens=3)


def test_numbers() -> None:
    for value in (3, 0.5, np.float32(0.5), np.int64(3), float("nan")):
        require_number("x", value)
    for bad in (True, "0.5", None, [0.5]):
        with pytest.raises(ValueError, match=r"x=.* must be a number; give one such as 0.7"):
            require_number("x", bad)


def test_each_check_by_itself() -> None:
    require_decoder(Letters())
    with pytest.raises(ValueError, match="tokenizer is of type str, but must have decode"):
        require_decoder("smollm2")
    require_choosing(Sampling(), [len])
    with pytest.raises(ValueError, match=r"sampling=0\.7 must be a Sampling"):
        require_choosing(0.7, [])


def test_what_a_start_is_made_of() -> None:
    with pytest.raises(ValueError, match="sampling=None must be a Sampling"):
        Choosing(None, [], 0, 1, False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cache is of type dict, but must be a KVCache"):
        Reading({}, True, None)  # type: ignore[arg-type]


@pytest.mark.unchecked_shapes
def test_counts_of_numpy() -> None:
    """The annotations say int; those of NumPy do as well."""
    model, _ = shared_pair("gpt2")
    one, two, three = np.int64(1), np.int32(2), np.int64(3)
    options = dict(max_new_tokens=3, sampling=Sampling(seed=1, top_k=5, no_repeat_ngram=2))
    expected = generate(model, [[3, 4]], n_sequences=2, eos_id=2, min_new_tokens=3, **options).ids
    options = dict(
        max_new_tokens=three, sampling=Sampling(seed=one, top_k=np.int64(5), no_repeat_ngram=two)
    )
    options |= dict(n_sequences=two, eos_id=two, min_new_tokens=three, chunk=one, pad_id=one)
    assert generate(model, [[3, 4]], **options).ids.equal(expected)
    beams = dict(n_beams=two, n_groups=one, n_sequences=one)
    assert generate_beams(model, [[3, 4]], max_new_tokens=three, **beams).ids.shape == (1, 1, 3)
    guess = dict(draft=PromptLookup(), n_guesses=two)
    assert speculate(model, [[3, 4]], max_new_tokens=three, **guess).ids.shape == (1, 3)


def test_a_model_that_is_only_called_alike() -> None:
    """What matters is what it has, not its class."""
    model, _ = pair("llama")

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.config, self.new_cache = model, model.config, model.new_cache

        def forward(self, ids: torch.Tensor, **options: Any) -> torch.Tensor:
            return self.inner(ids, **options)

    wrapped = Wrapped().eval()
    made = generate(wrapped, PROMPTS, max_new_tokens=3)
    assert made.ids.equal(generate(model, PROMPTS, max_new_tokens=3).ids)
