"""What a Sampling stands for, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tfbook.generation import (
    FrequencyPenalty,
    MinP,
    NoRepeatNGram,
    RepetitionPenalty,
    Sampling,
    Temperature,
    TopK,
    TopP,
    Typical,
)


def test_the_order_of_the_processors() -> None:
    sampling = Sampling(
        temperature=0.5,
        top_k=5,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.8,
        repetition_penalty=1.2,
        frequency_penalty=0.3,
        presence_penalty=0.4,
        no_repeat_ngram=3,
    )
    assert sampling.cutoffs() == [Temperature(0.5), TopK(5), TopP(0.9), MinP(0.1), Typical(0.8)]
    assert sampling.penalties(prompt_length=7) == [
        RepetitionPenalty(1.2),
        FrequencyPenalty(0.3, presence=0.4, prompt_length=7),
        NoRepeatNGram(3),
    ]


@pytest.mark.parametrize(
    ("settings", "is_greedy"),
    [
        (dict(), True),
        (dict(repetition_penalty=1.3), True),
        (dict(temperature=0), True),
        (dict(temperature=0.0, top_k=5, seed=1), True),
        (dict(temperature=1.0), False),
        (dict(top_k=5), False),
        (dict(top_p=1.0), False),
        (dict(min_p=0.2), False),
        (dict(typical_p=0.2), False),
        (dict(seed=0), False),
    ],
)
def test_when_it_is_greedy(settings: dict[str, Any], is_greedy: bool) -> None:
    sampling = Sampling(**settings)
    assert sampling.is_greedy == is_greedy
    if is_greedy:
        assert sampling.cutoffs() == []


def test_neutral_settings_stand_for_nothing() -> None:
    assert Sampling(temperature=1.0).cutoffs() == []
    assert Sampling(temperature=1.0).penalties(prompt_length=3) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(temperature=-0.1), "temperature=-0.1 must be at least 0 and finite; 0 is greedy"),
        (dict(temperature=float("nan")), "temperature=nan must be at least 0"),
        (dict(top_k=0), "top_k=0 must be an integer of at least 1"),
        (dict(top_p=0), r"top_p=0 must lie in \(0, 1\]"),
        (dict(top_p=1.5), r"top_p=1.5 must lie in \(0, 1\]"),
        (dict(temperature=0.0, top_p=0.0), r"top_p=0.0 must lie in \(0, 1\]"),
        (dict(min_p=-0.1), r"min_p=-0.1 must lie in \(0, 1\]"),
        (dict(typical_p=0), r"typical_p=0 must lie in \(0, 1\]"),
        (dict(typical_p=1.01), r"typical_p=1.01 must lie in \(0, 1\]"),
        (dict(repetition_penalty=0), "repetition_penalty=0 must be positive"),
        (dict(frequency_penalty=float("inf")), "frequency_penalty=inf must be finite"),
        (dict(no_repeat_ngram=0), "no_repeat_ngram=0 must be an integer of at least 1"),
        (dict(seed=-1), "seed=-1 must be an integer of at least 0, or one such for each"),
        (dict(seed=[]), r"seed=\[\] must hold one for each prompt; None draws without"),
        (dict(seed=True), "seed=True must be an integer of at least 0"),
        (dict(seed=2.5), "seed=2.5 must be an integer of at least 0"),
        (dict(seed="7"), "seed='7' must be an integer of at least 0"),
        (dict(seed=np.array([0.5])), r"seed=array\(\[0.5\]\) must be an integer"),
        (dict(temperature="0.7"), "temperature='0.7' must be a number; give one such as 0.7"),
        (dict(temperature=True), "temperature=True must be a number"),
        (dict(top_k=True), "top_k=True must be an integer of at least 1"),
        (dict(top_k=5.0), "top_k=5.0 must be an integer of at least 1"),
        (dict(top_p="0.9"), "top_p='0.9' must be a number"),
        (dict(min_p="0.9"), "min_p='0.9' must be a number"),
        (dict(typical_p=[0.9]), r"typical_p=\[0.9\] must be a number"),
        (dict(repetition_penalty=None), "repetition_penalty=None must be a number"),
        (dict(frequency_penalty="1"), "frequency_penalty='1' must be a number"),
        (dict(presence_penalty=None), "presence_penalty=None must be a number"),
        (dict(no_repeat_ngram=True), "no_repeat_ngram=True must be an integer of at least 1"),
        (dict(seed=[3, -1]), r"seed=\[3, -1\] must be an integer of at least 0"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)


@pytest.mark.parametrize(
    ("seed", "seeds"),
    [
        (np.int64(3), (3,)),
        (np.array([3, 4]), (3, 4)),
        ([np.int64(3), 4], (3, 4)),
        (torch.tensor([3, 4]), (3, 4)),
        (range(2), (0, 1)),
        (None, ()),
    ],
)
def test_seeds_of_numpy_and_torch(seed: Any, seeds: tuple[int, ...]) -> None:
    made = Sampling(seed=seed).seeds
    assert made == seeds
    assert all(type(one) is int for one in made)


def test_processors_of_impossible_settings() -> None:
    """The lists check again what they make."""
    sampling = Sampling()
    object.__setattr__(sampling, "top_k", 0)
    object.__setattr__(sampling, "repetition_penalty", -1.0)
    with pytest.raises(ValueError, match="top_k=0"):
        sampling.cutoffs()
    with pytest.raises(ValueError, match=r"repetition_penalty=-1\.0"):
        sampling.penalties(prompt_length=3)
