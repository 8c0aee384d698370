"""Atomic writes under injected failures, and hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfbook.files import BLOCK_SIZE, sha256_file, write_atomic

OLD, NEW = b"old content", b"new" * BLOCK_SIZE


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(OLD)
    return path


def failing_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails at its n-th call, counted from 0, and works before."""
    calls = iter(range(10**6))

    def function(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    return function


def test_writes_new_and_replaces_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"", NEW):
        write_atomic(path, data)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


def test_writes_blocks_one_after_another(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", (bytes([i]) * i for i in range(5)))
    assert (tmp_path / "file").read_bytes() == bytes([1, 2, 2, 3, 3, 3, 4, 4, 4, 4])


def test_a_failure_of_the_blocks_leaves_the_old_file_and_no_other(target: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield NEW
        raise ValueError("the hash is another")

    with pytest.raises(ValueError, match="the hash is another"):
        write_atomic(target, blocks())
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_takes_a_string_and_a_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomic("bare", b"x")
    assert Path("bare").read_bytes() == b"x"


# NEW is three blocks, so os.write is called three times; the file is synced first, then the folder.
@pytest.mark.parametrize(
    ("name", "call"), [("write", 0), ("write", 1), ("write", 2), ("fsync", 0), ("replace", 0)]
)
def test_a_failure_leaves_the_old_file_and_no_other(
    target: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    monkeypatch.setattr(os, name, failing_at(call, getattr(os, name)))
    with pytest.raises(OSError, match="No space left on device"):
        write_atomic(target, NEW)
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot sync a folder")
def test_a_failure_to_sync_the_folder_is_raised_with_the_new_file_whole(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing_at(1, os.fsync))
    with pytest.raises(OSError, match="No space left on device"):
        write_atomic(target, NEW)
    assert target.read_bytes() == NEW
    assert os.listdir(target.parent) == [target.name]


def test_an_interrupt_cleans_up_too(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt("stop")

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        write_atomic(target, NEW)
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_short_writes_are_completed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    write_atomic(target, b"a sentence of more than five bytes")
    assert target.read_bytes() == b"a sentence of more than five bytes"


def test_the_data_is_synced_before_the_rename(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)

        def noted(*arguments: Any, name: str = name, real: Any = real) -> Any:
            order.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)
    write_atomic(target, b"x")
    assert order[:3] == ["write", "fsync", "replace"]


def test_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "file"
    with pytest.raises(FileNotFoundError, match="No such file or directory") as caught:
        write_atomic(path, b"x")
    assert caught.value.filename == str(path)
    assert f"its folder is missing; make {str(path.parent)!r} first" in str(caught.value)
    assert ".file." not in str(caught.value)


def test_a_folder_that_is_a_file(target: Path) -> None:
    with pytest.raises(OSError, match="Not a directory") as caught:
        write_atomic(target / "file", b"x")
    assert caught.value.filename == str(target / "file")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_modes_are_those_of_a_usual_file(tmp_path: Path) -> None:
    usual, ours = tmp_path / "usual", tmp_path / "ours"
    usual.touch()
    write_atomic(ours, b"x")
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    ours.chmod(0o640)
    write_atomic(ours, b"y")
    assert stat.S_IMODE(ours.stat().st_mode) == 0o640


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE, 2 * BLOCK_SIZE + 3])
def test_sha256_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"7" * size)
    assert sha256_file(path) == hashlib.sha256(b"7" * size).hexdigest()


def test_sha256_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        sha256_file(tmp_path / "absent")
