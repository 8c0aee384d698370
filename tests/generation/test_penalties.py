"""Penalties by hand, and the repetition penalty beside Hugging Face's."""

from __future__ import annotations

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from tfbook.generation import FrequencyPenalty, RepetitionPenalty


@pytest.mark.parametrize("penalty", [0.7, 1.3, 2.0])
def test_repetition_as_theirs(penalty: float) -> None:
    ids, logits = torch.randint(0, 23, (5, 11)), torch.randn(5, 23)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    ours = RepetitionPenalty(penalty)(ids, logits)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, logits)


def test_padding_is_no_token() -> None:
    logits = torch.randn(2, 5)
    padded = torch.tensor([[-1, -1, 3], [-1, 0, 3]])
    for make in (RepetitionPenalty(1.7), FrequencyPenalty(0.5, presence=0.25)):
        together = make(padded, logits)
        assert together[:1].equal(make(torch.tensor([[3]]), logits[:1]))
        assert together[1:].equal(make(torch.tensor([[0, 3]]), logits[1:]))
        assert together[0, 4] == logits[0, 4]  # id −1 is not the last token


def test_frequency_and_presence_count_what_was_written() -> None:
    ids = torch.tensor([[0, 0, 2, 1, 2], [0, 0, 0, 0, 0]])
    penalty = FrequencyPenalty(0.5, presence=10.0, prompt_length=2)
    given = torch.zeros(2, 4)
    expected = torch.tensor([[0.0, -10.5, -11.0, 0.0], [-11.5, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(penalty(ids, given), expected)
    assert penalty(ids[:, :2], given).equal(given)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (0.0, "repetition_penalty=0.0 must be positive and finite"),
        (-1.0, "repetition_penalty=-1.0 must be positive and finite"),
    ],
)
def test_bad_repetition_penalty(penalty: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RepetitionPenalty(penalty)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(frequency=float("inf")), "frequency_penalty=inf must be finite; .* BannedTokens"),
        (dict(frequency=0.0, presence=float("nan")), "presence_penalty=nan must be finite"),
        (dict(frequency=0.0, prompt_length=-1), "prompt_length=-1 must be at least 0"),
    ],
)
def test_bad_frequency_penalty(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrequencyPenalty(**options)
