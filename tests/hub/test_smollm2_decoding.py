"""Greedy text of SmolLM2: the same however it is computed, and the same as transformers'."""

from __future__ import annotations

import gguf_files
import pytest
import torch
from torch import Tensor

from tfbook import hub
from tfbook.generation import generate
from tfbook.hub import Pretrained
from tfbook.hub.gguf import read_gguf
from tfbook.hub.llama_gguf import LlamaTensors, llama_config
from tfbook.models import CausalLM
from tfbook.tokenizers import BPETokenizer

SmolLM2 = Pretrained[CausalLM, BPETokenizer]

N_NEW = 256
#: Two logits closer than this may change places from one way of adding to another.
CLOSE = 1e-3
PROMPTS = (
    "The",
    "A tokenizer turns text into",
    "Attention weights sum to one because",
    "In the beginning",
    "def fibonacci(n):\n    ",
    "Once upon a time, in a village by the sea, there lived an old man who repaired clocks. Every",
    "1, 2, 3, 4,",
    "Die Hauptstadt von Frankreich ist",
    "Q: Why is the sky blue?\nA:",
    "Dear Sir or Madam,\n\nI am writing to ask whether the room that you offered last week",
)


@pytest.fixture(scope="module")
def smollm2() -> SmolLM2:
    return hub.load("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def prompts(smollm2: SmolLM2) -> list[list[int]]:
    return [smollm2.tokenizer.encode(text) for text in PROMPTS]


@pytest.fixture(scope="module")
def written(smollm2: SmolLM2, prompts: list[list[int]]) -> Tensor:
    """256 greedy tokens of every prompt, ``(10, 256)``, in one batch padded on the left."""
    return generate(smollm2.model, prompts, max_new_tokens=N_NEW).ids


@pytest.fixture(scope="module")
def teacher_forced(smollm2: SmolLM2, prompts: list[list[int]], written: Tensor) -> list[Tensor]:
    """Logits that chose each token, ``(256, vocab)``, from one pass without a cache.

    Where the largest of them is the token that was written, all along the text, writing without
    a cache gives the same text: it begins alike, and goes on alike.
    """
    with torch.no_grad():
        return [
            smollm2.model(torch.tensor([prompt + new.tolist()]), last=N_NEW + 1)[0, :-1]
            for prompt, new in zip(prompts, written, strict=True)
        ]


def differs(new: Tensor, written: Tensor, logits: Tensor) -> bool:
    """Whether two texts part where the best two logits do not tie.

    Args:
        new: one text, ``(256,)``.
        written: the other.
        logits: that chose the other, ``(256, vocab)``.
    """
    parted = (new != written).nonzero().flatten()
    if len(parted) == 0:
        return False
    best = logits[parted[0]].topk(2).values
    return bool(best[0] - best[1] >= CLOSE)


def chosen_otherwise(logits: Tensor, written: Tensor) -> Tensor:
    """How far each written token lies below the best, where that is more than a tie; nats."""
    below = logits.max(dim=-1).values - logits.gather(1, written[:, None])[:, 0]
    return below[below >= CLOSE]


def test_prompts_differ_in_length(prompts: list[list[int]]) -> None:
    assert len(prompts) == 10
    assert len({len(prompt) for prompt in prompts}) >= 6


def test_the_text_is_that_of_uncached_decoding(
    written: Tensor, teacher_forced: list[Tensor]
) -> None:
    assert written.shape == (10, N_NEW)
    for logits, new in zip(teacher_forced, written, strict=True):
        assert len(chosen_otherwise(logits, new)) == 0


def test_the_text_is_that_of_transformers(prompts: list[list[int]], written: Tensor) -> None:
    values, stored = read_gguf(hub.fetch(hub.SMOLLM2))
    config = llama_config(values, stored)
    theirs = gguf_files.transformers_llama(config, dict(LlamaTensors(stored, config)))
    for prompt, new in zip(prompts, written, strict=True):
        with torch.no_grad():
            logits = theirs(torch.tensor([prompt + new.tolist()])).logits
        assert len(chosen_otherwise(logits[0, len(prompt) - 1 : -1], new)) == 0


def test_alone(
    smollm2: SmolLM2, prompts: list[list[int]], written: Tensor, teacher_forced: list[Tensor]
) -> None:
    for prompt, new, logits in zip(prompts, written, teacher_forced, strict=True):
        alone = generate(smollm2.model, [prompt], max_new_tokens=N_NEW).ids[0]
        assert not differs(alone, new, logits)


def test_prompts_in_chunks(
    smollm2: SmolLM2, prompts: list[list[int]], written: Tensor, teacher_forced: list[Tensor]
) -> None:
    chunked = generate(smollm2.model, prompts, max_new_tokens=3, chunk=5).ids
    for new, whole, logits in zip(chunked, written, teacher_forced, strict=True):
        assert not differs(new, whole[:3], logits)


@torch.no_grad()
def test_the_whole_text_in_chunks(
    smollm2: SmolLM2, prompts: list[list[int]], written: Tensor
) -> None:
    """Of a batch that is padded on the left, by way of the cache."""
    texts = [prompt + new.tolist() for prompt, new in zip(prompts, written, strict=True)]
    width = max(len(text) for text in texts)
    padding = torch.tensor([width - len(text) for text in texts])
    ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    cache = smollm2.model.new_cache(len(texts), width, padding=padding)
    for piece in ids[:, :-1].split(37, dim=1):
        start = cache.length
        logits = smollm2.model(piece, cache=cache)
        for at in range(max(start, width - N_NEW - 1), cache.length):
            assert len(chosen_otherwise(logits[:, at - start], ids[:, at + 1])) == 0


def test_a_wrong_position_would_be_seen(
    smollm2: SmolLM2, prompts: list[list[int]], written: Tensor
) -> None:
    ids = torch.tensor([prompts[5] + written[5].tolist()])
    shifted = torch.arange(ids.shape[1])
    shifted[len(prompts[5]) :] -= 1  # as if the cache had forgotten one token
    with torch.no_grad():
        logits = smollm2.model(ids, positions=shifted, last=N_NEW + 1)[0, :-1]
    assert len(chosen_otherwise(logits, written[5])) > 0
