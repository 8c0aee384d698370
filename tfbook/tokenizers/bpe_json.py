"""Byte-level BPE in ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfbook.checks import require
from tfbook.tokenizers.byte_level import pattern_of, pre_tokenizer_of
from tfbook.tokenizers.json_format import (
    ROLES,
    field,
    read_added_tokens,
    read_document,
    read_extra,
    read_vocab,
    write_document,
)
from tfbook.tokenizers.special_tokens import AddedToken

DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
#: What else the model can hold, with the one value that is understood here.
MODEL_OPTIONS: dict[str, Any] = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def write_bpe(
    *,
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    pattern: str,
    added_tokens: Sequence[AddedToken],
    extra: Mapping[str, Any],
) -> str:
    """Give a byte-level BPE tokenizer as the text of ``tokenizer.json``.

    Args:
        vocab, merges, pattern, added_tokens: as ``BPETokenizer`` takes them.
        extra: the four roles and the chat template.

    Returns:
        The JSON.

    Example:
        >>> made = write_bpe(vocab={"a": 0}, merges=[], pattern="[a-z]+", added_tokens=[], extra={})
        >>> read_bpe(made)["vocab"]
        {'a': 0}

    Source: the `tokenizers` library. Chapter: 03.
    """
    ordered = dict(sorted(vocab.items(), key=lambda item: item[1]))
    pairs = [list(pair) for pair in merges]
    return write_document(
        model={"type": "BPE", **MODEL_OPTIONS, "vocab": ordered, "merges": pairs},
        added_tokens=added_tokens,
        pre_tokenizer=pre_tokenizer_of(pattern),
        decoder=DECODER,
        extra=extra,
    )


def read_bpe(text: str) -> dict[str, Any]:
    """Read a byte-level BPE tokenizer from the text of ``tokenizer.json``.

    Args:
        text: the JSON.

    Returns:
        The arguments of ``BPETokenizer``.

    Raises:
        ValueError: ``text`` is no ``tokenizer.json`` of a BPE model, or damaged.
        ValueError: it asks for something that byte-level BPE here does not do (a normalizer,
            dropout, another decoder, tokens around the text).

    Example:
        >>> from tfbook.tokenizers import BPETokenizer
        >>> read_bpe(BPETokenizer.train(["low"], vocab_size=257).to_json())["merges"]
        [('l', 'o')]

    Source: the `tokenizers` library. Chapter: 03.
    """
    document = read_document(text, "BPE")
    model = document["model"]
    # Older files write false for none of a prefix, and leave out what they do not know.
    options = {name: model.get(name) or only for name, only in MODEL_OPTIONS.items()}
    wrong = [
        f"{name}={options[name]!r}" for name, only in MODEL_OPTIONS.items() if options[name] != only
    ]
    wrong += [f"normalizer {document['normalizer']!r:.60}"] * (document["normalizer"] is not None)
    wrong += _unread_post_processor(document["post_processor"])
    decoder = document["decoder"]
    if not isinstance(decoder, dict) or decoder.get("type") != "ByteLevel":
        wrong.append(f"decoder {decoder!r:.60}")
    require(
        not wrong,
        f"the file has {', '.join(wrong)}, which BPETokenizer does not do; use the tokenizers "
        "library itself",
    )
    extra = read_extra(document)
    return {
        "vocab": read_vocab(model),
        "merges": read_merges(field(model, "merges", list)),
        "pattern": pattern_of(document["pre_tokenizer"]),
        "added_tokens": read_added_tokens(document),
        **{role: extra[role] for role in ROLES},
        "chat_template": extra.get("chat_template"),
    }


def read_merges(entries: Sequence[Any]) -> list[tuple[str, str]]:
    """Give merges as pairs.

    Args:
        entries: pairs of tokens, or strings of two tokens with a space between.

    Returns:
        The pairs.

    Raises:
        ValueError: an entry is neither.

    Example:
        >>> read_merges([["a", "b"], "ab c"])
        [('a', 'b'), ('ab', 'c')]

    Chapter: 03.
    """
    merges: list[tuple[str, str]] = []
    for rank, entry in enumerate(entries):
        parts = entry.split(" ") if isinstance(entry, str) else entry
        match parts:
            case [str(left), str(right)]:
                merges.append((left, right))
            case _:
                raise ValueError(
                    f"merge {rank} is {entry!r:.60}, but must be two tokens; the file is damaged"
                )
    return merges


def _unread_post_processor(part: Any) -> list[str]:
    """Name a post-processor, unless it is the one that does nothing."""
    if part is None:
        return []
    if isinstance(part, dict) and part.get("type") == "ByteLevel" and not part.get("trim_offsets"):
        return []
    return [f"post_processor {part!r:.60}"]
