"""The frame of ``tokenizer.json``, which is the same for every kind of tokenizer.

What the format has no place for stands in its ``model`` under the name ``tfbook``, which the
`tokenizers` library passes over: the ids of the roles (padding, begin, end, unknown) and, where
there is one, the chat template.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfbook.checks import require
from tfbook.tokenizers.special_tokens import AddedToken

VERSION = "1.0"
OURS = "tfbook"
ROLES = ("pad_id", "bos_id", "eos_id", "unk_id")


def write_document(
    *,
    model: Mapping[str, Any],
    added_tokens: Sequence[AddedToken],
    pre_tokenizer: Mapping[str, Any] | None,
    decoder: Mapping[str, Any] | None,
    normalizer: Mapping[str, Any] | None = None,
    post_processor: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any],
) -> str:
    """Give the text of ``tokenizer.json``.

    Args:
        model, added_tokens, pre_tokenizer, decoder, normalizer, post_processor: the parts of the
            format of that name, None for a part that does nothing.
        extra: what the format has no place for: the four roles, and more.

    Returns:
        JSON of one line, that :func:`read_document` and the `tokenizers` library read.

    Example:
        >>> text = write_document(model={"type": "BPE"}, added_tokens=[], pre_tokenizer=None,
        ...                       decoder=None, extra={"pad_id": 3})
        >>> read_document(text, "BPE")["model"]["tfbook"]
        {'pad_id': 3}

    Source: the `tokenizers` library's format, version 1.0. Chapter: 03.
    """
    document = {
        "version": VERSION,
        "truncation": None,
        "padding": None,
        "added_tokens": [t.to_fields() for t in sorted(added_tokens, key=lambda t: t.id)],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": {**model, OURS: dict(extra)},
    }
    return json.dumps(document, ensure_ascii=False)


def read_document(text: str, kind: str | None = None) -> dict[str, Any]:
    """Parse ``tokenizer.json`` and look at its frame.

    Args:
        text: the JSON.
        kind: the type that its model must have; None for any.

    Returns:
        The parsed document, with all its parts present and ``model["type"]`` a string.

    Raises:
        ValueError: ``text`` is not JSON, or cut off.
        ValueError: it is no ``tokenizer.json``, or of a version that is not known. What a class of
            ours wrote in a format of its own is named.
        ValueError: its model is of another kind.

    Chapter: 03.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"text is not JSON ({error}): the file is foreign or cut off; write it anew with save"
        ) from error
    _refuse_own_format(document)
    model = field(document, "model", dict)
    version = document.get("version")
    require(
        version == VERSION,
        f"version={version!r} of tokenizer.json is unknown, this package reads {VERSION!r}; "
        "write the file anew with the tokenizers library",
    )
    # Files of the library's first versions name no type: the fields tell.
    model.setdefault("type", "BPE" if "merges" in model else None)
    require(
        isinstance(model["type"], str) and (kind is None or model["type"] == kind),
        f"the model is of type {model['type']!r}, but must be {kind or 'named'!r}; read the file "
        "with load_tokenizer, which finds the class",
    )
    return {
        **dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder")),
        **document,
    }


def _refuse_own_format(document: Any) -> None:
    """Name the class that reads a document which ``CharacterTokenizer`` or its like wrote."""
    ours = document.get("format") if isinstance(document, dict) else None
    if isinstance(ours, str) and ours.startswith(f"{OURS}."):
        name = ours.removeprefix(f"{OURS}.")
        raise ValueError(
            f"text was written by {name}, and is no tokenizer.json; read it with {name}.from_json "
            f"or {name}.from_file"
        )


def field(part: Any, name: str, kind: type) -> Any:
    """Give a field of a part of the document, or say that the file is damaged.

    Args:
        part: the parsed object.
        name: of the field.
        kind: the type that it must have.

    Returns:
        The value.

    Raises:
        ValueError: ``part`` is no object, or has no such field of that type.

    Example:
        >>> field({"type": "BPE"}, "type", str)
        'BPE'

    Chapter: 03.
    """
    value = part.get(name) if isinstance(part, dict) else None
    require(
        isinstance(value, kind),
        f"the tokenizer's field {name!r} is {value!r:.60}, but must be a {kind.__name__}; the file "
        "is damaged or no tokenizer.json, write it anew with save",
    )
    return value


