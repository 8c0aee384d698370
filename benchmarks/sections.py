"""What is measured: one section of the page each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import (
    attending,
    choices,
    generating,
    language_model_tables,
    language_models,
    report,
    tokenizing,
    training_step,
)
from benchmarks.timing import Timing

Cases = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Section:
    """One table.

    Args:
        groups: make the cases that take turns, by what they share. They are made when their
            turn comes: models take memory.
        n_cases: of all groups together.
        table: writes the section from the timings of every group.
    """

    groups: Mapping[Any, Callable[[], Cases]]
    n_cases: int
    table: Callable[[Mapping[Any, Mapping[str, Timing]]], str]


#: The names of the sections, in the order of the page.
NAMES = (
    "training_step",
    "positions",
    "norms",
    "attention",
    "decoding",
    "generate",
    "smollm2",
    "tokenization",
)


def sections(*, quick: bool) -> dict[str, Section]:
    """Give all sections by name.

    Args:
        quick: small sizes.

    Returns:
        The sections, one for every name in :data:`NAMES`.
    """
    sizes = training_step.Sizes(batch=2, length=64) if quick else training_step.Sizes()
    lengths = (128, 512) if quick else (128, 256, 512, 1024, 2048, 4096)
    decodings = ((1, 16),) if quick else ((1, 128), (8, 64))
    writings = [language_models.Writing(1000, batch, 256) for batch in (1, 8)]
    writings += [language_models.Writing(50_257, batch, 64) for batch in (1, 8)]
    writings = [language_models.Writing(1000, 1, 64)] if quick else writings
    kinds = language_models.WEIGHTS
    return {
        "training_step": _training(sizes),
        "positions": _chosen(choices.POSITIONS, report.positions_table, sizes),
        "norms": _chosen(choices.NORMS, report.norms_table, sizes),
        "attention": Section(
            {n: partial(attending.cases, n) for n in lengths},
            len(attending.FUNCTIONS) * len(lengths),
            report.attention_table,
        ),
        "decoding": Section(
            {shape: partial(generating.cases, *shape) for shape in decodings},
            2 * len(decodings),
            report.generation_table,
        ),
        "generate": Section(
            {writing: partial(language_models.cases, writing) for writing in writings},
            (1 + len(language_models.CACHES)) * len(writings),
            language_model_tables.written_table,
        ),
        "smollm2": Section(
            {weights: partial(language_models.token_cases, weights) for weights in kinds},
            language_models.n_token_cases(kinds),
            language_model_tables.token_table,
        ),
        "tokenization": Section(
            {name: partial(tokenizing.cases, name) for name in tokenizing.TEXTS}
            | {name: partial(tokenizing.other_cases, name) for name in tokenizing.OTHERS},
            len(tokenizing.CASES) * len(tokenizing.TEXTS)
            + len(tokenizing.OTHER_CASES) * len(tokenizing.OTHERS),
            tokenizing.tokenization_table,
        ),
    }


def _training(sizes: training_step.Sizes) -> Section:
    def cases(precision: str) -> Cases:
        return {name: training_step.step(name, precision, sizes) for name in training_step.SYSTEMS}

    precisions = training_step.PRECISIONS
    return Section(
        {precision: partial(cases, precision) for precision in precisions},
        len(training_step.SYSTEMS) * len(precisions),
        partial(report.training_table, sizes=sizes),
    )


def _chosen(
    rows: Mapping[str, choices.Choice],
    table: Callable[[Mapping[str, choices.Choice], Mapping[str, Timing], training_step.Sizes], str],
    sizes: training_step.Sizes,
) -> Section:
    precision = training_step.PRECISIONS[0]
    return Section(
        {precision: partial(choices.cases, rows, sizes)},
        choices.n_cases(rows),
        lambda timings: table(rows, timings[precision], sizes),
    )
