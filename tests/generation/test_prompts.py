"""Prompts joined to a batch, and what is refused before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from generating import PAD, PROMPTS, VOCAB, pair, shared_pair

from tfbook.generation import (
    PromptLookup,
    Sampling,
    generate,
    generate_beams,
    score,
    speculate,
    stream,
)
from tfbook.generation.ends import read_ends
from tfbook.generation.next_token import NextToken
from tfbook.generation.prompts import (
    id_lists,
    read_prompts,
    require_evaluating,
    require_room,
    require_token,
)
from tfbook.generation.starting import Choosing, Reading, start
from tfbook.tokenizers import Batch
from tfbook.tokenizers.batching import Side, make_batch


def test_short_prompts_are_padded_on_the_left() -> None:
    model, _ = shared_pair("gpt2")
    prompts = read_prompts(model, PROMPTS)
    assert prompts.ids.tolist() == [[3, 7, 11, 5, 7], [-1, -1, -1, -1, 4], [-1, -1, 13, 6, 29]]
    assert prompts.padding is not None
    assert prompts.padding.tolist() == [0, 4, 2]
    assert read_prompts(model, [[3, 4], [5, 6]]).padding is None
    assert read_prompts(model, torch.tensor([[3, 4]])).padding is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_stands_for_its_texts(side: Side) -> None:
    model, _ = shared_pair("llama")
    batch = make_batch(PROMPTS, pad_id=PAD, side=side)
    read, expected = read_prompts(model, batch), read_prompts(model, PROMPTS)
    assert read.ids.equal(expected.ids)
    assert read.padding is not None
    assert read.padding.equal(expected.padding)
    assert read_prompts(model, make_batch([[3, 4], [5, 6]], pad_id=None)).padding is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_in_every_function(side: Side) -> None:
    model, _ = shared_pair("llama")
    batch = make_batch(PROMPTS, pad_id=PAD, side=side)
    for make in (generate, lambda *a, **k: generate_beams(*a, n_beams=3, **k)):
        expected = make(model, PROMPTS, max_new_tokens=9).ids
        assert make(model, batch, max_new_tokens=9).ids.equal(expected)
    steps = [step.ids for step in stream(model, batch, max_new_tokens=9)]
    assert torch.stack(steps, dim=1).equal(generate(model, PROMPTS, max_new_tokens=9).ids)
    one = Batch(batch.ids[2:], batch.lengths[2:], side)
    guess = dict(draft=PromptLookup(), max_new_tokens=9)
    assert speculate(model, one, **guess).ids.equal(speculate(model, PROMPTS[2:], **guess).ids)
    ends = [[5, 9], [8], [3, 1]]
    scored = score(model, batch, make_batch(ends, pad_id=PAD, side=side))
    assert scored.totals.equal(score(model, PROMPTS, ends).totals)


@pytest.mark.parametrize(
    "ids",
    [
        [[np.int64(3), np.int32(4)], [5, 6]],
        np.array([[3, 4], [5, 6]]),
        np.array([[3, 4], [5, 6]], dtype=np.uint16),
        [np.array([3, 4]), np.array([5, 6])],
        [torch.tensor([3, 4]), torch.tensor([5, 6])],
        list(torch.tensor([[3, 4], [5, 6]])),
        [list(torch.tensor([3, 4])), (5, 6)],
        [range(3, 5), range(5, 7)],
        torch.tensor([[3, 4], [5, 6]], dtype=torch.uint8),
    ],
)
def test_integers_of_numpy_and_torch(ids: Any) -> None:
    model, _ = shared_pair("gpt2")
    assert read_prompts(model, ids).ids.equal(torch.tensor([[3, 4], [5, 6]]))
    expected = generate(model, [[3, 4], [5, 6]], max_new_tokens=3).ids
    assert generate(model, ids, max_new_tokens=3).ids.equal(expected)


BAD: list[tuple[Any, str]] = [
    (np.array([3, 4]), r"ids\[0\]=3 must be a list of ids; for one prompt write \[ids\]"),
    (np.array([[3.0, 4.0]]), r"ids\[0\] holds \[3.0\], but must hold integers"),
    (np.array([[True, False]]), r"ids\[0\] holds \[True\], but must hold integers"),
    ([[np.float32(3)]], r"ids\[0\] holds \[.*3.0.*\], but must hold integers"),
    ([torch.tensor([3.5])], r"ids\[0\] holds \[3.5\], but must hold integers"),
    ([torch.tensor([[3, 4]])], r"ids\[0\] holds \[\[3, 4\]\], but must hold integers"),
    (np.array([[3, VOCAB]]), r"ids holds 31, but ids must lie in \[0, vocab_size=31\)"),
    (
        np.array(3),
        r"ids=array\(3\) is no list of prompts; give lists of ids, .* or a tokenizer's Batch",
    ),
    (None, "ids=None is no list of prompts"),
    (dict(input_ids=[[3]]), "ids={'input_ids': .*} is no list of prompts"),
    (make_batch([[3], []], pad_id=0), r"ids\[1\] is empty; begin with at least one token"),
    (make_batch([[3, VOCAB], [4]], pad_id=0), "ids holds 31, but ids must lie in"),
]


@pytest.mark.parametrize(("ids", "message"), BAD)
def test_what_is_no_prompt(ids: Any, message: str) -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match=message):
        read_prompts(model, ids)


def test_lists_of_ids() -> None:
    assert id_lists("ids", torch.tensor([[3, 4]])) == [[3, 4]]
    assert id_lists("ids", make_batch([[3, 4], []], pad_id=0)) == [[3, 4], []]
    with pytest.raises(ValueError, match=r"continuations\[0\] holds \['a'\], but must hold"):
        id_lists("continuations", [["a"]])


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
    for several in (np.array([3, 4]), torch.tensor([3, 4]), [np.int64(3), 4]):
        ends = read_ends(model, eos_id=several, pad_id=np.int64(1), stop=(), tokenizer=None)
        assert (ends.eos_ids, ends.pad_id) == ((3, 4), 1)
        assert {type(i) for i in (*ends.eos_ids, ends.pad_id)} == {int}
    assert read_ends(model, eos_id=np.int64(3), pad_id=1, stop=(), tokenizer=None).eos_ids == (3,)
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
