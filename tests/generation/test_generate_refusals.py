"""What ``generate`` refuses: prompts, caches, settings, and processors that leave nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from generating import LONGEST, PROMPTS, VOCAB, Letters, pair, shared_pair
from tiny import causal_lm, stack
from torch import Tensor

from tfbook.generation import (
    Generation,
    PromptLookup,
    Sampling,
    generate,
    generate_beams,
    speculate,
    stream,
)
from tfbook.generation.choosing import Choice, process
from tfbook.generation.draws import Uniforms
from tfbook.models import CausalLM
from tfbook.models.config import RotaryConfig, ScalingConfig

BAD: list[tuple[dict[str, Any], str]] = [
    (dict(ids=[]), r"ids=\[\] holds no prompt"),
    (dict(ids=[[3], []]), r"ids\[1\] is empty; begin with at least one token"),
    (dict(ids=[3, 4]), r"ids\[0\]=3 must be a list of ids; for one prompt write \[ids\]"),
    (dict(ids=["abc"]), r"ids\[0\]='abc' must be a list of ids"),
    (dict(ids=[[3, 4.5]]), r"ids\[0\] holds \[4.5\], but must hold integers; encode the text"),
    (dict(ids=[[3, True]]), r"ids\[0\] holds \[True\], but must hold integers"),
    (dict(ids=[[3, VOCAB]]), r"ids holds 31, but ids must lie in \[0, vocab_size=31\)"),
    (dict(ids=[[3, -1], [4]]), "ids holds a negative id; ids start at 0"),
    (dict(ids=torch.tensor([[3, -4]])), r"ids holds -4, but ids must lie in \[0, vocab_size=31\)"),
    (dict(ids=torch.zeros(1, 2)), "ids has dtype torch.float32, but must hold integers"),
    (dict(ids=torch.zeros(2).long()), r"must be \(batch, n\); add the batch axis with ids\[None\]"),
    (dict(ids=torch.zeros(1, 0).long()), r"ids has shape \(1, 0\) and so no token"),
    (dict(max_new_tokens=0), "max_new_tokens=0 must be at least 1"),
    (dict(max_new_tokens=4.5), "max_new_tokens=4.5 must be an integer"),
    (
        dict(ids=[[3] * 38], max_new_tokens=4),
        "a prompt of 38 tokens and max_new_tokens=4 go beyond the model's max_length=41; shorten "
        "the prompt, or write at most 3 tokens",
    ),
    (dict(eos_id=VOCAB), r"eos_id=31 must lie in \[0, vocab_size=31\)"),
    (dict(eos_id=2.5), r"eos_id=2.5 must lie in \[0, vocab_size=31\)"),
    (
        dict(eos_id="<|im_end|>"),
        r"eos_id='<\|im_end\|>' is text, but must be a token's id; use tokenizer.eos_id or "
        r"tokenizer.token_to_id\('<\|im_end\|>'\)",
    ),
    (dict(eos_id=["</s>"]), r"eos_id='</s>' is text, .*tokenizer.token_to_id\('</s>'\)"),
    (dict(pad_id="<pad>"), "pad_id='<pad>' is text, .* use tokenizer.pad_id"),
    (dict(eos_id=True), r"eos_id=True must lie in \[0, vocab_size=31\)"),
    (dict(eos_id=[None]), r"eos_id=None must lie in \[0, vocab_size=31\)"),
    (dict(eos_id=[2, -1]), r"eos_id=-1 must lie in \[0, vocab_size=31\)"),
    (dict(pad_id=99), r"pad_id=99 must lie in \[0, vocab_size=31\)"),
    (dict(n_sequences=2), "n_sequences=2 greedy sequences of a prompt would be equal"),
    (dict(n_sequences=0), "n_sequences=0 must be at least 1"),
    (dict(stop=["x"]), r"stop=\['x'\] needs a tokenizer .* pass tokenizer="),
    (dict(stop="x", tokenizer=Letters()), "stop='x' is one string; write a list"),
    (dict(stop=[""], tokenizer=Letters()), "stop holds '', but each must be a string"),
    (dict(min_new_tokens=2), "min_new_tokens=2 forbids end tokens, and there is no eos_id"),
    (dict(min_new_tokens=9, eos_id=2), r"min_new_tokens=9 must lie in \[0, max_new_tokens=5\]"),
    (dict(sampling=Sampling(seed=[1, 2])), "seed has 2 numbers for 1 prompts"),
    (dict(chunk=0), "chunk=0 must be at least 1"),
    (dict(use_cache=False, cache="new"), "use_cache=False .* a cache was passed; leave one out"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    model, _ = shared_pair("gpt2")
    options = dict(max_new_tokens=5, ids=[[3, 4]]) | change
    if options.get("cache") == "new":
        options["cache"] = model.new_cache(1, 20)
    with pytest.raises(ValueError, match=message):
        generate(model, options.pop("ids"), **options)


def test_a_model_in_training_mode() -> None:
    model, _ = pair("gpt2")
    with pytest.raises(ValueError, match=r"in training mode, .* call model.eval\(\)"):
        generate(model.train(), [[3]], max_new_tokens=5)


def filled(model: CausalLM, n: int, batch: int = 1, room: int = 12) -> Any:
    cache = model.new_cache(batch, room)
    if n:
        model(torch.full((batch, n), 3), cache=cache)
    return cache


def test_caches_of_other_prompts() -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match="cache was made for 2 rows, but there are 1 prompts"):
        generate(model, [[3, 4]], max_new_tokens=5, cache=filled(model, 0, batch=2))
    with pytest.raises(ValueError, match=r"cache has padding=\[0, 0\], but the prompts need"):
        generate(model, [[3, 4], [5]], max_new_tokens=5, cache=filled(model, 0, batch=2))


@pytest.mark.parametrize(
    ("n", "room", "message"),
    [
        (0, 6, "cache has room for max_length=6 tokens, but prompt and new tokens are 7"),
        (2, 12, r"cache holds 2 tokens, but the prompts have only 2, .* cache.crop\(1\) first"),
        (12, 12, "cache holds 12 tokens, but the prompts have only 2"),
    ],
)
def test_caches_that_are_full(n: int, room: int, message: str) -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(RuntimeError, match=message):
        generate(model, [[3, 4]], max_new_tokens=5, cache=filled(model, n, room=room))


def everything(ids: Tensor, logits: Tensor) -> Tensor:
    return torch.full_like(logits, -torch.inf)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(seed=1)])
def test_no_token_is_left(sampling: Sampling) -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(RuntimeError, match=r"row 0 has no token to choose: .* forbid all tokens"):
        generate(model, PROMPTS, max_new_tokens=5, processors=[everything], sampling=sampling)


def nothing(ids: Tensor, logits: Tensor) -> Any:
    logits[:] = 0.0


class OfAll:
    """Keeps the logits of the first row only."""

    def __repr__(self) -> str:
        return "OfAll()"

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        return logits[:1]


def as_bools(ids: Tensor, logits: Tensor) -> Tensor:
    return logits > 0


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (
            nothing,
            r"nothing returned None, but must return .* logits of shape \(3, 31\); return",
        ),
        (OfAll(), r"OfAll\(\) returned .* shape \(1, 31\) and dtype .*, but must return"),
        (as_bools, r"as_bools returned a tensor of shape \(3, 31\) and dtype torch.bool, but"),
    ],
)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(seed=1)])
def test_processors_that_give_no_logits(processor: Any, message: str, sampling: Sampling) -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match=f"processor {message}"):
        generate(model, PROMPTS, max_new_tokens=5, processors=[processor], sampling=sampling)
    options = dict(ids=torch.zeros(3, 2).long(), logits=torch.zeros(3, VOCAB))
    with pytest.raises(ValueError, match=f"processor {message}"):
        process(**options, processors=[processor])
    with pytest.raises(ValueError, match=f"processor {message}"):
        Choice([processor], uniforms=None)(*options.values())


def test_positions_that_depend_on_the_length() -> None:
    """What a cache holds would be turned by another angle; without one it works."""
    scaling = ScalingConfig(kind="dynamic", factor=2.0, original_length=4)
    decoder = stack(d_model=24, placement="pre", rotary=RotaryConfig(scaling=scaling))
    model = causal_lm(positions="rotary", decoder=decoder).eval()
    assert generate(model, [[3, 4]], max_new_tokens=5, use_cache=False).ids.shape == (1, 5)
    with pytest.raises(RuntimeError, match=r"depends on the length .* use_cache=False"):
        generate(model, [[3, 4]], max_new_tokens=5)
    with pytest.raises(RuntimeError, match="depends on the length"):
        generate_beams(model, [[3, 4]], max_new_tokens=5, n_beams=2)
    with pytest.raises(RuntimeError, match="depends on the length"):
        speculate(model, [[3, 4]], draft=PromptLookup(), max_new_tokens=5)
    with pytest.raises(RuntimeError, match="depends on the length"):
        list(stream(model, [[3, 4]], max_new_tokens=5))


def test_logits_that_are_no_numbers() -> None:
    ids, logits = torch.zeros(2, 3).long(), torch.zeros(2, 5)
    logits[1, 3] = torch.nan
    with pytest.raises(RuntimeError, match="row 1 has no token to choose: its logits are NaN"):
        process(ids, logits, [])
    choice = Choice([], uniforms=Uniforms([1], n_prompts=2))
    with pytest.raises(RuntimeError, match="row 1 has no token to choose"):
        choice(ids, logits)


def test_room_is_what_the_model_has() -> None:
    model, _ = shared_pair("gpt2")
    made: Callable[..., Generation] = generate
    assert made(model, [[3] * 38], max_new_tokens=LONGEST - 38).ids.shape == (1, 3)
