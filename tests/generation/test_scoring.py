"""Log-probabilities of continuations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from generating import PROMPTS, VOCAB, pair, shared_pair

from tfbook.generation import generate, score

CONTINUATIONS = [[5, 9, 2, 7], [8], [3, 1]]


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_by_hand_and_as_theirs(name: str) -> None:
    model, theirs = shared_pair(name)
    made = score(model, PROMPTS, CONTINUATIONS)
    assert made.lengths.tolist() == [4, 1, 2]
    for of in (model, lambda ids: theirs(ids).logits):
        for row, (prompt, tokens) in enumerate(zip(PROMPTS, CONTINUATIONS, strict=True)):
            log_p = of(torch.tensor([prompt + tokens]))[0].float().log_softmax(-1)
            expected = torch.stack(
                [log_p[len(prompt) - 1 + i, token] for i, token in enumerate(tokens)]
            )
            torch.testing.assert_close(made.log_probs[row, : len(tokens)], expected)
            torch.testing.assert_close(made.totals[row], expected.sum())
            assert (made.log_probs[row, len(tokens) :] == 0).all()


def test_what_generate_says_of_its_tokens() -> None:
    model, _ = shared_pair("llama")
    written = generate(model, PROMPTS, max_new_tokens=6, return_log_probs=True)
    again = score(model, PROMPTS, written.ids.tolist())
    torch.testing.assert_close(again.log_probs, written.log_probs, atol=1e-5, rtol=1e-5)


def test_all_continuations_of_one_token_have_mass_one() -> None:
    model, _ = pair("gpt2", torch.float32)
    made = score(model, [PROMPTS[0]] * VOCAB, [[token] for token in range(VOCAB)])
    torch.testing.assert_close(made.totals.exp().sum(), torch.tensor(1.0))


def test_tensors_and_arrays_are_taken() -> None:
    model, _ = shared_pair("gpt2")
    whole = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10]])
    expected = score(model, whole[:, :2].tolist(), whole[:, 2:].tolist()).totals
    assert score(model, whole[:, :2], whole[:, 2:]).totals.equal(expected)
    assert score(model, whole[:, :2].numpy(), list(whole[:, 2:])).totals.equal(expected)


BAD: list[tuple[dict[str, Any], str]] = [
    (dict(continuations=[[3]]), "there are 3 prompts and 1 continuations; give one for each"),
    (dict(continuations=[[3], [], [4]]), r"prompts\[1\] has 1 tokens and continuations\[1\] has 0"),
    (dict(prompts=[[3], [4], []]), r"prompts\[2\] has 0 tokens and continuations\[2\] has 2"),
    (dict(prompts=[[3], [4], [VOCAB]]), r"ids holds 31, but ids must lie in \[0, vocab_size=31\)"),
    (dict(prompts=[[3], [4.5], [5]]), r"prompts\[1\] holds \[4.5\], but must hold integers"),
    (dict(continuations=[[3], "ab", [5]]), r"continuations\[1\]='ab' must be a list of ids"),
    (dict(continuations=torch.rand(3, 2)), r"continuations\[0\] holds \[0\..*must hold integers"),
    (dict(continuations=None), "continuations=None is no list of continuations"),
    (dict(prompts=[[3] * 40, [4], [5]]), "a prompt of 40 tokens and max_new_tokens=4 go beyond"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    model, _ = shared_pair("gpt2")
    arguments = dict(prompts=PROMPTS, continuations=CONTINUATIONS) | change
    with pytest.raises(ValueError, match=message):
        score(model, **arguments)
