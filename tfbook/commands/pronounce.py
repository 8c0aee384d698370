"""``pronounce``: how English words are said."""

from __future__ import annotations

import argparse
import sys

from tfbook.commands.reading import batches, exit_status, lines

# Words that are decoded, and printed, together.
BATCH_SIZE = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command.

    Args:
        parser: of its options.
    """
    parser.description = "Print WORD<TAB>PHONEMES, one line a word, in the order of the words."
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="letters a to z; without any, words are read from standard input, one a line",
    )


def run(options: argparse.Namespace) -> int:
    """Print the phonemes of each word, and name on standard error those that cannot be said.

    Args:
        options: as ``add_options`` describes them.

    Returns:
        The exit status.
    """
    # Loaded here: `--help` and `--version` should not wait for torch.
    import torch

    from tfbook import hub
    from tfbook.generation import greedy
    from tfbook.pronounce import pronounce, spelling_error

    # Such small products gain little from a second thread, and lose much on a busy machine.
    torch.set_num_threads(1)
    pronouncer = hub.load("g2p")
    n_done = n_refused = 0
    words: list[str] = options.words
    # A person who types sees each answer at once.
    batch_size = 1 if not words and sys.stdin.isatty() else BATCH_SIZE
    for batch in batches(words or lines(sys.stdin), batch_size):
        good = []
        for word in batch:
            error = spelling_error(word, pronouncer)
            if error is None:
                good.append(word)
            else:
                print(f"error: {error}", file=sys.stderr)
                n_refused += 1
        for word, phonemes in zip(good, pronounce(good, pronouncer, decode=greedy), strict=True):
            print(f"{word}\t{' '.join(phonemes)}", flush=batch_size == 1)
        n_done += len(good)
    return exit_status(n_done=n_done, n_refused=n_refused)
