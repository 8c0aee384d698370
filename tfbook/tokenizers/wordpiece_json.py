"""WordPiece in the format of ``tokenizer.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfbook.checks import require
from tfbook.tokenizers.bert_text import BertText
from tfbook.tokenizers.json_format import field, read_added_tokens, read_document, read_vocab
from tfbook.tokenizers.longest_first import PREFIX

Around = Sequence[tuple[str, int]]

UNKNOWN = "[UNK]"
PRE_TOKENIZER = {"type": "BertPreTokenizer"}


def wordpiece_parts(
    *,
    vocab: Mapping[str, int],
    text: BertText,
    max_characters: int,
    cleanup: bool,
    before: Around,
    after: Around,
) -> dict[str, Any]:
    """Give the parts of ``tokenizer.json`` that are WordPiece's own.

    Args:
        vocab: the id of each piece.
        text: how text becomes words.
        max_characters: longer words are unknown.
        cleanup: of the decoder.
        before, after: the tokens around a text, with their ids.

    Returns:
        Arguments of :func:`tfbook.tokenizers.json_format.write_document`.

    Example:
        >>> parts = wordpiece_parts(vocab={"[UNK]": 0}, text=BertText(), max_characters=100,
        ...                         cleanup=True, before=[], after=[])
        >>> parts["decoder"]
        {'type': 'WordPiece', 'prefix': '##', 'cleanup': True}

    Chapter: 03.
    """
    return {
        "model": {
            "type": "WordPiece",
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": PREFIX,
            "max_input_chars_per_word": max_characters,
            "vocab": dict(vocab),
        },
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": text.clean_text,
            "handle_chinese_chars": text.space_ideographs,
            "strip_accents": text.strip_accents,
            "lowercase": text.lowercase,
        },
        "pre_tokenizer": PRE_TOKENIZER,
        "post_processor": _template(before, after) if before or after else None,
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": cleanup},
    }


def read_vocab_file(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read BERT's ``vocab.txt``: a piece on each line, its id the number of the line.

    Args:
        path: the file, in UTF-8.

    Returns:
        The id of each piece.

    Raises:
        ValueError: a line is empty, or a piece stands on two lines.

    Example:
        >>> _ = Path("vocab.txt").write_text("[UNK]\\nun\\n##do\\n", encoding="utf-8")
        >>> read_vocab_file("vocab.txt")
        {'[UNK]': 0, 'un': 1, '##do': 2}

    Chapter: 03.
    """
    # Not splitlines: a piece may be one of the other separators that it knows.
    lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocab: dict[str, int] = {}
    for number, piece in enumerate(lines, start=1):
        require(
            piece != "" and piece not in vocab,
            f"path={os.fspath(path)!r} has {piece!r} on line {number}, but every line must hold "
            "another piece; take the vocab.txt that belongs to the model",
        )
        vocab[piece] = number - 1
    return vocab


def read_wordpiece(text: str) -> dict[str, Any]:
    """Read a ``tokenizer.json`` of BERT's kind.

    Args:
        text: the JSON.

    Returns:
        The arguments of ``WordPieceTokenizer``.

    Raises:
        ValueError: ``text`` is no ``tokenizer.json`` of WordPiece.
        ValueError: a part of it is not as BERT has it.

    Example:
        >>> read_wordpiece('{"model": {"type": "BPE"}, "version": "1.0"}')
        Traceback (most recent call last):
        ...
        ValueError: the model is of type 'BPE', but must be 'WordPiece'; ...

    Chapter: 03.
    """
    document = read_document(text, "WordPiece")
    model = document["model"]
    for name, wanted in (("unk_token", UNKNOWN), ("continuing_subword_prefix", PREFIX)):
        _require_part(f"model.{name}", model.get(name), wanted)
    normalizer, decoder = document["normalizer"], document["decoder"]
    _require_part("normalizer", _type(normalizer), "BertNormalizer")
    _require_part("pre_tokenizer", _type(document["pre_tokenizer"]), "BertPreTokenizer")
    _require_part("decoder", _type(decoder), "WordPiece")
    vocab = read_vocab(model)
    strip_accents = normalizer.get("strip_accents")
    return {
        "vocab": vocab,
        "text": BertText(
            lowercase=field(normalizer, "lowercase", bool),
            strip_accents=None if strip_accents is None else bool(strip_accents),
            clean_text=field(normalizer, "clean_text", bool),
            space_ideographs=field(normalizer, "handle_chinese_chars", bool),
        ),
        "max_characters": field(model, "max_input_chars_per_word", int),
        "cleanup": field(decoder, "cleanup", bool),
        "frame": _is_framed(document["post_processor"], vocab),
        "added_tokens": read_added_tokens(document),
    }


def _is_framed(part: Any, vocab: Mapping[str, int]) -> bool:
    """Whether ``[CLS]`` and ``[SEP]`` go around texts; the format has two ways to say so."""
    if part is None:
        return False
    frame = [(token, vocab.get(token)) for token in ("[CLS]", "[SEP]")]
    if _type(part) == "BertProcessing":
        found = [tuple(part.get(role, ())) for role in ("cls", "sep")]
        _require_part("post_processor", found, frame)
    else:
        known = {key: part.get(key) for key in ("type", "single", "pair", "special_tokens")}
        _require_part("post_processor", known, _template(frame[:1], frame[1:]))
    return True


def _template(before: Sequence[Any], after: Sequence[Any]) -> dict[str, Any]:
    def special(token: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": segment}}

    def sequence(name: str, segment: int) -> list[dict[str, Any]]:
        behind = [special(token, segment) for token, _ in after]
        return [{"Sequence": {"id": name, "type_id": segment}}, *behind]

    single = [*(special(token, 0) for token, _ in before), *sequence("A", 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *sequence("B", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [index], "tokens": [token]}
            for token, index in [*before, *after]
        },
    }


def _type(part: Any) -> Any:
    return part.get("type") if isinstance(part, dict) else None


def _require_part(name: str, found: Any, wanted: Any) -> None:
    require(
        found == wanted,
        f"{name}={found!r:.120} must be BERT's {wanted!r:.120}; read other tokenizers with the "
        "class RustTokenizer",
    )
