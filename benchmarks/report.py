"""The results as a table for readers and as JSON for programs."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
import x_transformers

from benchmarks.attending import D_HEAD, HEADS
from benchmarks.choices import Choice, peer_case
from benchmarks.generating import D_MODEL, N_LAYERS
from benchmarks.timing import Timing, half_quartile_distance
from benchmarks.training_step import PRECISIONS, Sizes
from tfbook.device import has_fast_bfloat16

OURS = "tfbook"


def machine() -> dict[str, str]:
    """Describe the processor and the versions."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "bfloat16 in hardware": "yes" if has_fast_bfloat16("cpu") else "no",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "x-transformers": _version(x_transformers),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(module: object) -> str:
    from importlib.metadata import version

    return version(module.__name__.replace("_", "-"))  # type: ignore[attr-defined]


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a table in Markdown, its first column to the left and the others to the right."""
    head = list(header)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *[[str(c) for c in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sizes(s: Sizes) -> str:
    return (
        f"{s.n_layers} layers, width {s.d_model}, {s.n_heads} heads, length {s.length}, batch "
        f"{s.batch}, vocabulary {s.vocab}"
    )


def training_table(timings: Mapping[str, Mapping[str, Timing]], sizes: Sizes) -> str:
    """Write the training step: seconds, the ratio to the fastest peer, the gain of autocast."""
    fastest = {
        precision: min(t.median for name, t in timings[precision].items() if name != OURS)
        for precision in timings
    }
    rows = []
    for name in timings[PRECISIONS[0]]:
        whole, half = (timings[precision][name] for precision in PRECISIONS)
        rows.append(
            [
                name,
                f"{whole.median:.3f} s",
                f"{whole.median / fastest[PRECISIONS[0]]:.3f}",
                f"{half.median:.3f} s",
                f"{half.median / fastest[PRECISIONS[1]]:.3f}",
                f"{half.median / whole.median:.2f}",
            ]
        )
    header = [
        "system", "float32", "of the fastest peer", "bfloat16 autocast", "of the fastest peer",
        "autocast / float32",
    ]  # fmt: skip
    spread = max(t.spread for group in timings.values() for t in group.values())
    return (
        "## A training step of a causal language model\n\n"
        f"{_sizes(sizes)}: forward, loss, backward, AdamW. The ratio compares with "
        "the fastest system that is not tfbook.\n\n"
        f"{table(header, rows)}\n\n"
        f"Half the distance between the quartiles is at most {spread:.1%} of a median.\n"
    )


def positions_table(rows: Mapping[str, Choice], timings: Mapping[str, Timing], sizes: Sizes) -> str:
    """Write what each position scheme adds."""
    return (
        "## What a position scheme adds\n\n"
        f"The step of tfbook's language model in float32: {_sizes(sizes)}. `none` is plain. Peer "
        "is the scheme of a model of Hugging Face, put into the same step; transformers has none "
        'for the rows with "–" (Perceiver concatenates other frequencies). VITS computes its '
        "attention without a fused kernel, and its vectors end where those of `shaw` are shared. "
        "Concatenated positions leave the output layer untied; so does what they are compared "
        f"with.\n\n{_choices(rows, timings)}"
    )


def norms_table(rows: Mapping[str, Choice], timings: Mapping[str, Timing], sizes: Sizes) -> str:
    """Write what each norm adds."""
    return (
        "## What a norm adds\n\n"
        f"The same step without positions, with another norm in all {2 * sizes.n_layers + 1} "
        "places. `batch_norm` and `power_norm` let later tokens reach earlier ones, and a causal "
        "stack refuses them: they are compared with a stack in which every token sees every token. "
        "Neither transformers nor x-transformers has a `power_norm`, and transformers has no "
        f"`scale_norm`.\n\n{_choices(rows, timings)}"
    )


def _choices(rows: Mapping[str, Choice], timings: Mapping[str, Timing]) -> str:
    lines, spreads = [], [0.0]

    def median(ratios: tuple[float, ...]) -> float:
        spreads.append(half_quartile_distance(ratios))
        return statistics.median(ratios)

    for name, choice in rows.items():
        mine, plain = timings[name], timings[choice.plain]
        added = "" if choice.plain == name else f"{median(mine.over(plain)) - 1:+.1%}"
        line = [f"`{name}`", f"{mine.median:.3f} s", added, choice.peer, "–", "–"]
        if choice.theirs is not None:
            theirs = timings[peer_case(name)]
            line[4] = f"{median(theirs.over(plain)) - 1:+.1%}"
            line[5] = f"{median(mine.over(theirs)):.3f}"
        lines.append(line)
    header = ["choice", "a step", "added to plain", "peer", "the peer adds", "step / peer's step"]
    return (
        f"{table(header, lines)}\n\n"
        "Ratios are medians of the ratios within a repetition. Half the distance between their "
        f"quartiles is at most {100 * max(spreads):.1f} points.\n"
    )


def attention_table(timings: Mapping[int, Mapping[str, Timing]]) -> str:
    """Write the two attention functions over the length."""
    rows = [
        [
            n,
            f"{1e3 * pair['attention'].median:.1f} ms",
            f"{1e3 * pair['fused_attention'].median:.1f} ms",
            f"{pair['fused_attention'].median / pair['attention'].median:.2f}",
        ]
        for n, pair in timings.items()
    ]
    return (
        "## The attention function\n\n"
        f"Causal, batch 1, {HEADS} heads of width {D_HEAD}, float32, forward and backward.\n\n"
        + table(["length", "`attention`", "`fused_attention`", "fused / reference"], rows)
        + "\n"
    )


def generation_table(timings: Mapping[tuple[int, int], Mapping[str, Timing]]) -> str:
    """Write greedy decoding with and without the cache."""
    rows = [
        [
            batch,
            n_tokens,
            f"{pair['cached'].median:.2f} s",
            f"{pair['uncached'].median:.2f} s",
            f"{pair['uncached'].median / pair['cached'].median:.1f}",
        ]
        for (batch, n_tokens), pair in timings.items()
    ]
    return (
        "## Greedy decoding\n\n"
        f"Encoder-decoder, {N_LAYERS} layers each way, width {D_MODEL}.\n\n"
        + table(["batch", "tokens", "cached", "uncached", "uncached / cached"], rows)
        + "\n"
    )


def page(sections: Iterable[str], repetitions: int) -> str:
    """Write the whole page."""
    about = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    return (
        "# Speed\n\nWritten by `make bench`. Medians of CPU seconds over "
        f"{repetitions} repetitions, in one process with one thread; the systems take turns.\n\n"
        f"{about}\n\n" + "\n".join(sections)
    )


def plain(timings: Mapping[Any, Mapping[str, Timing]]) -> dict[str, dict[str, list[float]]]:
    """Give the timings as JSON holds them: seconds of every repetition."""
    return {
        str(group): {name: list(t.seconds) for name, t in pair.items()}
        for group, pair in timings.items()
    }
