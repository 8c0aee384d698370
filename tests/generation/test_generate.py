"""Generation by hand and beside Hugging Face's; batches, caches, seeds, ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from generating import EOS, PAD, PROMPTS, VOCAB, Letters, left_padded, pair, shared_pair
from parity import TOLERANCE, close
from scipy.stats import chisquare
from torch import Tensor

from tfbook.generation import (
    BannedSequences,
    BannedTokens,
    ForcedTokens,
    Generation,
    Sampling,
    generate,
)
from tfbook.generation.choosing import all_processors, process
from tfbook.generation.decoding import Decoding
from tfbook.models import CausalLM

MODELS = ["gpt2", "llama"]
DRAWN = Sampling(temperature=1.3, top_k=17, top_p=0.95, seed=5)
WITH_END = dict(max_new_tokens=19, eos_id=EOS, pad_id=PAD)


def written(made: Generation) -> list[list[int]]:
    """Each row up to its end; behind it there is nothing but padding."""
    rows = []
    for row, length in zip(made.ids.tolist(), made.lengths.tolist(), strict=True):
        assert row[length:] == [PAD] * (len(row) - length)
        rows.append(row[:length])
    return rows


def greedy_by_hand(model: CausalLM, prompt: list[int], n: int) -> list[int]:
    ids = list(prompt)
    while len(ids) < len(prompt) + n and (len(ids) == len(prompt) or ids[-1] != EOS):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def many_prompts(n: int = 24) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(3, VOCAB, (24, 7), generator=generator, device="cpu").tolist()
    return [row[: 1 + i % 7] for i, row in enumerate(rows)][:n]


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_greedy_by_hand(name: str) -> None:
    model, _ = shared_pair(name)
    prompts = many_prompts()
    rows = written(generate(model, prompts, **WITH_END))
    for row, prompt in list(zip(rows, prompts, strict=True))[:5]:
        assert row == greedy_by_hand(model, prompt, 19)
    lengths = {len(row) for row in rows}
    assert len(lengths) > 3, "the ends are not varied"
    assert len({token for row in rows for token in row}) > 7, "the text is not varied"


@pytest.mark.parametrize("name", MODELS)
def test_greedy_as_theirs(name: str) -> None:
    model, theirs = shared_pair(name)
    prompts = many_prompts()
    batch = left_padded(prompts)
    expected = theirs.generate(**batch, max_new_tokens=19, do_sample=False)
    ours = generate(model, prompts, **WITH_END)
    assert ours.ids.tolist() == expected[:, batch["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("sampling", [Sampling(), DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("name", MODELS)
def test_cached_uncached_chunked_and_padded_are_the_same(name: str, sampling: Sampling) -> None:
    model, _ = shared_pair(name)
    prompts = many_prompts(7)
    options = dict(sampling=sampling, **WITH_END)
    together = written(generate(model, prompts, **options))
    assert written(generate(model, prompts, use_cache=False, **options)) == together
    for chunk in (1, 3):
        assert written(generate(model, prompts, chunk=chunk, **options)) == together
    if sampling.is_greedy:
        alone = [written(generate(model, [prompt], **options))[0] for prompt in prompts[:3]]
        assert alone == together[:3]


def test_a_tensor_is_a_batch_of_one_length() -> None:
    model, _ = shared_pair("gpt2")
    ids = torch.randint(3, VOCAB, (3, 5))
    for given in (ids, ids.int()):
        made = generate(model, given, max_new_tokens=4)
        assert made.ids.equal(generate(model, ids.tolist(), max_new_tokens=4).ids)
        assert made.ids.dtype == torch.int64


def test_a_sequence_does_not_depend_on_its_batch() -> None:
    model, _ = shared_pair("llama")
    prompts = many_prompts()[:5]
    seeded = [Sampling(temperature=1.0, seed=s) for s in ([3, 4, 5, 6, 7], [5], 5)]
    together = written(generate(model, prompts, sampling=seeded[0], **WITH_END))
    for one in seeded[1:]:
        assert written(generate(model, prompts[2:3], sampling=one, **WITH_END)) == [together[2]]
    # One seed for all: row by row, whatever comes behind.
    all_rows = written(generate(model, prompts, sampling=seeded[2], **WITH_END))
    assert written(generate(model, prompts[:2], sampling=seeded[2], **WITH_END)) == all_rows[:2]
    # Equal prompts do not get equal texts, and more tokens do not change the first ones.
    same = generate(model, prompts[:1] * 3, sampling=seeded[2], max_new_tokens=9).ids
    assert len(same.unique(dim=0)) == 3
    longer = generate(model, prompts[:1] * 3, sampling=seeded[2], max_new_tokens=17).ids
    assert longer[:, :9].equal(same)


def test_several_sequences_stand_side_by_side() -> None:
    model, _ = shared_pair("gpt2")
    options = dict(sampling=Sampling(temperature=1.0, seed=[3, 8]), **WITH_END)
    for use_cache in (True, False):
        made = generate(model, PROMPTS[:2], n_sequences=3, use_cache=use_cache, **options)
        rows = written(made)
        assert len(rows) == 6
        for i, seed in enumerate((3, 8)):
            alone = generate(
                model, PROMPTS[i : i + 1], n_sequences=3, max_new_tokens=19, eos_id=EOS,
                sampling=Sampling(temperature=1.0, seed=seed),
            )  # fmt: skip
            assert rows[3 * i : 3 * i + 3] == written(alone)


def test_without_a_seed_torch_says() -> None:
    model, _ = shared_pair("gpt2")
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        sampling = Sampling(temperature=1.0)
        drawn.append(generate(model, PROMPTS, sampling=sampling, max_new_tokens=11).ids)
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])


@pytest.mark.parametrize(
    "settings",
    [
        dict(temperature=0.7),
        dict(temperature=3.0, top_k=5),
        dict(temperature=4.0, top_p=0.6),
        dict(temperature=4.0, min_p=0.2),
        dict(temperature=4.0, typical_p=0.5),
        dict(temperature=2.0, repetition_penalty=1.4),
    ],
    ids=str,
)
@torch.no_grad()
def test_first_tokens_follow_the_distribution(settings: dict[str, Any]) -> None:
    model, theirs = shared_pair("llama")
    n, prompt = 3000, PROMPTS[0]
    made = generate(
        model, [prompt], max_new_tokens=1, n_sequences=n, sampling=Sampling(seed=1, **settings)
    )
    # Theirs: the processors that its settings stand for.
    names = {"temperature": 1.0, "top_k": 0, **settings}
    ids = torch.tensor([prompt])
    config, _ = theirs._prepare_generation_config(None, do_sample=True, **names)
    theirs._prepare_special_tokens(config, device=ids.device)
    processors = theirs._get_logits_processor(config, input_ids_seq_length=len(prompt))
    p = processors(ids, theirs(ids).logits[:, -1].float()).softmax(-1)[0].double()
    counts = made.ids[:, 0].bincount(minlength=VOCAB)
    assert counts[p == 0].sum() == 0
    # Chi-square wants at least a few of each kind: the rare ones are one kind.
    common = p * n >= 5
    assert common.sum() > 2
    observed, expected = counts[common].tolist(), (n * p[common]).tolist()
    rare = [float(counts[~common].sum()), float(n * p[~common].sum())]
    if rare[1] > 0:
        observed, expected = [*observed, rare[0]], [*expected, rare[1]]
    assert chisquare(observed, expected, sum_check=False).pvalue > 1e-3


def test_sampling_as_theirs_with_penalties_and_constraints() -> None:
    """Greedy, so that both choose the same; every processor that both have, at once."""
    model, theirs = shared_pair("gpt2")
    prompts = many_prompts()[6::7]  # of one length: theirs counts padding as n-grams
    batch = left_padded(prompts)
    expected = theirs.generate(
        **batch, max_new_tokens=17, do_sample=False, repetition_penalty=1.3, suppress_tokens=[5],
        no_repeat_ngram_size=2, min_new_tokens=4, bad_words_ids=[[7, 8], [11]],
    )  # fmt: skip
    ours = generate(
        model, prompts, max_new_tokens=17, eos_id=EOS, min_new_tokens=4,
        sampling=Sampling(repetition_penalty=1.3, no_repeat_ngram=2),
        processors=[BannedSequences([[7, 8], [11]]), BannedTokens([5])],
    )  # fmt: skip
    assert ours.ids.tolist() == expected[:, batch["input_ids"].shape[1] :].tolist()


def test_processors_see_prompt_and_new_tokens() -> None:
    model, _ = shared_pair("gpt2")
    seen: list[list[list[int]]] = []

    def watch(ids: Tensor, logits: Tensor) -> Tensor:
        assert logits.dtype == torch.float32
        seen.append(ids.tolist())
        return logits

    made = generate(model, [[5, 6, 7], [8]], max_new_tokens=2, processors=[watch])
    first = made.ids[:, 0].tolist()
    assert seen == [
        [[5, 6, 7], [-1, -1, 8]],
        [[5, 6, 7, first[0]], [-1, -1, 8, first[1]]],
    ]


def test_forced_tokens_are_written() -> None:
    model, _ = shared_pair("gpt2")
    forced = ForcedTokens({0: 9, 1: 8, 3: 7}, prompt_length=5)
    made = generate(model, PROMPTS, max_new_tokens=5, processors=[forced])
    assert made.ids[:, [0, 1, 3]].tolist() == [[9, 8, 7]] * 3


def test_ends() -> None:
    model, _ = shared_pair("gpt2")
    prompts = many_prompts()
    made = generate(model, prompts, **WITH_END)
    for row, reason in zip(written(made), made.stopped_by, strict=True):
        assert reason == (EOS if row[-1] == EOS else None)
        assert len(row) == 19 or row[-1] == EOS
    # Several end tokens: the first of either.
    endless = generate(model, prompts, max_new_tokens=19).ids.tolist()
    other = endless[0][2]
    both = generate(model, prompts, max_new_tokens=19, eos_id=[EOS, other])
    for row, whole in zip(written(both), endless, strict=True):
        ends = [i for i, token in enumerate(whole) if token in (EOS, other)]
        assert row == whole[: ends[0] + 1 if ends else 19]
    # The end may be the padding.
    same = generate(model, prompts, max_new_tokens=19, eos_id=EOS, pad_id=EOS)
    assert same.lengths.equal(made.lengths)


def test_stop_strings_and_texts() -> None:
    model, _ = shared_pair("gpt2")
    letters, prompts = Letters(), many_prompts()
    plain = generate(model, prompts, tokenizer=letters, **WITH_END)
    whole = [letters.decode([t for t in row if t != EOS]) for row in written(plain)]
    assert plain.texts == tuple(whole)
    stop = whole[0][2:4]
    made = generate(model, prompts, tokenizer=letters, stop=[stop, "no such"], **WITH_END)
    stopped = 0
    for row, text, reason, full, full_row in zip(
        written(made), made.texts, made.stopped_by, whole, written(plain), strict=True
    ):
        if stop in full:
            assert (text, reason) == (full[: full.find(stop)], stop)
            assert row == full_row[: full.find(stop) + len(stop)]
            stopped += 1
        else:
            assert (text, row) == (full, full_row)
    assert 1 <= stopped < len(prompts)


def test_log_probabilities() -> None:
    model, _ = shared_pair("llama")
    sampling = Sampling(temperature=0.8, top_k=9, repetition_penalty=1.2, seed=2)
    made = generate(model, PROMPTS, sampling=sampling, return_log_probs=True, **WITH_END)
    for row, (prompt, tokens) in enumerate(zip(PROMPTS, written(made), strict=True)):
        ids = torch.tensor([prompt + tokens])
        logits = model(ids)[0, len(prompt) - 1 : -1].float()
        processed = torch.cat(
            [
                process(
                    ids[:, : len(prompt) + i],
                    logits[i : i + 1],
                    all_processors(sampling, [], prompt_length=len(prompt)),
                )
                for i in range(len(tokens))
            ]
        )
        for given, of in [(made.log_probs, logits), (made.processed_log_probs, processed)]:
            expected = of.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
            torch.testing.assert_close(given[row, : len(tokens)], expected)
            assert (given[row, len(tokens) :] == 0).all()
    # Asking changes nothing.
    assert made.ids.equal(generate(model, PROMPTS, sampling=sampling, **WITH_END).ids)


@pytest.mark.parametrize("name", MODELS)
def test_a_cache_that_holds_the_beginning(name: str) -> None:
    model, _ = shared_pair(name)
    prompt = torch.randint(3, VOCAB, (2, 9))
    expected = generate(model, prompt, max_new_tokens=6).ids
    cache = model.new_cache(2, 20)
    model(prompt[:, :4], cache=cache)
    assert generate(model, prompt, max_new_tokens=6, cache=cache).ids.equal(expected)
    # It now holds all but the newest token: talk on.
    assert cache.length == 14
    more = torch.cat([prompt, expected], dim=1)
    again = generate(model, more, max_new_tokens=3, cache=cache).ids
    assert again.equal(generate(model, more, max_new_tokens=3).ids)
    # Or read on by hand.
    with torch.no_grad():
        logits = model(again[:, -1:], cache=cache)[:, -1]
        close(logits, model(torch.cat([more, again], dim=1))[:, -1])


def test_what_comes_out_can_be_trained_on() -> None:
    model, _ = pair("gpt2", torch.float32)
    made = generate(model, PROMPTS[:1], max_new_tokens=4, sampling=DRAWN, return_log_probs=True)
    assert not made.ids.is_inference()
    assert not made.log_probs.is_inference()
    loss = model.train()(made.ids).logsumexp(-1).sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_inference_mode_around_it_leaves_the_weights_fit_for_training() -> None:
    model, _ = pair("llama", torch.float32)
    with torch.inference_mode():
        generate(model, PROMPTS, max_new_tokens=3)
    model(torch.tensor([[3, 4]])).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    model, _ = pair("llama", dtype)
    made = generate(model, PROMPTS, sampling=DRAWN, return_log_probs=True, **WITH_END)
    assert made.log_probs.dtype == torch.float32
    assert made.log_probs.isfinite().all()
    rows = written(generate(model, PROMPTS, **WITH_END))
    for prompt, tokens in zip(PROMPTS, rows, strict=True):
        logits = model(torch.tensor([prompt + tokens]))[0, len(prompt) - 1 : -1].float()
        behind = logits.amax(-1) - logits.gather(1, torch.tensor(tokens)[:, None])[:, 0]
        assert behind.max() <= 2 * TOLERANCE[dtype]


@pytest.mark.gpu
def test_on_a_gpu(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("run with --device")
    model, _ = pair("gpt2", torch.float32)
    made = generate(model.to(device), many_prompts(), **WITH_END)
    alone = generate(model.cpu(), many_prompts(), **WITH_END)
    assert made.lengths.tolist() == alone.lengths.tolist()
    assert made.ids.cpu().equal(alone.ids.cpu())


def test_gpus_are_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU writes too much is cut off."""
    model, _ = shared_pair("gpt2")
    lengths = generate(model, many_prompts(), **WITH_END).lengths.tolist()
    prompts = [p for p, n in zip(many_prompts(), lengths, strict=True) if n < 18][:2]
    options = dict(return_log_probs=True, **WITH_END)
    expected = generate(model, prompts, **options)
    asked = Decoding.__init__

    def rarely(self: Decoding, *given: Any, **named: Any) -> None:
        asked(self, *given, **named)
        self._period = 8

    monkeypatch.setattr(Decoding, "__init__", rarely)
    made = generate(model, prompts, **options)
    assert expected.ids.shape[1] % 8 != 0
    assert made.ids.equal(expected.ids)
    assert made.log_probs.equal(expected.log_probs)
    assert made.stopped_by == expected.stopped_by