def read_vocab(model: Mapping[str, Any]) -> dict[str, int]:
    """Give the vocabulary of a model whose field ``vocab`` maps tokens to ids.

    Args:
        model: the document's model.

    Returns:
        The ids by token.

    Raises:
        ValueError: the field is missing, or holds something that is no id.

    Example:
        >>> read_vocab({"vocab": {"a": 0}})
        {'a': 0}

    Chapter: 03.
    """
    vocab = field(model, "vocab", dict)
    require(
        all(type(index) is int for index in vocab.values()),
        "the field 'vocab' must map each token to an integer; the file is damaged, write it anew",
    )
    return vocab


def read_added_tokens(document: Mapping[str, Any]) -> list[AddedToken]:
    """Give the added tokens of a document.

    Args:
        document: as :func:`read_document` gives it.

    Returns:
        The tokens.

    Raises:
        ValueError: the list is missing, or an entry damaged.

    Example:
        >>> read_added_tokens({"added_tokens": []})
        []

    Chapter: 03.
    """
    return [AddedToken.from_fields(entry) for entry in field(document, "added_tokens", list)]


def read_extra(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give the four roles and what else we wrote beside the format.

    A foreign file names no roles: :func:`usual_roles` then tells them.

    Args:
        document: as :func:`read_document` gives it.

    Returns:
        The four roles, each an id or None, and what else there is.

    Raises:
        ValueError: a role is neither an integer nor None.

    Example:
        >>> end = AddedToken(content="<|endoftext|>", id=7)
        >>> read_extra({"model": {}, "added_tokens": [end.to_fields()]})
        {'pad_id': 7, 'bos_id': 7, 'eos_id': 7, 'unk_id': 7}

    Chapter: 03.
    """
    ours = document["model"].get(OURS)
    if not isinstance(ours, dict):
        return dict(usual_roles(read_added_tokens(document)))
    for role in ROLES:
        value = ours.get(role)
        require(
            value is None or type(value) is int,
            f"the role {role}={value!r} must be an id or null; the file is damaged, write it anew",
        )
    return {**dict.fromkeys(ROLES), **ours}


def read_text_file(path: str | os.PathLike[str]) -> str:
    """Give the text of a file.

    Args:
        path: the file.

    Returns:
        Its text.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, so no ``tokenizer.json``.

    Chapter: 03.
    """
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error}), so it is no tokenizer; give the path of a "
            "tokenizer.json"
        ) from error


#: Names by which BERT, Gemma, GPT-2, Llama, SmolLM2 and T5 call the tokens of each role. The
#: docstring of ``BPETokenizer.train`` lists them.
USUAL_NAMES = {
    "pad_id": ("[PAD]", "<pad>", "<|pad|>", "<|im_end|>", "<|endoftext|>"),
    "bos_id": ("[CLS]", "<s>", "<bos>", "<|im_start|>", "<|begin_of_text|>", "<|endoftext|>"),
    "eos_id": ("[SEP]", "</s>", "<eos>", "<|im_end|>", "<|end_of_text|>", "<|endoftext|>"),
    "unk_id": ("[UNK]", "<unk>", "<|endoftext|>"),
}


def usual_roles(added_tokens: Sequence[AddedToken]) -> dict[str, int | None]:
    """Tell the roles by the usual names of their tokens.

    Args:
        added_tokens: the tokens.

    Returns:
        For each of the four roles the id of its token, None where no name is known.

    Example:
        >>> usual_roles([AddedToken(content="</s>", id=2)])
        {'pad_id': None, 'bos_id': None, 'eos_id': 2, 'unk_id': None}

    Chapter: 03.
    """
    ids = {token.content: token.id for token in added_tokens}
    return {
        role: next((ids[name] for name in names if name in ids), None)
        for role, names in USUAL_NAMES.items()
    }
