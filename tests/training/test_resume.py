"""A run that is killed, or fails, at any moment ends with the bits of one that never stopped."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_run
from safetensors.torch import save
from training_run import N_STEPS, SAVE_EVERY, parts, train

from tfbook.models import save_model
from tfbook.models.checkpoints import read_tensors, untied_state
from tfbook.training import latest_checkpoint, load_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(
    "config.getoption('--device') != 'cpu'", reason="bits are compared on the CPU, on one thread"
)


def final(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """All that a finished run leaves, without its clock."""
    tensors, metadata = read_tensors(latest_checkpoint(folder))
    for record in metadata["train"]:
        del record["seconds"]
    return tensors, metadata


def assert_same_end(folder: Path, uninterrupted: Path) -> None:
    ours, said = final(folder)
    theirs, expected = final(uninterrupted)
    assert said == expected
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not ours[name].equal(theirs[name])]
    assert not different
    best, as_expected = (
        read_tensors(each / "best.safetensors")[0] for each in (folder, uninterrupted)
    )
    assert all(best[name].equal(tensor) for name, tensor in as_expected.items())


# Killing a real process.


def start(folder: Path, log: Path, autocast: bool) -> subprocess.Popen[bytes]:
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    command = [sys.executable, training_run.__file__, str(folder), str(log), str(autocast)]
    return subprocess.Popen(command, env=environment, cwd=ROOT)


def steps_in(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def kill_after(process: subprocess.Popen[bytes], log: Path, n_steps: int, seconds: float) -> None:
    """Kill it as soon as it has begun ``n_steps`` more steps, and a moment later."""
    before, deadline = len(steps_in(log)), time.monotonic() + 400
    size = -1
    while process.poll() is None:
        if log.exists() and log.stat().st_size != size:
            size = log.stat().st_size
            if len(steps_in(log)) - before >= n_steps:
                break
        assert time.monotonic() < deadline, "the training does not move"
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    assert process.wait() in (-signal.SIGKILL, 0)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("autocast", [False, True])
def test_ten_kills_at_random_moments(autocast: bool, tmp_path: Path) -> None:
    whole, folder, log = tmp_path / "whole", tmp_path / "run", tmp_path / "log"
    whole.mkdir()
    train(whole, log=tmp_path / "whole-log", autocast=autocast)
    assert steps_in(tmp_path / "whole-log") == list(range(N_STEPS))
    moments = random.Random(11 if autocast else 7)
    begun: list[list[int]] = []
    for _ in range(10):
        before = len(steps_in(log))
        process = start(folder, log, autocast)
        kill_after(process, log, moments.randrange(1, 13), moments.uniform(0, 0.03))
        begun.append(steps_in(log)[before:])
    before = len(steps_in(log))
    assert start(folder, log, autocast).wait() == 0
    begun.append(steps_in(log)[before:])
    assert_same_end(folder, whole)
    assert sorted(set(steps_in(log))) == list(range(N_STEPS))
    for earlier, later in itertools.pairwise(begun):
        again = earlier[-1] + 1 - (later[0] if later else N_STEPS)
        assert 0 <= again <= SAVE_EVERY, f"{again} steps were computed again"
    assert len(list(folder.glob("step-*"))) == 2
    assert not list(folder.glob(".*"))


# Failing at every call that writes a checkpoint.


class FailingOs:
    """The ``os`` module, one of whose writing calls fails."""

    def __init__(self, fails_at: int | None) -> None:
        self.fails_at, self.calls = fails_at, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("write", "fsync", "replace"):
            return real

        def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls == self.fails_at:
                if name == "write":  # half of it reaches the disk
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise OSError(28, f"no space left for {name}")
            return real(*arguments)

        return call


SMALL: dict[str, int] = dict(n_steps=9, save_every=3)


def small_run(folder: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int | None = None) -> int:
    """Train with one failing call, if any; give how many calls there were."""
    failing = FailingOs(fails_at)
    with monkeypatch.context() as patch:
        patch.setattr("tfbook.files.os", failing)
        patch.setattr("tfbook.files.BLOCK_SIZE", 40_000)  # several writes to a file
        train(folder, **SMALL)
    return failing.calls


def test_failing_at_every_write_sync_and_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    n_calls = small_run(whole, monkeypatch)
    assert n_calls >= 25
    for fails_at in range(1, n_calls + 1):
        folder = tmp_path / f"fails-at-{fails_at}"
        folder.mkdir()
        with pytest.raises(OSError, match=r"no space left for (write|fsync|replace)"):
            small_run(folder, monkeypatch, fails_at)
        assert not list(folder.glob(".*")), "an unfinished file was left"
        newest = latest_checkpoint(folder)
        if newest is not None:
            load_checkpoint(newest, *parts())  # whole, whatever failed
        log = tmp_path / f"log-{fails_at}"
        train(folder, log=log, **SMALL)
        done = 0 if newest is None else int(newest.stem.split("-")[1])
        assert steps_in(log) == list(range(done, 9))
        assert_same_end(folder, whole)
        shutil.rmtree(folder)


def test_what_a_killed_process_was_writing_is_ignored_and_removed(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    for each in (whole, folder):
        each.mkdir()
    train(whole, **SMALL)
    train(folder, n_steps=6, save_every=3)
    half = (folder / "step-00000006.safetensors").read_bytes()[:1000]
    for name in ("step-00000009", "best"):  # fit writes the one, on_best the other
        (folder / f".{name}.safetensors.x1y2").write_bytes(half)
    assert latest_checkpoint(folder).name == "step-00000006.safetensors"
    train(folder, **SMALL)
    assert not list(folder.glob(".*"))


# Damaged and foreign files in the place of the newest checkpoint.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train(folder, **SMALL)
    return folder


@pytest.fixture
def damaged(finished: Path, tmp_path: Path) -> Callable[[bytes], Path]:
    """A folder whose newest checkpoint holds other bytes; gives that file."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)

    def write(content: bytes) -> Path:
        path = folder / "step-00000009.safetensors"
        path.write_bytes(content)
        return path

    return write


