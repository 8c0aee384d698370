"""Ids on their way back to text; every tokenizer keeps to one interface."""

import inspect
from typing import Any

import pytest
import torch

from tfbook import tokenizers
from tfbook.tokenizers import BPETokenizer, RustTokenizer, Tokenizer
from tfbook.tokenizers.encoding import id_list


def test_sequences_and_tensors() -> None:
    assert id_list((0, 4), 5) == id_list(torch.tensor([0, 4]), 5) == [0, 4]
    assert id_list([], 5) == id_list(torch.tensor([], dtype=torch.long), 5) == []


@pytest.mark.parametrize("ids", [[0, 5], [-1, 0]])
def test_an_unknown_id(ids: list[int]) -> None:
    with pytest.raises(ValueError, match=r"ids holds (5|-1), but ids must lie in 0..4"):
        id_list(ids, 5)


@pytest.mark.parametrize("ids", [[1.0], torch.ones(2), "ab", [None]])
def test_what_is_no_id(ids: Any) -> None:
    with pytest.raises(ValueError, match=r"must be integers; encode gives them"):
        id_list(ids, 5)


def test_a_batch_of_ids() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but must have one axis; decode row by"):
        id_list(torch.zeros(2, 2, dtype=torch.long), 5)


NAMES = ("BPETokenizer", "RustTokenizer", "WordPieceTokenizer", "UnigramTokenizer")
CLASSES = [getattr(tokenizers, name) for name in NAMES if hasattr(tokenizers, name)]
METHODS = [name for name, member in vars(Tokenizer).items() if inspect.isfunction(member)]


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("_")])
@pytest.mark.parametrize("kind", CLASSES)
def test_one_interface(kind: type, name: str) -> None:
    wanted = inspect.signature(getattr(Tokenizer, name)).parameters
    found = inspect.signature(getattr(kind, name)).parameters
    assert list(found)[: len(wanted)] == list(wanted)
    for parameter in wanted.values():
        assert found[parameter.name].default == parameter.default
        assert found[parameter.name].kind == parameter.kind


def test_attributes() -> None:
    small = BPETokenizer.train(["low"], vocab_size=256)
    for made in (small, RustTokenizer(small)):
        for name in Tokenizer.__annotations__:
            assert hasattr(made, name)
