"""The package as somebody meets who installs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from repository import ROOT, pyproject

import tfbook

# Everything outside tfbook.book, which is for notebooks.
CORE = ["attention", "layers", "models", "positions", "tokenizers", "training", "generation",
        "device", "compression", "hub", "data"]  # fmt: skip
DEPENDENCIES = ["torch", "numpy", "einops", "safetensors.torch", "jaxtyping", "tqdm"]
DEPENDENCIES += ["regex", "jinja2"]


def imported(statements: str) -> set[str]:
    """The modules outside the standard library that a fresh Python has after ``statements``."""
    code = f"{statements}\nimport json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    top = {name.split(".")[0] for name in json.loads(done.stdout)}
    return {
        name for name in top if name not in sys.stdlib_module_names and not name.startswith("_")
    }


def test_import_brings_nothing_beyond_the_dependencies() -> None:
    allowed = imported("; ".join(f"import {name}" for name in DEPENDENCIES)) | {"tfbook"}
    assert imported("import tfbook") <= allowed
    assert imported("; ".join(f"import tfbook.{name}" for name in CORE)) <= allowed


def test_version_stands_in_one_place() -> None:
    assert "version" in pyproject()["project"]["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", tfbook.__version__)
    assert version("tfbook") == tfbook.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == tfbook.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## {tfbook.__version__}" in changelog


def test_the_users_torch_stays() -> None:
    for line in pyproject()["project"]["dependencies"]:
        specifiers = list(Requirement(line).specifier)
        assert [s.operator for s in specifiers] == [">="], line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel; setuptools is installed, so that nothing is downloaded."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "tfbook", source / "tfbook", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(source.glob("tfbook-*.whl"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "tfbook/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfbook"}
    source = wheel.parent
    there = {p for p in (source / "tfbook").rglob("*") if p.is_file()}
    assert {p.relative_to(source).as_posix() for p in there} <= names
    assert any(name.endswith("LICENSE") for name in names)


def test_wheel_works_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tfbook", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pronounce" in done.stdout
