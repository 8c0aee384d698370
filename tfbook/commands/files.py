"""``fetch`` and ``models``: what the book needs, and what there is to load."""

from __future__ import annotations

import argparse
from itertools import groupby


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """Describe ``fetch``.

    Args:
        parser: of its options.
    """
    parser.description = (
        "Fetch all that the book needs and print where it lies. "
        "The environment variable TFBOOK_CACHE moves the folder."
    )


def run_fetch(options: argparse.Namespace) -> int:
    """Fetch the book's files and print their places.

    Args:
        options: none are read.

    Returns:
        The exit status.
    """
    from tfbook import hub

    for requirement, files in groupby(hub.BOOK_FILES, key=lambda file: file.requirement):
        for path in hub.fetch_together(list(files)):
            print(f"{requirement}\t{path}", flush=True)
    return 0


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Describe ``models``.

    Args:
        parser: of its options.
    """
    parser.description = (
        "Print NAME<TAB>SIZE<TAB>LICENCE<TAB>ORIGIN of the models that tfbook.hub.load knows, one "
        "line a model. SIZE is that of the download, or of the file in this package."
    )


def run_models(options: argparse.Namespace) -> int:
    """Print the models, their sizes and their licences.

    Args:
        options: none are read.

    Returns:
        The exit status.
    """
    from tfbook import hub

    for card in hub.cards():
        size = f"{card['size'] / 1e6:.1f} MB"
        print(f"{card['name']}\t{size}\t{card['licence']}\t{card['origin']}")
    return 0