def refused(path: Path, message: str) -> None:
    """Resuming says what is wrong with which file, and touches nothing."""
    before = {p: p.read_bytes() for p in path.parent.iterdir()}
    with pytest.raises(ValueError, match=rf"step-00000009\.safetensors.*{message}"):
        train(path.parent, n_steps=12, save_every=3)
    model, optimizer = parts(seed=9)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=rf"step-00000009\.safetensors.*{message}"):
        load_checkpoint(path, model, optimizer)
    assert all(v.equal(weights[k]) for k, v in model.state_dict().items())
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before


def test_truncated(finished: Path, damaged: Callable[[bytes], Path]) -> None:
    whole = (finished / "step-00000009.safetensors").read_bytes()
    lengths = {0, 1, 7, 8, 9, len(whole) - 1}
    lengths |= {len(whole) * i // 12 for i in range(12)}
    for length in sorted(lengths):
        refused(damaged(whole[:length]), "is truncated or not a safetensors file")
    refused(damaged(whole + b"\0"), "is truncated or not a safetensors file")


def test_flipped_bits(finished: Path, damaged: Callable[[bytes], Path]) -> None:
    """Every flipped bit of a small file: tests/models/test_checkpoints.py."""
    whole = (finished / "step-00000009.safetensors").read_bytes()
    for position in random.Random(0).sample(range(len(whole)), 25):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        refused(damaged(bytes(flipped)), "")
    numbers = bytearray(whole)
    numbers[-5] ^= 1
    refused(damaged(bytes(numbers)), "is corrupted: its content does not match its sha256")


def npz(folder: Path) -> bytes:
    np.savez(folder / "x.npz", w=np.zeros(3))
    return (folder / "x.npz").read_bytes()


def model_file(folder: Path) -> bytes:
    save_model(folder / "m", parts()[0])
    return (folder / "m").read_bytes()


def newer(_: Path) -> bytes:
    return save({"w": torch.zeros(2)}, metadata={"format": "tfbook", "format_version": "99"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (npz, "not a safetensors file"),
        (lambda _: np.random.default_rng(0).bytes(5000), "not a safetensors file"),
        (lambda _: save({"w": torch.zeros(2)}), "not one that this package wrote"),
        (newer, "has format version '99', but this release reads"),
        (model_file, "holds a model, not a training run"),
    ],
)
def test_foreign(
    make: Callable[[Path], bytes],
    message: str,
    damaged: Callable[[bytes], Path],
    tmp_path: Path,
) -> None:
    refused(damaged(make(tmp_path)), message)


def test_without_the_damaged_file_the_run_goes_on_from_the_one_before(
    finished: Path, damaged: Callable[[bytes], Path]
) -> None:
    path = damaged(b"nothing")
    refused(path, "restore it from a copy, or remove it")
    path.unlink()
    train(path.parent, **SMALL)
    assert_same_end(path.parent, finished)


def test_a_finished_run_does_nothing_more(finished: Path, tmp_path: Path) -> None:
    model, _ = train(finished, log=tmp_path / "log", **SMALL)
    assert steps_in(tmp_path / "log") == []
    assert all(
        value.equal(final(finished)[0][f"model.{name}"])
        for name, value in untied_state(model).items()
    )


def test_saving_changes_nothing(finished: Path) -> None:
    model, _ = train(None, **SMALL)
    saved = final(finished)[0]
    assert all(v.equal(saved[f"model.{name}"]) for name, v in untied_state(model).items())
