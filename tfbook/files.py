"""Files that are either whole or not there: atomic writes and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

BLOCK_SIZE = 1 << 20


def write_atomic(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new, whole.

    The bytes go to a temporary file in the same folder, are synced to the disk, and take the
    name ``path`` in one rename. Then the folder is synced, so that the rename survives a power
    cut too. When a step fails, the temporary file is removed and the old file stands. (A failure
    of the last step, the folder's sync, is raised with the new content already in place.)

    Args:
        path: the file to write. Its folder must exist.
        data: the content, or blocks of it one after another, for what is too large to hold. An
            exception of the iterator counts as a failed step.

    Raises:
        OSError: the folder is missing or not writable, the disk is full, or a write, sync or
            rename fails.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomic(folder / "weights.bin", b"new")
        >>> (folder / "weights.bin").read_bytes()
        b'new'

    Chapter: 15.
    """
    target = Path(path)
    descriptor, temporary = _temporary_beside(target)
    try:
        try:
            for block in [data] if isinstance(data, bytes) else data:
                _write_all(descriptor, block)
            # mkstemp opens to the owner alone; a checkpoint is as public as any other new file.
            _take_usual_mode(target, temporary)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Give the SHA-256 hash of a file's bytes as 64 hexadecimal digits.

    Args:
        path: the file, read in blocks of 1 MiB.

    Returns:
        The digest, lower case.

    Raises:
        OSError: the file is missing or cannot be read.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "empty"
        >>> path.touch()
        >>> sha256_file(path)[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_SIZE):
            digest.update(block)
    return digest.hexdigest()


def _temporary_beside(target: Path) -> tuple[int, str]:
    """Open a temporary file; errors name the file that is to be written, which is known."""
    try:
        return tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        reason = error.strerror
        if isinstance(error, FileNotFoundError):
            reason = f"{reason}: its folder is missing; make {str(target.parent)!r} first"
        raise OSError(error.errno, reason, str(target)) from error


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: one call of ``os.write`` may take fewer than it is given."""
    rest = memoryview(data)
    while rest:
        written = os.write(descriptor, rest[:BLOCK_SIZE])
        rest = rest[written:]


def _take_usual_mode(target: Path, temporary: str) -> None:
    """Give the temporary file the mode of the file that it replaces, or that of a new file."""
    if os.name == "nt":
        return
    if target.exists():
        os.chmod(temporary, target.stat().st_mode & 0o777)
        return
    # The only way to read the process's mask is to set it.
    mask = os.umask(0o077)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)


def _sync_folder(folder: Path) -> None:
    """Sync a folder's entries. Windows has no such call: there the rename itself must do."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
