"""Streams of random numbers, and draws that follow the distribution."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare, kstest

from tfbook.generation.draws import BLOCK, Uniforms, draw


def numbers(uniforms: Uniforms, n: int) -> torch.Tensor:
    return torch.stack([uniforms.next() for _ in range(n)], dim=1)


def test_a_stream_does_not_depend_on_the_others() -> None:
    n = BLOCK + 3
    wide = numbers(Uniforms([7], n_prompts=3), n)
    assert wide[:1].equal(numbers(Uniforms([7], n_prompts=1), n))
    assert len(wide.unique()) == wide.numel()
    assert not wide.equal(numbers(Uniforms([8], n_prompts=3), n))


def test_a_prompt_with_its_seed_draws_the_same_in_every_row() -> None:
    apart = numbers(Uniforms([5, 9], n_prompts=2, copies=2), 4)
    assert apart[:2].equal(numbers(Uniforms([5], n_prompts=1, copies=2), 4))
    assert apart[2:].equal(numbers(Uniforms([9], n_prompts=1, copies=2), 4))


def test_without_a_seed_torch_says() -> None:
    torch.manual_seed(3)
    first = numbers(Uniforms([], n_prompts=2), 3)
    torch.manual_seed(3)
    assert first.equal(numbers(Uniforms([], n_prompts=2), 3))
    assert not first.equal(numbers(Uniforms([], n_prompts=2), 3))


def test_they_are_uniform() -> None:
    drawn = numbers(Uniforms([1], n_prompts=5), 400)
    assert kstest(drawn.flatten(), "uniform").pvalue > 1e-3
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_draws_follow_the_distribution() -> None:
    p = torch.tensor([0.1, 0.0, 0.4, 0.3, 0.2])
    uniforms = Uniforms([2], n_prompts=4000)
    tokens = draw(p.expand(4000, -1), uniforms.next())
    counts = tokens.bincount(minlength=5)
    assert counts[1] == 0
    real = p > 0
    assert chisquare(counts[real], 4000 * p[real] / p.sum()).pvalue > 1e-3


def test_draws_at_the_edges() -> None:
    p = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).expand(4, -1)
    least, most = 0.0, 1 - 2.0**-53
    uniforms = torch.tensor([least, 0.25 - 1e-9, 0.25, most], dtype=torch.float64)
    assert draw(p, uniforms).tolist() == [1, 1, 3, 3]
    assert draw(7 * p, uniforms).tolist() == [1, 1, 3, 3]


def test_bad_seeds() -> None:
    with pytest.raises(ValueError, match="seed has 2 numbers for 3 prompts; give one for all"):
        Uniforms([1, 2], n_prompts=3)
