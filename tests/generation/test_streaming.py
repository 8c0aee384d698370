"""The steps of a stream are the columns of a generation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from generating import EOS, PAD, PROMPTS, shared_pair

from tfbook.generation import Sampling, generate, stream

OPTIONS = dict(
    max_new_tokens=13, eos_id=EOS, pad_id=PAD, sampling=Sampling(temperature=1.5, seed=4)
)


class Bytes:
    """Two tokens make a letter of two bytes."""

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(0xC3 if i % 2 else 0xA0 + i for i in ids).decode("utf-8", errors="replace")


def test_steps_are_columns() -> None:
    model, _ = shared_pair("llama")
    whole = generate(model, PROMPTS, return_log_probs=True, **OPTIONS)
    steps = list(stream(model, PROMPTS, return_log_probs=True, **OPTIONS))
    assert [step.index for step in steps] == list(range(whole.ids.shape[1]))
    assert torch.stack([step.ids for step in steps], dim=1).equal(whole.ids)
    ended = torch.stack([step.ended for step in steps], dim=1)
    at = torch.arange(1, len(steps) + 1)
    by_end = torch.tensor([reason == EOS for reason in whole.stopped_by])
    assert ended.equal((at >= whole.lengths[:, None]) & by_end[:, None])
    for step, column in zip(steps, whole.log_probs.T, strict=True):
        assert step.log_probs.where(column != 0, 0).equal(column)
    assert len(whole.lengths.unique()) > 1


def test_texts_are_pieces_of_the_text() -> None:
    model, _ = shared_pair("llama")
    options = dict(OPTIONS, tokenizer=Bytes(), n_sequences=2)
    whole = generate(model, PROMPTS, **options)
    steps = list(stream(model, PROMPTS, **options))
    texts = ["".join(pieces) for pieces in zip(*(step.texts for step in steps), strict=True)]
    assert tuple(texts) == whole.texts
    # The same with a stop string, and nothing of it is shown.
    stop = next(letter for text in texts for letter in text if letter != "\ufffd")
    stopped = generate(model, PROMPTS, stop=[stop], **options)
    steps = list(stream(model, PROMPTS, stop=[stop], **options))
    pieces = zip(*(step.texts for step in steps), strict=True)
    assert tuple("".join(of_row) for of_row in pieces) == stopped.texts
    assert stop in stopped.stopped_by
    assert all(stop not in text for text in stopped.texts)


def test_the_mode_does_not_leak_between_steps() -> None:
    model, _ = shared_pair("gpt2")
    for step in stream(model, PROMPTS, max_new_tokens=3):
        assert not torch.is_inference_mode_enabled()
        assert not step.ids.is_inference()
        assert step.texts is None


def test_it_can_be_left_early() -> None:
    model, _ = shared_pair("gpt2")
    steps = stream(model, PROMPTS, max_new_tokens=13)
    expected = generate(model, PROMPTS, max_new_tokens=2).ids
    assert torch.stack([next(steps).ids, next(steps).ids], dim=1).equal(expected)


def test_arguments_are_checked_before_the_first_step() -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match="max_new_tokens=0 must be at least 1"):
        stream(model, PROMPTS, max_new_tokens=0)
