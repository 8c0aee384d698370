"""Set up, test and build the book. The Makefile calls this file; without make, run it yourself.

    python make.py TARGET [--here] [arguments for the tool behind the target]

It needs Python 3.11 or newer and nothing else. The first target creates .venv, installs the
exact versions of requirements.txt and this package into it, and fetches the data; later ones
skip what is done. With --here the running Python is used as it is (a conda environment, say)
and nothing is installed. pip reads your own configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("TFBOOK_VENV", ROOT / ".venv"))
SITE = ROOT / "_build" / "html"
SITE_TESTS = ROOT / "tests" / "site"
ORACLES = "tests/oracles.txt"  # what tests compare with, installed without its requirements
# With two threads in each of two busy workers a short cell can take a hundred times as long.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TWO_WORKERS = ["-n", "2", "--dist=loadfile"]


class Tools:
    """Runs programs with the project's Python."""

    def __init__(self, *, here: bool, arguments: list[str]) -> None:
        self.here = here
        self.arguments = arguments
        self.python = Path(sys.executable) if here else venv_python()

    def run(self, *command: str | Path, **variables: str) -> None:
        """Run a program to its end; stop here with its exit status when it fails."""
        sys.stdout.flush()
        environment = dict(os.environ, PYTHONUTF8="1", **variables)
        done = subprocess.run([str(c) for c in command], cwd=ROOT, env=environment)
        if done.returncode:
            shown = " ".join(str(c) for c in command[:6])
            print(f"\nThis step failed (exit status {done.returncode}): {shown} ...")
            sys.exit(done.returncode if done.returncode > 0 else 1)

    def module(self, name: str, *arguments: str | Path, **variables: str) -> None:
        """Run ``python -m name`` with the project's Python."""
        self.run(self.python, "-m", name, *arguments, **variables)

    def output(self, *arguments: str) -> str:
        """What the project's Python prints when it runs with ``arguments``."""
        command = [str(self.python), *arguments]
        environment = dict(os.environ, PYTHONUTF8="1")
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout


def venv_python() -> Path:
    """The Python inside .venv, whether it exists yet or not."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint() -> str:
    """What an installation depends on; when it changes, pip runs again."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("requirements.txt", ORACLES, "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def set_up(tools: Tools) -> None:
    """Create .venv and install into it, unless that is done."""
    stamp = VENV / "tfbook-installed"
    if tools.here or (stamp.is_file() and stamp.read_text() == fingerprint()):
        return
    if not tools.python.is_file():
        print(f"Creating {VENV.name}")
        create_venv()
    print("Installing the versions of requirements.txt (minutes; torch is the largest)")
    # Twice quiet keeps errors and drops what pip says about each index that it looks at.
    tools.module("pip", "install", "-qq", "-r", "requirements.txt")
    tools.module("pip", "install", "-qq", "--no-deps", "-r", ORACLES)
    # The user's torch stays: the package itself is installed without its dependencies.
    tools.module("pip", "install", "-qq", "--no-deps", "--no-build-isolation", "-e", ".")
    stamp.write_text(fingerprint())


def create_venv() -> None:
    """Create .venv, or say what the system lacks."""
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)])
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(
            f"{sys.executable} cannot create a virtual environment. On Debian and Ubuntu, "
            "`apt-get install python3-venv` adds what is missing; or use --here in an "
            "environment of your own."
        )


def prepare(tools: Tools) -> None:
    """Install what is missing and fetch the data that is not in the cache."""
    set_up(tools)
    tools.module("tfbook", "fetch")


