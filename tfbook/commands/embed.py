"""``embed``: sentences as vectors, and how alike they are."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tfbook.commands.reading import batches, exit_status, lines

if TYPE_CHECKING:
    from torch import Tensor

    from tfbook.hub import Pretrained
    from tfbook.models.sentence_encoder import SentenceEncoder
    from tfbook.tokenizers.wordpiece import WordPieceTokenizer

BATCH_SIZE = 32


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command.

    Args:
        parser: of its options.
    """
    parser.description = (
        'Print {"text": …, "vector": […]}, one line of JSON a text, in the order of the texts. '
        "Vectors have length one: their product is the cosine of the angle between them."
    )
    parser.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="what to embed; without any, texts are read from standard input, one a line",
    )
    parser.add_argument("--model", default="minilm", choices=["minilm"], help="default: minilm")
    parser.add_argument(
        "--weights",
        default="float32",
        choices=["float32", "bfloat16", "int8"],
        help="default: float32",
    )
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument(
        "--format",
        default="json",
        choices=["json", "tsv"],
        help="tsv prints TEXT<TAB>NUMBER<TAB>NUMBER…; default: json",
    )
    parser.add_argument(
        "--similarity",
        action="store_true",
        help="print a table of all products instead: the texts in the first line and column, "
        "tabs between",
    )


def run(options: argparse.Namespace) -> int:
    """Print the vector of each text, or the table of their products.

    Args:
        options: as ``add_options`` describes them.

    Returns:
        The exit status.
    """
    from tfbook import hub

    pretrained = hub.load("minilm", weights=options.weights, device=options.device)
    # A person who types sees each answer at once.
    typed = not options.texts and sys.stdin.isatty() and not options.similarity
    refused: list[str] = []
    texts = _with_tokens(options.texts or lines(sys.stdin), pretrained, refused)
    pairs = _vectors(texts, pretrained, 1 if typed else BATCH_SIZE)
    if options.similarity:
        table = list(pairs)
        _print_table(table)
        return exit_status(n_done=len(table), n_refused=len(refused))
    n_done = 0
    for text, vector in pairs:
        numbers = [_short(number) for number in vector.tolist()]
        if options.format == "json":
            row = json.dumps({"text": text, "vector": numbers}, ensure_ascii=False)
        else:
            row = "\t".join([_flat(text), *map(str, numbers)])
        print(row, flush=typed)
        n_done += 1
    return exit_status(n_done=n_done, n_refused=len(refused))


def _with_tokens(
    texts: Iterable[str],
    pretrained: Pretrained[SentenceEncoder, WordPieceTokenizer],
    refused: list[str],
) -> Iterator[str]:
    """Give the texts that hold a token. The others, which have no vector, are told and kept."""
    tokenizer, limit = pretrained.tokenizer, pretrained.card["max_tokens"]
    n_around = len(tokenizer.before) + len(tokenizer.after)
    for text in texts:
        n = len(tokenizer.encode(text))
        if n == n_around:
            print(f"error: {text!r} holds nothing to embed; leave it out", file=sys.stderr)
            refused.append(text)
            continue
        if n > limit:
            print(f"note: {text[:20] + '…'!r} is cut to {limit} tokens", file=sys.stderr)
        yield text


def _vectors(
    texts: Iterable[str],
    pretrained: Pretrained[SentenceEncoder, WordPieceTokenizer],
    batch_size: int,
) -> Iterator[tuple[str, Tensor]]:
    """Give each text with its vector, a batch at a time."""
    import torch

    tokenizer, limit = pretrained.tokenizer, pretrained.card["max_tokens"]
    for texts_of_batch in batches(texts, batch_size):
        batch = tokenizer.encode_batch(texts_of_batch, max_length=limit)
        device = next(pretrained.model.parameters()).device
        with torch.inference_mode():
            vectors = pretrained.model(batch.ids.to(device), lengths=batch.lengths.to(device))
        yield from zip(texts_of_batch, vectors.float().cpu(), strict=True)


def _print_table(pairs: Sequence[tuple[str, Tensor]]) -> None:
    """Print the products of all vectors with all; nothing where there are none."""
    if not pairs:
        return
    names = [_flat(text) for text, _ in pairs]
    print("\t".join(["", *names]))
    for name, (_, vector) in zip(names, pairs, strict=True):
        products = [f"{float(vector @ other):.4f}" for _, other in pairs]
        print("\t".join([name, *products]))


def _flat(text: str) -> str:
    """A text in one field of one line."""
    return " ".join(text.split())


def _short(number: float) -> float:
    """The digits that a float32 has, and no more."""
    return float(f"{number:.7g}")
