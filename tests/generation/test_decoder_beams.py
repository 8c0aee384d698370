"""Beams by hand and beside Hugging Face's; groups by hand, as theirs are gone."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from generating import EOS, PAD, PROMPTS, VOCAB, left_padded, pair, shared_pair

from tfbook.generation import (
    BannedTokens,
    Hypotheses,
    Sampling,
    generate,
    generate_beams,
    score,
)
from tfbook.generation.beam_group import BeamRules
from tfbook.models import CausalLM

N = 7
OPTIONS = dict(max_new_tokens=N, eos_id=EOS, pad_id=PAD)
RULES: list[tuple[bool | None, Any]] = [(True, True), (False, False), (None, "never")]


def rows(made: Hypotheses) -> list[list[list[int]]]:
    """The sequences up to their ends; behind them there is nothing but padding."""
    whole = []
    for of_prompt, lengths in zip(made.ids.tolist(), made.lengths.tolist(), strict=True):
        for row, length in zip(of_prompt, lengths, strict=True):
            assert row[length:] == [PAD] * (len(row) - length)
        whole.append([row[:n] for row, n in zip(of_prompt, lengths, strict=True)])
    return whole


@pytest.mark.parametrize(
    ("name", "length_penalty"),
    [("gpt2", 1.0), ("llama", 0.0), ("llama", 1.0), ("llama", 2.5), ("llama", -1.0)],
)
@pytest.mark.parametrize(("early_stopping", "their_stopping"), RULES)
def test_beams_as_theirs(
    name: str, early_stopping: bool | None, their_stopping: Any, length_penalty: float
) -> None:
    model, theirs = shared_pair(name)
    batch = left_padded(PROMPTS)
    expected = theirs.generate(
        **batch, max_new_tokens=N, num_beams=4, num_return_sequences=3, do_sample=False,
        length_penalty=length_penalty, early_stopping=their_stopping,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    ours = generate_beams(
        model, PROMPTS, n_beams=4, n_sequences=3, length_penalty=length_penalty,
        early_stopping=early_stopping, **OPTIONS,
    )  # fmt: skip
    new = expected.sequences[:, batch["input_ids"].shape[1] :].tolist()
    # Theirs pads with the end token where the padding has id 0.
    cut = [row[: row.index(EOS) + 1] if EOS in row else row for row in new]
    assert [row for of_prompt in rows(ours) for row in of_prompt] == cut
    torch.testing.assert_close(
        ours.scores.flatten(), expected.sequences_scores, atol=1e-5, rtol=1e-5
    )


def test_beams_as_theirs_with_penalties() -> None:
    model, theirs = shared_pair("llama")
    prompts = [PROMPTS[0], PROMPTS[0][::-1]]
    expected = theirs.generate(
        **left_padded(prompts), max_new_tokens=N, num_beams=3, do_sample=False,
        no_repeat_ngram_size=2, repetition_penalty=1.5, suppress_tokens=[4],
    )  # fmt: skip
    ours = generate_beams(
        model, prompts, n_beams=3, processors=[BannedTokens([4])],
        sampling=Sampling(no_repeat_ngram=2, repetition_penalty=1.5), **OPTIONS,
    )  # fmt: skip
    found = expected[:, len(prompts[0]) :].tolist()
    for row, other in zip(rows(ours), found, strict=True):
        assert row[0] == other[: len(row[0])]
        assert set(other[len(row[0]) :]) <= {PAD, EOS}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_one_beam_is_greedy_and_scores_are_log_probabilities(name: str) -> None:
    model, _ = shared_pair(name)
    greedy = generate(model, PROMPTS, **OPTIONS)
    one = generate_beams(model, PROMPTS, n_beams=1, **OPTIONS)
    assert one.ids[:, 0].equal(greedy.ids)
    for made in (one, generate_beams(model, PROMPTS, n_beams=5, n_sequences=5, **OPTIONS)):
        for prompt, sequences, log_probs in zip(PROMPTS, rows(made), made.log_probs, strict=True):
            totals = score(model, [prompt] * len(sequences), sequences).totals
            torch.testing.assert_close(totals.float(), log_probs, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(made.scores, made.log_probs / made.lengths)


def test_cached_and_uncached_batched_and_alone() -> None:
    model, _ = shared_pair("llama")
    options = dict(n_beams=6, n_groups=3, diversity_penalty=0.7, n_sequences=6, **OPTIONS)
    together = generate_beams(model, PROMPTS, **options)
    assert rows(generate_beams(model, PROMPTS, use_cache=False, **options)) == rows(together)
    for prompt, expected in zip(PROMPTS, rows(together), strict=True):
        assert rows(generate_beams(model, [prompt], **options)) == [expected]


def log_p(model: CausalLM, ids: list[int]) -> list[float]:
    return model(torch.tensor([ids]))[0, -1].float().log_softmax(-1).tolist()


Beam = tuple[float, float, list[int]]  # score so far, of which log-probability, tokens


def groups_by_hand(
    model: CausalLM, prompt: list[int], *, n_groups: int, size: int, penalty: float
) -> list[Beam]:
    """Over Python lists, to the last token, with the length as divisor."""
    running: list[list[Beam]] = [[(0.0, 0.0, [])] for _ in range(n_groups)]
    ended: list[list[Beam]] = [[] for _ in range(n_groups)]
    for step in range(1, N + 1):
        taken: Counter[int] = Counter()
        for group in range(n_groups):
            grown = []
            for total, log_prob, ids in running[group]:
                for token, gain in enumerate(log_p(model, prompt + ids)):
                    costs = penalty * taken[token]
                    grown.append((total + gain - costs, log_prob + gain, [*ids, token]))
            grown = sorted(grown, key=lambda beam: -beam[0])[: 2 * size]
            for place, (total, log_prob, ids) in enumerate(grown):
                if place < size and (ids[-1] == EOS or step == N):
                    ended[group].append((total / step, log_prob, ids))
            ended[group] = sorted(ended[group], key=lambda beam: -beam[0])[:size]
            running[group] = [beam for beam in grown if beam[2][-1] != EOS][:size]
            taken.update(beam[2][-1] for beam in running[group])
    return sorted((beam for group in ended for beam in group), key=lambda beam: -beam[0])


@torch.no_grad()
@pytest.mark.parametrize("penalty", [0.0, 0.4, 3.0])
def test_groups_by_hand(penalty: float) -> None:
    model, _ = shared_pair("gpt2")
    prompt = PROMPTS[0]
    expected = groups_by_hand(model, prompt, n_groups=2, size=2, penalty=penalty)
    made = generate_beams(
        model, [prompt], n_beams=4, n_groups=2, diversity_penalty=penalty, n_sequences=4,
        early_stopping=None, **OPTIONS,
    )  # fmt: skip
    if penalty == 0:  # the groups find the same: their order is chance
        assert sorted(rows(made)[0]) == sorted(beam[2] for beam in expected)
        assert len({tuple(row) for row in rows(made)[0]}) == 2
    else:
        assert rows(made)[0] == [beam[2] for beam in expected]
    for place, values in [(0, made.scores), (1, made.log_probs)]:
        for value, beam in zip(values[0].tolist(), expected, strict=True):
            assert math.isclose(value, beam[place], abs_tol=1e-4)


def test_groups_are_more_diverse() -> None:
    model, _ = shared_pair("llama")

    def first_tokens(**options: Any) -> int:
        made = generate_beams(model, PROMPTS, n_beams=6, n_sequences=6, max_new_tokens=N, **options)
        return sum(len(of_prompt.unique()) for of_prompt in made.ids[:, :, 0])

    assert first_tokens(n_groups=6, diversity_penalty=20.0) == 6 * len(PROMPTS)
    assert first_tokens() < 6 * len(PROMPTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    model, _ = pair("llama", dtype)
    made = generate_beams(model, PROMPTS, n_beams=3, n_sequences=3, **OPTIONS)
    assert made.scores.dtype == torch.float32
    assert made.scores.isfinite().all()
    assert not made.ids.is_inference()


BAD: list[tuple[dict[str, Any], str]] = [
    (dict(sampling=Sampling(seed=3)), "draws, and beams do not; leave out temperature, cut-offs"),
    (dict(sampling=Sampling(temperature=0.7)), "draws, and beams do not"),
    (dict(n_beams=0), "n_beams=0 must be at least 1"),
    (dict(n_beams=4, n_groups=3), "n_beams=4 must be divisible by n_groups=3; use 1, 2 or 4"),
    (dict(n_beams=16), "n_beams=16 in n_groups=1 look at 32 tokens, more than .* 31; use fewer"),
    (dict(n_sequences=4), "n_sequences=4 must be at most n_beams=3; search with more beams"),
    (dict(diversity_penalty=1.0), "diversity_penalty=1.0 acts between groups, and n_groups=1"),
    (dict(diversity_penalty=-1.0, n_groups=3), "diversity_penalty=-1.0 must be at least 0"),
    (dict(length_penalty=math.nan), "length_penalty=nan must be finite; 0 ranks by probability"),
    (dict(length_penalty=-math.inf), "length_penalty=-inf must be finite"),
    (dict(length_penalty="1"), "length_penalty='1' must be a number"),
    (
        dict(early_stopping="never"),
        "early_stopping='never' must be True, False or None; None is what others call 'never'",
    ),
    (dict(early_stopping=1), "early_stopping=1 must be True, False or None"),
    (dict(eos_id=VOCAB), r"eos_id=31 must lie in \[0, vocab_size=31\)"),
    (dict(max_new_tokens=40), "a prompt of 5 tokens and max_new_tokens=40 go beyond"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    model, _ = shared_pair("gpt2")
    with pytest.raises(ValueError, match=message):
        generate_beams(model, PROMPTS, **{**OPTIONS, "n_beams": 3, **change})


def test_no_token_is_left() -> None:
    model, _ = shared_pair("gpt2")
    banned = BannedTokens(range(VOCAB))
    with pytest.raises(RuntimeError, match="row 0 has no token to choose"):
        generate_beams(model, PROMPTS, n_beams=3, processors=[banned], **OPTIONS)


def test_rules_of_a_group() -> None:
    rules = dict(size=2, max_new_tokens=3, eos_ids=(), length_penalty=1.0, early_stopping=None)
    assert BeamRules(**rules).n_candidates == 4
    with pytest.raises(ValueError, match="length_penalty=inf must be finite"):
        BeamRules(**{**rules, "length_penalty": math.inf})
    with pytest.raises(ValueError, match="early_stopping='never' must be True, False or None"):
        BeamRules(**{**rules, "early_stopping": "never"})
