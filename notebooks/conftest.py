"""Every notebook is a test, and its execution is what the book shows.

nbval runs each code cell as one test, here in a kernel of our own (tests/support/notebook_kernel).
This file adds, for every notebook:

* its outputs go to the jupyter-cache from which the book is built
  (tfbook.book.execution_cache), unless a cell failed;
* a last test, "budget", which fails when the notebook took too much time or memory;
* what was measured goes to _build/measurements.json, which the site shows.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

# The kernels inherit this. With two threads on a busy machine, short cells take many times longer.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import nbformat
import nbval.plugin
import pytest
import yaml
from nbval.plugin import IPyNbCell, IPyNbFile
from notebook_kernel import Kernel, Meter

ROOT = Path(__file__).resolve().parent.parent
PROPERTY = "executed notebook"
SECONDS, PRETRAINED_SECONDS = 45, 90
PEAK_MB = 3000
# Pace's product took so long where the limits of time were set (a core of a 2.6 GHz Xeon).
PACE_MS, MOST_SLOWNESS = 50.0, 2.0

nbval.plugin.RunningKernel = Kernel


class Budget(pytest.Item):
    """The last test of a notebook: it hands the run to the cache and checks its cost.

    The limit holds for the kernel's processor time. On a quiet machine that is the
    wall time, as everything runs in one thread; on a busy one wall time would blame
    the notebook for its neighbours. For the same reason a slow machine, or a slow hour
    of it, gets more of it: at most twice.
    """

    def runtest(self) -> None:
        notebook: IPyNbFile = self.parent
        cells = [cell for cell in notebook.nb.cells if cell.cell_type == "code"]
        if len(notebook.passed_outputs) < len(cells):
            pytest.skip("not every cell ran and passed, so there is no run to measure or keep")
        measured = notebook.meter.read() if cells else {}
        executed = with_outputs(notebook.nb, notebook.passed_outputs, measured)
        name = notebook.path.relative_to(ROOT).as_posix()
        # Reports travel to the one process that writes, also from the workers of xdist.
        self.user_properties.append((PROPERTY, [name, nbformat.writes(executed)]))
        limit = PRETRAINED_SECONDS if runs_pretrained_model(notebook.path) else SECONDS
        slowness = measured.get("pace_ms", PACE_MS) / PACE_MS
        limit *= min(max(slowness, 1.0), MOST_SLOWNESS)
        budget = {"cpu_seconds": round(limit, 1), "peak_mb": PEAK_MB}
        over = [
            f"{k} {measured[k]} of {most}"
            for k, most in budget.items()
            if measured.get(k, 0) > most
        ]
        if over:
            pytest.fail(f"{name} is over its budget: {', '.join(over)}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.parent.path, 0, f"{self.parent.name}: budget"


def with_outputs(
    notebook: nbformat.NotebookNode, outputs: dict[int, list[Any]], measured: dict[str, float]
) -> nbformat.NotebookNode:
    """A copy of the notebook that holds what its cells put out and what it cost."""
    executed = copy.deepcopy(notebook)
    executed.metadata["tfbook"] = measured
    for number, cell in enumerate(c for c in executed.cells if c.cell_type == "code"):
        cell.outputs, cell.execution_count = outputs[number], number + 1
    return executed


def runs_pretrained_model(path: Path) -> bool:
    """Whether book/requirements.yml marks the notebook's chapter with ``pretrained: true``."""
    requirements = ROOT / "book" / "requirements.yml"
    chapters = yaml.safe_load(requirements.read_text("utf-8")) if requirements.is_file() else {}
    chapter = (chapters.get("chapters") or chapters).get(path.stem)
    return isinstance(chapter, dict) and chapter.get("pretrained") is True


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Put the budget test behind the cells of each notebook."""
    report = yield
    if isinstance(collector, IPyNbFile) and report.passed:
        collector.passed_outputs = {}
        report.result.append(Budget.from_parent(collector, name="budget"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the outputs of each cell that passed."""
    report = yield
    if isinstance(item, IPyNbCell) and report.when == "call":
        if not hasattr(item.parent, "meter"):
            item.parent.meter = Meter(item.parent.kernel)
        if item.parent.kernel.is_alive():
            item.parent.meter.sample()
        if report.passed:
            item.parent.passed_outputs[item.cell_num] = item.test_outputs
    return report


class Keeper:
    """Writes executed notebooks to the cache, and what they cost to _build/measurements.json."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if report.when != "call" or PROPERTY not in properties:
            return
        # Dropped from the report, or it would be written into JUnit files as well.
        report.user_properties = [p for p in report.user_properties if p[0] != PROPERTY]
        name, text = properties[PROPERTY]
        keep(name, nbformat.reads(text, as_version=4))

    def pytest_sessionfinish(self) -> None:
        from tfbook.book.execution_cache import forget_old_runs

        forget_old_runs(ROOT)


def keep(name: str, executed: nbformat.NotebookNode) -> None:
    """Store one executed notebook and its measurements."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    # Here and not above: tests/conftest.py must come before the first import of the package.
    from tfbook.book.execution_cache import cache_path

    measured = executed.metadata["tfbook"]
    data = {"execution_seconds": measured.get("seconds", 0)}
    bundle = CacheBundleIn(executed, str(ROOT / name), data=data)
    cache = get_cache(cache_path(ROOT))
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)

    path = ROOT / "_build" / "measurements.json"
    everything = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    everything[name] = dict(measured)
    path.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n", "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of xdist has it, the main process has not
        config.pluginmanager.register(Keeper(), "keeper of executed notebooks")
