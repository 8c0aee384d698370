"""The command line: ``python -m tfbook``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tfbook import __version__
from tfbook.commands import embed, files, generate, pronounce
from tfbook.commands.reading import BROKEN_PIPE, CANNOT_RUN, INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words of the command line; None takes them from ``sys.argv``.

    Returns:
        The exit status: 0 all done, 1 some of the input could not be used, 2 nothing could be
        done, 130 interrupted, 141 the reader of the output went away.
    """
    options = _parser().parse_args(arguments)
    _use_utf8()
    try:
        status: int = options.run(options)
        print(end="", flush=True)  # an error of the last write should be seen here
    except BrokenPipeError:
        # Python flushes once more at exit, and must find something that takes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (RuntimeError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT_RUN
    return status


def _parser() -> argparse.ArgumentParser:
    """Describe the commands."""
    parser = argparse.ArgumentParser(
        prog="python -m tfbook", description="The package behind The Executable Transformer."
    )
    parser.add_argument("--version", action="version", version=f"tfbook {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, add_options, run in (
        ("generate", "let a language model write", generate.add_options, generate.run),
        ("embed", "turn sentences into vectors", embed.add_options, embed.run),
        ("pronounce", "print how English words are said", pronounce.add_options, pronounce.run),
        ("models", "list the pretrained models", files.add_models_options, files.run_models),
        (
            "fetch",
            "fetch all that the book needs, so that it runs without a network",
            files.add_fetch_options,
            files.run_fetch,
        ),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        add_options(command)
    return parser


def _use_utf8() -> None:
    """Read and write UTF-8 wherever the program runs. Bytes that are not UTF-8 stay visible."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
