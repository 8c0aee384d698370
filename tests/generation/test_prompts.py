"""Prompts joined to a batch, and what is refused before anything is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from generating import PROMPTS, pair, shared_pair

from tfbook.generation import Sampling
from tfbook.generation.ends import read_ends
from tfbook.generation.next_token import NextToken
from tfbook.generation.prompts import (
    read_prompts,
    require_evaluating,
    require_room,
    require_token,
)
from tfbook.generation.starting import Choosing, Reading, start


def test_short_prompts_are_padded_on_the_left() -> None:
    model, _ = shared_pair("gpt2")
    prompts = read_prompts(model, PROMPTS)
    assert prompts.ids.tolist() == [[3, 7, 11, 5, 7], [-1, -1, -1, -1, 4], [-1, -1, 13, 6, 29]]
    assert prompts.padding is not None
    assert prompts.padding.tolist() == [0, 4, 2]
    assert read_prompts(model, [[3, 4], [5, 6]]).padding is None
    assert read_prompts(model, torch.tensor([[3, 4]])).padding is None


@torch.no_grad()
def test_last_logits_of_padded_prompts() -> None:
    model, _ = shared_pair("llama")
    together = read_prompts(model, PROMPTS).last_logits(model, 1)
    for row, prompt in enumerate(PROMPTS):
        alone = model(torch.tensor([prompt]))[0, -1]
        torch.testing.assert_close(together[row, 0], alone, atol=1e-6, rtol=1e-6)


def test_empty_prompts() -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match=r"ids\[0\] is empty"):
        read_prompts(model, [[]])


def test_too_many_tokens() -> None:
    model, _ = shared_pair("gpt2")
    require_room(model, 40, 1)
    with pytest.raises(ValueError, match="write at most 1 tokens"):
        require_room(model, 40, 2)


def test_special_tokens() -> None:
    model, _ = shared_pair("gpt2")
    ends = read_ends(model, eos_id=[3, 4], pad_id=1, stop=(), tokenizer=None)
    assert ends.eos_ids == (3, 4)
    with pytest.raises(ValueError, match=r"bos_id=31 must lie in \[0, vocab_size=31\)"):
        require_token(model, "bos_id", 31)
    with pytest.raises(ValueError, match=r"pad_id=-1 must lie in \[0, vocab_size=31\)"):
        read_ends(model, eos_id=None, pad_id=-1, stop=(), tokenizer=None)


def test_a_start_that_is_refused() -> None:
    model, _ = shared_pair("gpt2")
    ends = read_ends(model, eos_id=None, pad_id=0, stop=(), tokenizer=None)
    options: dict[str, Any] = dict(max_new_tokens=3, ends=ends, reading=Reading(None, True, None))
    with pytest.raises(ValueError, match="n_sequences=2 greedy sequences"):
        start(model, PROMPTS, choosing=Choosing(Sampling(), [], 0, 2, False), **options)


def test_the_cache_of_next_token() -> None:
    model, _ = pair("gpt2")
    prompts = read_prompts(model, [[3, 4]])
    with pytest.raises(ValueError, match="cache was made for 3 rows"):
        NextToken(model, prompts, max_length=5, cache=model.new_cache(3, 5))
    with pytest.raises(RuntimeError, match="cache has room for max_length=4"):
        NextToken(model, prompts, max_length=5, cache=model.new_cache(1, 4))


def test_a_model_in_training_mode_is_named() -> None:
    model, _ = pair("gpt2")
    require_evaluating("draft", model)
    with pytest.raises(ValueError, match=r"draft is in training mode, .*; call draft.eval\(\)"):
        require_evaluating("draft", model.train())
