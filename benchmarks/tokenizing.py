"""Encoding 10 kB of text beside the `tokenizers` library, by all three kinds of tokenizer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import tokenizers

import tfbook
from benchmarks.report import table
from benchmarks.timing import Timing
from tfbook.data import king_james
from tfbook.hub import fetch
from tfbook.hub.minilm import MINILM_VOCABULARY
from tfbook.tokenizers import (
    BPETokenizer,
    Tokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
    gpt2_tokenizer,
)

LENGTH = 10_000
#: What a tokenizer remembers when it starts: nothing, the words of other parts of the same text,
#: or the words of this very part.
STATES = ("cold", "warm", "again")


def _king_james() -> str:
    return king_james.load("all")[0]


def _code() -> str:
    files = sorted(Path(tfbook.__file__).parent.rglob("*.py"))
    return "\n".join(path.read_text("utf-8") for path in files)


Encode = Callable[[str], list[int]]
Forget = Callable[[], None]
TEXTS: dict[str, Callable[[], str]] = {"King James Bible": _king_james, "Python code": _code}


@cache
def _json() -> str:
    return gpt2_tokenizer().to_json()


@cache
def _unigram_json() -> str:
    return UnigramTokenizer.train([_king_james()[:1_000_000]], vocab_size=4_000).to_json()


def _wordpiece() -> Tokenizer:
    return WordPieceTokenizer.from_vocab_file(fetch(MINILM_VOCABULARY))


#: Beside BPE. Only this package's own code could empty their memory of words, so they are
#: measured warm and again.
OTHERS: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece (MiniLM)": _wordpiece,
    "unigram (4,000 pieces)": lambda: UnigramTokenizer.from_json(_unigram_json()),
}
OTHER_CASES = tuple(
    f"{state}, {system}" for state in STATES[1:] for system in ("tfbook", "tokenizers")
)


def other_cases(name: str) -> dict[str, Callable[[], object]]:
    """Give the encoding of the King James Bible with another kind of tokenizer.

    Args:
        name: one of :data:`OTHERS`.

    Returns:
        The four by state and system.
    """
    text, make = _king_james(), OTHERS[name]
    parts = [text[at : at + LENGTH] for at in range(0, len(text) - LENGTH + 1, LENGTH)]

    def theirs() -> Encode:
        made = tokenizers.Tokenizer.from_str(make().to_json())
        return lambda text: list(made.encode_batch_fast([text])[0].ids)

    systems = {"tfbook": lambda: make().encode, "tokenizers": theirs}
    return {
        f"{state}, {system}": case(encode(), lambda: None, state, parts)
        for state in STATES[1:]
        for system, encode in systems.items()
    }


def cases(name: str) -> dict[str, Callable[[], object]]:
    """Give the encoding of one kind of text from each state, ours and the library's.

    Args:
        name: one of :data:`TEXTS`.

    Returns:
        The six by state and system. Each has a tokenizer of its own, so that one does not fill
        another's memory.
    """
    text = TEXTS[name]()
    parts = [text[at : at + LENGTH] for at in range(0, len(text) - LENGTH + 1, LENGTH)]
    return {
        f"{state}, {system}": case(*make(), state, parts)
        for state in STATES
        for system, make in SYSTEMS.items()
    }


def _ours() -> tuple[Encode, Forget]:
    made = BPETokenizer.from_json(_json())
    return made.encode, made.pairs.forget_words


def _theirs() -> tuple[Encode, Forget]:
    made = tokenizers.Tokenizer.from_str(_json())
    # The library's fastest call: it counts no offsets.
    return lambda text: list(made.encode_batch_fast([text])[0].ids), made.model._clear_cache


SYSTEMS: dict[str, Callable[[], tuple[Encode, Forget]]] = {"tfbook": _ours, "tokenizers": _theirs}
CASES = tuple(f"{state}, {system}" for state in STATES for system in SYSTEMS)


def case(
    encode: Encode, forget: Forget, state: str, parts: Sequence[str]
) -> Callable[[], list[int]]:
    """Give the encoding of a part of a text from one state.

    Args:
        encode: of one system.
        forget: empties its memory of words.
        state: one of :data:`STATES`.
        parts: of the text.

    Returns:
        What is measured.
    """
    following = itertools.cycle(parts)

    def cold() -> list[int]:
        forget()
        return encode(parts[0])

    def warm() -> list[int]:
        return encode(next(following))

    def again() -> list[int]:
        return encode(parts[0])

    return {"cold": cold, "warm": warm, "again": again}[state]


def tokenization_table(timings: Mapping[str, Mapping[str, Timing]]) -> str:
    """Write how long 10 kB take from each state."""
    rows = [
        [
            name,
            state,
            f"{1e3 * pair[f'{state}, tfbook'].median:.2f} ms",
            f"{1e3 * pair[f'{state}, tokenizers'].median:.2f} ms",
            f"{pair[f'{state}, tokenizers'].median / pair[f'{state}, tfbook'].median:.2f}",
        ]
        for name, pair in timings.items()
        for state in STATES
        if f"{state}, tfbook" in pair
    ]
    return (
        "## Tokenization\n\n"
        f"`BPETokenizer.encode` with GPT-2's tokens on {LENGTH:,} characters, and the two other "
        "kinds of tokenizer on the King James Bible, beside the `tokenizers` library, which is "
        "written in Rust (its `encode_batch_fast`). "
        "Cold: the tokenizer remembers no word. "
        "Warm: the part is new, and others of the same text came before. Again: this very part "
        "came before.\n\n"
        + table(["text", "state", "tfbook", "tokenizers", "tokenizers / tfbook"], rows)
        + "\n"
    )
