"""Speculative decoding is exact: the same greedy tokens, the same distribution of drawn ones."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from generating import EOS, PROMPTS, VOCAB, Letters, pair, shared_pair
from scipy.stats import chisquare
from tiny import causal_lm, stack
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.generation import (
    LanguageModel,
    NoRepeatNGram,
    Processor,
    PromptLookup,
    Sampling,
    generate,
    speculate,
)
from tfbook.generation import speculative as module
from tfbook.generation.choosing import all_processors, process
from tfbook.generation.drafts import Guess
from tfbook.generation.draws import Uniforms, draw
from tfbook.models import CausalLM


@dataclass(frozen=True)
class Small:
    vocab_size: int = 3
    max_length: int = 30


class Table(nn.Module):
    """The next token depends on the last one and on how often it came before; cheap."""

    def __init__(self, first: list[float]) -> None:
        super().__init__()
        self.config = Small()
        rows = torch.tensor([first, first[1:] + first[:1], first[::-1]])
        self.table = nn.Parameter(rows.log())
        self.seen: list[int] = []

    def forward(
        self, ids: Tensor, *, cache: KVCache, last: int, mask: Any = None, positions: Any = None
    ) -> Tensor:
        self.seen = self.seen[: cache.length] + ids[0].tolist()
        cache.advance(ids.shape[1])
        rows = [
            self.table[token] + 0.5 * self.seen[: i + 1].count(token)
            for i, token in enumerate(self.seen)
        ]
        return torch.stack(rows)[None, -last:]

    def new_cache(
        self, batch: int, max_length: int, *, padding: Tensor | None = None, spare: int = 0
    ) -> KVCache:
        return KVCache(n_layers=1, batch=batch, n_kv_heads=1, max_length=max_length, d_head=1)


START, LENGTH = [0, 1, 2, 0], 3
#: Far apart, or a wrong rule would not show.
LARGE, DRAFT = [0.5, 0.3, 0.2], [0.02, 0.08, 0.9]


def exact(model: Table, sampling: Sampling, processors: Sequence[Processor]) -> dict[Any, float]:
    """The probability of every sequence, from the model's own distributions."""
    every = all_processors(sampling, processors, prompt_length=len(START))
    found = {}
    for tokens in itertools.product(range(3), repeat=LENGTH):
        probability = 1.0
        for i, token in enumerate(tokens):
            ids = torch.tensor([[*START, *tokens[:i]]])
            logits = model(ids, cache=model.new_cache(1, 9), last=1)[0].detach()
            try:
                p = process(ids, logits, every).softmax(-1)
            except RuntimeError:  # a beginning that cannot occur
                assert probability == 0
                break
            probability *= float(p[0, token])
        found[tokens] = probability
    assert abs(sum(found.values()) - 1) < 1e-5
    return found


def p_value(
    draft: LanguageModel | PromptLookup,
    settings: dict[str, Any],
    processors: Sequence[Processor],
    times: int = 400,
) -> float:
    """How well the sequences fit what the large model says."""
    model = Table(LARGE).eval()
    expected = exact(model, Sampling(seed=0, **settings), processors)
    counts: Counter[tuple[int, ...]] = Counter()
    accepted = 0
    for seed in range(times):
        made = speculate(
            model, [START], draft=draft, max_new_tokens=LENGTH, n_guesses=2,
            sampling=Sampling(seed=seed, **settings), processors=processors,
        )  # fmt: skip
        counts[tuple(made.ids[0].tolist())] += 1
        accepted += made.n_accepted
    assert accepted > 0
    impossible = [tokens for tokens, p in expected.items() if p == 0 and counts[tokens]]
    assert not impossible
    # Chi-square wants at least a few of each kind: the rare ones are one kind.
    common = sorted(expected, key=lambda tokens: -expected[tokens])
    while times * (1 - sum(expected[tokens] for tokens in common)) < 5:
        common.pop()
    observed = [float(counts[tokens]) for tokens in common]
    wanted = [times * expected[tokens] for tokens in common]
    observed.append(times - sum(observed))
    wanted.append(times - sum(wanted))
    return float(chisquare(observed, wanted, sum_check=False).pvalue)


