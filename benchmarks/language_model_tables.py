"""The tables of :mod:`benchmarks.language_models`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.language_models import (
    CACHES,
    PROMPT,
    SMOLLM2_PROMPT,
    SMOLLM2_TOKENS,
    TOKEN_SYSTEMS,
    Writing,
)
from benchmarks.report import table
from benchmarks.timing import Timing


def written_table(timings: Mapping[Writing, Mapping[str, Timing]]) -> str:
    """Write tokens per second of both libraries, and the ratio to the faster of their caches."""
    rows = []
    for writing, group in timings.items():
        theirs = [group[f"Hugging Face, {cache}"] for cache in CACHES]
        best = min(theirs, key=lambda timing: timing.median)
        ratio = statistics.median(best.over(group["tfbook"]))
        written = writing.batch * writing.n_tokens
        speeds = [f"{written / t.median:.0f}" for t in (group["tfbook"], *theirs)]
        sizes = [f"{writing.vocab_size:,}", writing.batch, writing.n_tokens]
        rows.append([*sizes, *speeds, f"{ratio:.2f}"])
    names = [f"Hugging Face, {cache}" for cache in CACHES]
    header = ["vocabulary", "batch", "new tokens", "tfbook", *names, "tfbook / best"]
    return (
        "## Writing with a language model\n\n"
        "Greedy `generate` of a GPT-2 with 4 layers and width 256 in float32: tokens a second "
        f"after a prompt of {PROMPT}, the same weights and the same tokens. The ratio is of tokens "
        "a second, to the better of Hugging Face's two caches. With GPT-2's own vocabulary most "
        "of a step is the product with the output layer, which both must do.\n\n"
        f"{table(header, rows)}\n"
    )


def token_table(timings: Mapping[str, Mapping[str, Timing]], n_tokens: int = SMOLLM2_TOKENS) -> str:
    """Write milliseconds a token of SmolLM2 for each type of weights."""
    rows = []
    for weights, group in timings.items():
        seconds = {name: _after_prompt(group, name) for name in TOKEN_SYSTEMS if name in group}
        over = statistics.median(
            a / b for a, b in zip(seconds["tfbook"], seconds["linear layers alone"], strict=True)
        )
        cells = [
            f"{1e3 * statistics.median(seconds[name]) / n_tokens:.1f} ms"
            if name in seconds
            else "–"
            for name in TOKEN_SYSTEMS
        ]
        rows.append([weights, *cells, f"{over:.2f}"])
    header = ["weights", *TOKEN_SYSTEMS, "tfbook / linear layers"]
    return (
        "## A token of SmolLM2-135M\n\n"
        f"Greedy `generate` at batch 1, {n_tokens} tokens after a prompt of {SMOLLM2_PROMPT}, the "
        "prompt taken off. Beside it the products of one token with every matrix of the model, "
        "each called as the layer that it is. Hugging Face's model has the same weights; for "
        "int8 it would need another library.\n\n"
        f"{table(header, rows)}\n"
    )


def _after_prompt(group: Mapping[str, Timing], name: str) -> list[float]:
    """Seconds of every repetition, without those for the prompt and the first token."""
    seconds = list(group[name].seconds)
    prompt = group.get(f"{name}, prompt")
    if prompt is None:
        return seconds
    return [a - b for a, b in zip(seconds, prompt.seconds, strict=True)]
