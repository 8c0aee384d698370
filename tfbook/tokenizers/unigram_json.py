"""Unigram in the format of ``tokenizer.json``, and out of sentencepiece's model files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfbook.checks import require
from tfbook.tokenizers.charsmap import Charsmap
from tfbook.tokenizers.json_format import field, read_added_tokens, read_document, read_extra
from tfbook.tokenizers.sentencepiece_model import read_sentencepiece
from tfbook.tokenizers.special_tokens import AddedToken
from tfbook.tokenizers.unigram_text import BLANK, NFKC, UnigramText

UNKNOWN_KIND, CONTROL, USER_DEFINED, UNUSED = 2, 3, 4, 5
TRIM = {"type": "Replace", "pattern": {"Regex": "\\A +| +\\z"}, "content": ""}
JOIN = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
PREFIX = {"type": "Prepend", "prepend": BLANK}
ESCAPE = {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}
UNESCAPE = {"type": "Replace", "pattern": {"String": BLANK}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def unigram_parts(
    *,
    pieces: Sequence[tuple[str, float]],
    unk_id: int,
    byte_fallback: bool,
    text: UnigramText,
    splits: bool,
    before: Sequence[tuple[str, int]],
    after: Sequence[tuple[str, int]],
) -> dict[str, Any]:
    """Give the parts of ``tokenizer.json`` that are unigram's own.

    Args:
        pieces: each piece with its score.
        unk_id: of the unknown piece.
        byte_fallback: unknown characters are spelled in bytes.
        text: how text is normalised.
        splits: pieces hold ``▁`` only in front, so words can be cut one by one.
        before, after: the tokens around a text, with their ids.

    Returns:
        Arguments of :func:`tfbook.tokenizers.json_format.write_document`.

    Example:
        >>> unigram_parts(pieces=[("<unk>", 0.0)], unk_id=0, byte_fallback=False,
        ...               text=UnigramText(), splits=True, before=[], after=[])["pre_tokenizer"]
        {'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'never', 'split': True}

    Chapter: 03.
    """
    steps = [
        *_rules_part(text),
        *([TRIM, JOIN] if text.collapse else []),
        *([PREFIX] if text.prefix else []),
        ESCAPE,
    ]
    decoders: list[dict[str, Any]] = [
        UNESCAPE,
        *([{"type": "ByteFallback"}] if byte_fallback else []),
        {"type": "Fuse"},
        *([STRIP] if text.prefix else []),
    ]
    return {
        "model": {
            "type": "Unigram",
            "unk_id": unk_id,
            "vocab": [list(piece) for piece in pieces],
            "byte_fallback": byte_fallback,
        },
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": _metaspace("never", splits),
        "post_processor": _template(before, after) if before or after else None,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }


def read_unigram(text: str) -> dict[str, Any]:
    """Read a ``tokenizer.json`` that ``UnigramTokenizer.to_json`` wrote.

    Args:
        text: the JSON.

    Returns:
        The arguments of ``UnigramTokenizer``.

    Raises:
        ValueError: ``text`` is no ``tokenizer.json`` of a unigram model.
        ValueError: a part of it is none that we write.

    Example:
        >>> read_unigram('{"model": {"type": "BPE"}, "version": "1.0"}')
        Traceback (most recent call last):
        ...
        ValueError: the model is of type 'BPE', but must be 'Unigram'; ...

    Chapter: 03.
    """
    document = read_document(text, "Unigram")
    model = document["model"]
    pieces = field(model, "vocab", list)
    require(
        all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in pieces),
        "the field 'vocab' must hold pairs of a piece and its score; the file is damaged, write "
        "it anew",
    )
    settings = {
        "pieces": [(piece, float(score)) for piece, score in pieces],
        "text": _read_text(document["normalizer"]),
        "byte_fallback": bool(model.get("byte_fallback", False)),
        "added_tokens": read_added_tokens(document),
        **{role: index for role, index in read_extra(document).items() if role != "unk_id"},
        "unk_id": field(model, "unk_id", int),
        **_read_template(document["post_processor"]),
    }
    split = document["pre_tokenizer"]
    written = unigram_parts(
        **{key: settings[key] for key in ("pieces", "unk_id", "byte_fallback", "text")},
        splits=bool(isinstance(split, dict) and split.get("split")),
        before=[],
        after=[],
    )
    for part in ("pre_tokenizer", "decoder"):
        require(
            document[part] == written[part],
            f"{part}={document[part]!r:.200} must be {written[part]!r:.200}; read such a file "
            "with the tokenizers library",
        )
    return settings


def sentencepiece_arguments(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a sentencepiece model file.

    Args:
        path: the file.

    Returns:
        The arguments of ``UnigramTokenizer``.

    Raises:
        ValueError: what :func:`tfbook.tokenizers.sentencepiece_model.read_sentencepiece` refuses.

    Example:
        >>> with open("m.model", "wb") as file:
        ...     _ = file.write(b"\\x0a\\x0e\\x0a\\x05<unk>\\x15" + bytes(4) + b"\\x18\\x02")
        >>> sentencepiece_arguments("m.model")["pieces"]
        (('<unk>', 0.0),)

    Chapter: 03.
    """
    model = read_sentencepiece(path)
    special = {UNKNOWN_KIND: True, CONTROL: True, USER_DEFINED: False}
    rules = Charsmap(model.charsmap) if model.charsmap else None
    return {
        "pieces": model.pieces,
        "text": UnigramText(rules, prefix=model.dummy_prefix, collapse=model.collapse_spaces),
        "byte_fallback": model.byte_fallback,
        "added_tokens": [
            AddedToken(content=piece, id=index, special=special[kind])
            for index, ((piece, _), kind) in enumerate(zip(model.pieces, model.kinds, strict=True))
            if kind in special
        ],
        "unk_id": model.unk_id,
        "bos_id": model.bos_id,
        "eos_id": model.eos_id,
        "pad_id": model.pad_id,
    }


def _rules_part(text: UnigramText) -> list[dict[str, Any]]:
    if isinstance(text.rules, Charsmap):
        return [{"type": "Precompiled", "precompiled_charsmap": text.rules.to_base64()}]
    require(
        text.rules is None or isinstance(text.rules, NFKC),
        f"rules={text.rules!r} have no name in tokenizer.json; use NFKC, a Charsmap or None",
    )
    return [] if text.rules is None else [{"type": "NFKC"}]


def _read_text(part: Any) -> UnigramText:
    steps = part.get("normalizers") if isinstance(part, dict) else None
    steps = steps if isinstance(steps, list) else []
    rules: NFKC | Charsmap | None = None
    for step in steps[:1]:
        if step == {"type": "NFKC"}:
            rules = NFKC()
        elif isinstance(step, dict) and step.get("type") == "Precompiled":
            rules = Charsmap.from_base64(field(step, "precompiled_charsmap", str))
    text = UnigramText(rules, prefix=PREFIX in steps, collapse=TRIM in steps)
    known = [
        *_rules_part(text),
        *([TRIM, JOIN] if text.collapse else []),
        *([PREFIX] if text.prefix else []),
        ESCAPE,
    ]
    require(
        steps == known,
        f"normalizer={part!r:.200} is none that UnigramTokenizer writes; read such a file with "
        "the tokenizers library",
    )
    return text


def _metaspace(scheme: str, splits: bool) -> dict[str, Any]:
    return {
        "type": "Metaspace",
        "replacement": BLANK,
        "prepend_scheme": scheme,
        "split": splits,
    }


def _template(
    before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    def around(name: str, segment: int) -> list[dict[str, Any]]:
        return [
            *({"SpecialToken": {"id": token, "type_id": segment}} for token, _ in before),
            {"Sequence": {"id": name, "type_id": segment}},
            *({"SpecialToken": {"id": token, "type_id": segment}} for token, _ in after),
        ]

    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [index], "tokens": [token]}
            for token, index in [*before, *after]
        },
    }


def _read_template(part: Any) -> dict[str, list[int]]:
    if part is None:
        return {"before": [], "after": []}
    single = field(part, "single", list)
    tokens: Mapping[str, Any] = field(part, "special_tokens", dict)
    ids: list[int | None] = [
        tokens[step["SpecialToken"]["id"]]["ids"][0] if "SpecialToken" in step else None
        for step in single
    ]
    place = ids.index(None)
    return {
        "before": [i for i in ids[:place] if i is not None],
        "after": [i for i in ids[place:] if i is not None],
    }