DRAFTS: dict[str, Callable[[], LanguageModel | PromptLookup]] = {
    "model": lambda: Table(DRAFT).eval(),
    "lookup": lambda: PromptLookup(),
}


@torch.no_grad()
@pytest.mark.parametrize(
    ("draft", "settings", "processors"),
    [
        ("model", dict(temperature=1.0), []),
        ("model", dict(temperature=1.7, top_k=2, repetition_penalty=1.6), [NoRepeatNGram(3)]),
        ("lookup", dict(temperature=1.2, repetition_penalty=1.3), []),
    ],
    ids=["model", "processed", "lookup"],
)
def test_the_distribution_is_the_models(
    draft: str, settings: dict[str, Any], processors: list[Processor]
) -> None:
    assert p_value(DRAFTS[draft](), settings, processors) > 1e-3


def without_q(p: Tensor, guess: Guess, uniforms: Uniforms) -> Tensor:
    """Wrong: accepts with probability p."""
    everywhere = Guess(guess.tokens, torch.ones_like(guess.q))
    return right(p, everywhere, uniforms)


def without_residual(p: Tensor, guess: Guess, uniforms: Uniforms) -> Tensor:
    """Wrong: replaces a rejected token by a draw from p."""
    new = right(p, guess, uniforms)
    n = len(new) - 1
    if n < len(guess.tokens):
        new[-1:] = draw(p[n : n + 1], uniforms.next())
    return new


def trusting(p: Tensor, guess: Guess, uniforms: Uniforms) -> Tensor:
    """Wrong: accepts everything."""
    return torch.cat([torch.tensor(guess.tokens), draw(p[-1:], uniforms.next())])


right = module.verify


@torch.no_grad()
@pytest.mark.parametrize("wrong", [without_q, without_residual, trusting])
def test_wrong_rules_are_found(
    wrong: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "verify", wrong)
    assert p_value(Table(DRAFT).eval(), dict(temperature=1.0), [], times=300) < 1e-6


def other(model: CausalLM, seed: int) -> CausalLM:
    """A draft that is right now and then: the model with noise on its output."""
    draft, _ = pair("llama")
    torch.manual_seed(seed)
    draft.head.weight.data += 0.3 * torch.randn_like(draft.head.weight)
    return draft.eval()


@pytest.mark.parametrize("n_guesses", [1, 4])
@pytest.mark.parametrize("lookup", [False, True])
def test_greedy_tokens_are_the_same(lookup: bool, n_guesses: int) -> None:
    model, _ = shared_pair("llama")
    draft = PromptLookup() if lookup else other(model, 1)
    guessed = accepted = 0
    for prompt, penalty in [(PROMPTS[0], 1.0), (PROMPTS[2], 1.3), ([9, 5, 6, 9, 5], 1.0)]:
        sampling = Sampling(repetition_penalty=penalty)
        options = dict(max_new_tokens=13, eos_id=EOS, sampling=sampling)
        expected = generate(model, [prompt], **options)
        made = speculate(model, [prompt], draft=draft, n_guesses=n_guesses, **options)
        assert made.ids.equal(expected.ids)
        assert (made.stopped_by,) == expected.stopped_by
        assert made.n_passes <= made.ids.shape[1]
        guessed, accepted = guessed + made.n_guessed, accepted + made.n_accepted
    assert 0 < accepted < guessed, "the draft is always or never right: nothing is tested"


def test_a_perfect_draft_saves_passes() -> None:
    model, _ = shared_pair("gpt2")
    for sampling in (Sampling(), Sampling(temperature=1.0, seed=3)):
        made = speculate(
            model, PROMPTS[:1], draft=model, max_new_tokens=15, n_guesses=4, sampling=sampling
        )
        assert (made.n_passes, made.n_guessed, made.n_accepted) == (3, 12, 12)


