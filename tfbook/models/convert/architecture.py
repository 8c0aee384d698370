"""What the conversion has to know of one architecture."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import nn

from tfbook.models.convert.tensors import Entry

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Architecture(Generic[M]):
    """One architecture of Hugging Face's transformers.

    Args:
        model_type: as in its ``config.json``.
        classes: names of its classes that can be read.
        prefix: of all names but those of the heads; a model without a head leaves it out.
        heads: prefixes of names of the heads.
        ignored: patterns of names that hold nothing learnt, or nothing that we build.
        build: makes our model of their configuration and the names of the tensors.
        write: makes their configuration of ours.
        entries: gives the entries of a model of ours.
        same: gives pairs of names of which the first holds what the second does.
        old_names: parts of names of earlier releases, and what they are called now.
    """

    model_type: str
    classes: tuple[str, ...]
    prefix: str
    heads: tuple[str, ...]
    ignored: tuple[str, ...]
    build: Callable[[Mapping[str, Any], Collection[str]], M]
    write: Callable[[M], dict[str, Any]]
    entries: Callable[[M], list[Entry]]
    same: Callable[[M], dict[str, str]]
    old_names: Mapping[str, str] = field(default_factory=dict)
