"""One execution of a notebook serves the tests, the book and the measurements."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from repository import ROOT

from tfbook.book.execution_cache import cache_path, forget_old_runs, missing

SUPPORT = ROOT / "tests" / "support"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a notebook folder like ours, and a package of one file."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "tfbook").mkdir()
    (tmp_path / "tfbook" / "module.py").write_text("x = 1\n", "utf-8")
    shutil.copy(ROOT / "notebooks" / "conftest.py", tmp_path / "notebooks")
    return tmp_path


def write(project: Path, *sources: str) -> Path:
    path = project / "notebooks" / "01-first.ipynb"
    cells = [new_markdown_cell("# First"), *(new_code_cell(source) for source in sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def execute(project: Path, *options: str) -> str:
    """Run the notebook as ``make test`` does, in a process of its own."""
    nbval = ["--nbval-lax", "--nbval-current-env", "-q", "--color=no", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *nbval, *options, "notebooks"],
        cwd=project,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(SUPPORT)])),
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_outputs_and_measurements_reach_the_book(project: Path) -> None:
    notebook = write(
        project, "print('loss', 0.5)", "_ = bytearray(300_000_000)\n_;", "del _; 1 + 1"
    )
    assert missing(project) == [notebook]
    said = execute(project, "-n", "1", "--dist=loadfile")
    assert "4 passed" in said, said
    assert missing(project) == []

    record = get_cache(cache_path(project)).match_cache_notebook(nbformat.read(notebook, 4))
    stored = get_cache(cache_path(project)).get_cache_bundle(record.pk).nb
    first, hidden, last = (cell for cell in stored.cells if cell.cell_type == "code")
    assert first.outputs[0].text == "loss 0.5\n"
    assert hidden.outputs == []  # the semicolon hides the value, as in JupyterLab
    assert last.outputs[0].data["text/plain"] == "2"

    measured = json.loads((project / "_build" / "measurements.json").read_text("utf-8"))
    cost = measured["notebooks/01-first.ipynb"]
    assert cost == dict(stored.metadata["tfbook"])
    assert 0 < cost["cpu_seconds"] <= 60
    assert 300 < cost["peak_mb"] < 1000  # the peak, though the memory was freed

    write(project, "print('loss', 0.25)")
    assert missing(project) == [notebook]  # its cells changed


def test_kernels_share_no_ports_and_no_profile(project: Path) -> None:
    notebook = write(
        project,
        "from ipykernel.kernelapp import IPKernelApp\nIPKernelApp.instance().transport",
        "from pathlib import Path\nprofile = Path(get_ipython().profile_dir.location)",
        "profile.parent == Path(IPKernelApp.instance().connection_file).parent",
        "profile.joinpath('history.sqlite').stat().st_size > 0",
        "print(profile)",
    )
    said = execute(project)
    assert "6 passed" in said, said
    record = get_cache(cache_path(project)).match_cache_notebook(nbformat.read(notebook, 4))
    cells = get_cache(cache_path(project)).get_cache_bundle(record.pk).nb.cells
    transport, same_folder, has_history = (
        cells[number].outputs[0].data["text/plain"] for number in (0, 2, 3)
    )
    assert transport == ("'tcp'" if sys.platform == "win32" else "'ipc'")
    assert (same_folder, has_history) == ("True", "True")
    assert not Path(cells[4].outputs[0].text.strip()).parent.exists()  # cleared away


def test_a_kernel_that_does_not_start_says_why(project: Path) -> None:
    write(project, "1")
    launcher = project / "notebooks" / "ipykernel_launcher.py"
    launcher.write_text("raise SystemExit('no space left on the device')\n", "utf-8")
    said = execute(project)
    assert "Kernel died before replying" in said, said
    assert "It wrote: no space left on the device" in said, said


def test_a_failed_notebook_is_not_kept(project: Path) -> None:
    notebook = write(project, "1 / 0", "2")
    said = execute(project)
    assert "1 failed, 1 passed, 1 skipped" in said
    assert missing(project) == [notebook]


def test_a_notebook_over_its_budget_fails(project: Path) -> None:
    conftest = project / "notebooks" / "conftest.py"
    text = conftest.read_text("utf-8")
    for line in ("SECONDS, PRETRAINED_SECONDS = 45, 90", "PEAK_MB = 3000"):
        assert line in text
        text = text.replace(line, line.replace("45", "0").replace("3000", "10"))
    conftest.write_text(text, "utf-8")
    write(project, "sum(range(10**6))")
    said = execute(project)
    assert "1 failed, 1 passed" in said, said
    assert re.search(
        r"01-first.ipynb is over its budget: cpu_seconds .* of 0.0, peak_mb .* of 10", said
    )


@pytest.mark.parametrize(("pace", "limit"), [("1e9", "1.0"), ("1e-9", "2.0")])
def test_a_slow_machine_gets_at_most_twice_the_time(project: Path, pace: str, limit: str) -> None:
    conftest = project / "notebooks" / "conftest.py"
    text = conftest.read_text("utf-8")
    for line in ("SECONDS, PRETRAINED_SECONDS = 45, 90", "PACE_MS, MOST_SLOWNESS = 50.0, 2.0"):
        assert line in text
        text = text.replace(line, line.replace("45", "1").replace("50.0", pace))
    conftest.write_text(text, "utf-8")
    write(project, "import time\nwhile time.process_time() < 2.5: pass")
    said = execute(project)
    assert re.search(rf"over its budget: cpu_seconds [\d.]+ of {re.escape(limit)}\b", said), said


def test_an_edit_of_the_package_asks_for_a_new_run(project: Path) -> None:
    before = cache_path(project)
    assert cache_path(project) == before
    (project / "tfbook" / "__pycache__").mkdir()
    (project / "tfbook" / "__pycache__" / "module.pyc").write_bytes(b"compiled")
    assert cache_path(project) == before
    (project / "tfbook" / "module.py").write_text("x = 2\n", "utf-8")
    assert cache_path(project) != before


def test_only_the_newest_runs_are_kept(project: Path) -> None:
    folders = [project / "_build" / ".jupyter_cache" / f"{number}" for number in range(5)]
    for age, folder in enumerate(folders):
        folder.mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))
    forget_old_runs(project)
    assert [folder.exists() for folder in folders] == [True, True, True, False, False]