def test_windows() -> None:
    """A bounded cache can go back as far as guesses reach."""
    made = causal_lm(torch.float64, tie_output=False, decoder=stack(placement="pre", window=3))
    draft = causal_lm(torch.float64, tie_output=False, decoder=stack(placement="pre"))
    prompt = [[3, 4, 5, 6, 7]]
    expected = generate(made, prompt, max_new_tokens=13).ids
    for guesser in (draft, made, PromptLookup()):
        found = speculate(made, prompt, draft=guesser, max_new_tokens=13, n_guesses=5)
        assert found.ids.equal(expected)


def test_stop_strings_and_text() -> None:
    model, _ = shared_pair("gpt2")
    options = dict(max_new_tokens=15, tokenizer=Letters(), eos_id=EOS)
    whole = speculate(model, PROMPTS[:1], draft=PromptLookup(), **options)
    assert whole.text == generate(model, PROMPTS[:1], **options).texts[0]
    stop = whole.text[3:5]
    options["stop"] = [stop]
    for draft in (PromptLookup(), model):
        made = speculate(model, PROMPTS[:1], draft=draft, **options)
        expected = generate(model, PROMPTS[:1], **options)
        assert (made.text, made.stopped_by) == (expected.texts[0], stop)
        assert made.ids.equal(expected.ids)


def test_seeds() -> None:
    model, _ = shared_pair("gpt2")
    draft = other(model, 2)
    made = [
        speculate(
            model, PROMPTS[:1], draft=draft, max_new_tokens=15,
            sampling=Sampling(temperature=1.5, seed=seed),
        ).ids
        for seed in (1, 1, 2)
    ]  # fmt: skip
    assert made[0].equal(made[1])
    assert not made[0].equal(made[2])
    assert not made[0].is_inference()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    model, _ = pair("gpt2", dtype)
    for sampling in (Sampling(), Sampling(temperature=1.0, seed=3)):
        made = speculate(
            model, PROMPTS[:1], draft=model, max_new_tokens=11, sampling=sampling, n_guesses=3
        )
        assert made.ids.shape == (1, 11)


def another_vocabulary() -> CausalLM:
    made, _ = pair("gpt2")
    object.__setattr__(made.config, "vocab_size", 30)
    return made


def a_short_one() -> CausalLM:
    made, _ = pair("gpt2")
    object.__setattr__(made.config, "max_length", 6)
    return made


BAD: list[tuple[dict[str, Any], str]] = [
    (dict(ids=PROMPTS), "ids holds 3 prompts, but each accepts another number of guesses"),
    (dict(ids=[[]]), r"ids\[0\] is empty"),
    (dict(n_guesses=0), "n_guesses=0 must be at least 1"),
    (dict(draft=another_vocabulary), "draft has a vocabulary of 30 tokens and model one of 31"),
    (dict(draft=lambda: pair("gpt2")[0].train()), r"draft is in training mode, .* draft.eval\(\)"),
    (dict(draft=a_short_one), "draft reads at most max_length=6 tokens, but prompt and new .* 7;"),
    (dict(max_new_tokens=99), "a prompt of 2 tokens and max_new_tokens=99 go beyond"),
    (dict(eos_id=VOCAB), r"eos_id=31 must lie in \[0, vocab_size=31\)"),
    (dict(stop=["x"]), "needs a tokenizer"),
    (dict(sampling=Sampling(seed=[1, 2])), "seed has 2 numbers for 1 prompts"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    model, _ = shared_pair("gpt2")
    options = dict(max_new_tokens=5, ids=[[3, 4]], draft=PromptLookup()) | change
    if not isinstance(options["draft"], PromptLookup):
        options["draft"] = options["draft"]()
    with pytest.raises(ValueError, match=message):
        speculate(model, options.pop("ids"), **options)


def test_no_token_is_left() -> None:
    model, _ = shared_pair("gpt2")

    def everything(ids: Tensor, logits: Tensor) -> Tensor:
        return torch.full_like(logits, -torch.inf)

    with pytest.raises(RuntimeError, match="row 0 has no token to choose"):
        speculate(model, [[3, 4]], draft=PromptLookup(), max_new_tokens=5, processors=[everything])