def book(tools: Tools) -> None:
    """execute the notebooks that changed, build the site, say where it is"""
    prepare(tools)
    missing = tools.output("-m", "tfbook.book.execution_cache").split("\n")
    missing = [name for name in missing if name]
    if missing:
        print(f"Executing {len(missing)} notebooks")
        tools.module("pytest", "-q", *TWO_WORKERS, *missing, **ONE_THREAD)
    # Warnings are errors, and --all reads every page: an incremental build forgets old warnings.
    options = ["--all", "-W", "-n", "--keep-going", "--quiet"]
    start = "from jupyter_book.cli.main import main; main()"
    tools.run(tools.python, "-c", start, "build", ".", *options, *tools.arguments, **ONE_THREAD)
    index = SITE / "index.html"
    if not index.is_file():
        sys.exit(f"the build ended without {index}")
    print(f"\nThe book is built: {index.as_uri()}\nTo serve it: make serve")


def test(tools: Tools) -> None:
    """run all tests, notebooks and solutions included (ARGS="-k attention" for some)"""
    prepare(tools)
    tools.module("pytest", *TWO_WORKERS, *tools.arguments, **ONE_THREAD)


def check(tools: Tools) -> None:
    """check format, lint and types (pre-commit runs the same)"""
    set_up(tools)
    tools.module("ruff", "format", "--check", ".")
    tools.module("ruff", "check", ".")
    tools.module("mypy", *tools.arguments)


def lab(tools: Tools) -> None:
    """open the notebooks in JupyterLab"""
    prepare(tools)
    tools.module("jupyter", "lab", "notebooks", *tools.arguments)


def serve(tools: Tools) -> None:
    """serve the site on this machine (builds it first where it is missing)"""
    if not (SITE / "index.html").is_file():
        book(tools)
    port = tools.arguments[0] if tools.arguments else "8000"
    print(f"http://127.0.0.1:{port}/  (Ctrl-C ends it; make book builds it anew)")
    tools.run(sys.executable, "-m", "http.server", port, "-b", "127.0.0.1", "-d", SITE)


def bench(tools: Tools) -> None:
    """measure speed beside other libraries, and write the table"""
    prepare(tools)
    tools.module("benchmarks", *tools.arguments, **ONE_THREAD)


def site_test(tools: Tools) -> None:
    """test the built site in Chromium (needs chromium, node and npm)"""
    if not (SITE / "index.html").is_file():
        book(tools)
    set_up(tools)
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is missing: install Node.js, which brings it")
    tools.run(npm, "ci", "--prefix", SITE_TESTS, "--no-audit", "--no-fund", "--silent")
    tools.module("pytest", "-q", SITE_TESTS, *tools.arguments, **ONE_THREAD)


def clean(tools: Tools) -> None:
    """remove what was built and all caches; .venv stays"""
    for pattern in (
        "_build",
        ".pytest_cache",
        ".ruff_cache",
        ".mypy_cache",
        ".hypothesis",
        "build",
    ):
        shutil.rmtree(ROOT / pattern, ignore_errors=True)
    for folder in ("tfbook", "tests", "notebooks", "book", "benchmarks", "recipes"):
        for name in ("__pycache__", ".ipynb_checkpoints"):
            for found in list((ROOT / folder).rglob(name)):
                shutil.rmtree(found, ignore_errors=True)
    print(f"Removed. The environment in {VENV.name} is kept; delete that folder to start over.")


TARGETS: dict[str, Callable[[Tools], None]] = {
    "book": book,
    "test": test,
    "serve": serve,
    "lab": lab,
    "check": check,
    "bench": bench,
    "site-test": site_test,
    "clean": clean,
}


def main() -> None:
    """Read the command line and run one target."""
    lines = [f"  {name:<10} {target.__doc__}" for name, target in TARGETS.items()]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="targets:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="?", choices=TARGETS, metavar="TARGET")
    parser.add_argument("--here", action="store_true", help="use this Python, install nothing")
    options, arguments = parser.parse_known_args()
    if options.target is None:
        parser.print_help()
        return
    TARGETS[options.target](Tools(here=options.here, arguments=arguments))


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("Python 3.11 or newer is needed; with make: make PYTHON=python3.12 book")
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
