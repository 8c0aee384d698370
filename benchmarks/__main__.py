"""Measure speed beside other libraries, and write ``results.md`` and ``results.json``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks import report
from benchmarks.sections import NAMES, sections
from benchmarks.timing import measure, n_calls

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, write."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    repetitions = 3 if options.quick else options.repetitions
    text, data = run(quick=options.quick, repetitions=repetitions, only=options.only)
    print(text)
    if (options.quick or options.only != NAMES) and options.output is None:
        return
    folder = options.output or HERE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(text, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {folder / 'results.md'} and {folder / 'results.json'}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--repetitions", type=int, default=15, help="of each case (default 15)")
    made.add_argument(
        "--quick", action="store_true", help="3 repetitions, small sizes; only prints the table"
    )
    made.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, help="these tables; only prints them"
    )
    made.add_argument("--output", type=Path, help="folder for the results (default: this one)")
    return made


def run(
    *, quick: bool, repetitions: int, only: Sequence[str] = NAMES
) -> tuple[str, dict[str, object]]:
    """Measure everything.

    Args:
        quick: small sizes.
        repetitions: of each case.
        only: the names of the sections.

    Returns:
        The page, and the same as plain values.
    """
    wanted = {name: part for name, part in sections(quick=quick).items() if name in only}
    n_cases = sum(section.n_cases for section in wanted.values())
    tables: list[str] = []
    data: dict[str, object] = {"machine": report.machine()}
    with tqdm(total=n_calls(range(n_cases), repetitions), unit="run") as bar:
        for name, section in wanted.items():
            timings = {}
            for group, cases in section.groups.items():
                bar.set_description(f"{name}, {group}")
                timings[group] = measure(cases(), repetitions=repetitions, bar=bar)
            tables.append(section.table(timings))
            data[name] = report.plain(timings)
    return report.page(tables, repetitions), data


if __name__ == "__main__":
    main()
