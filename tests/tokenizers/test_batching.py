"""Padding, truncation, masks."""

from typing import Any

import pytest
import torch

from tfbook.attention import padding_mask
from tfbook.tokenizers.batching import cut, encode_batch, make_batch, require_several

ROWS = [[5, 6, 7], [], [8, 9]]


def test_padding_on_the_right() -> None:
    batch = make_batch(ROWS, pad_id=1)
    assert batch.ids.tolist() == [[5, 6, 7], [1, 1, 1], [8, 9, 1]]
    assert batch.lengths.tolist() == [3, 0, 2]
    assert batch.ids.dtype == batch.lengths.dtype == torch.int64
    assert batch.mask.equal(padding_mask(batch.lengths, 3)[:, 0, 0])


def test_padding_on_the_left() -> None:
    batch = make_batch(ROWS, pad_id=1, side="left")
    assert batch.ids.tolist() == [[5, 6, 7], [1, 1, 1], [1, 8, 9]]
    assert batch.lengths.tolist() == [3, 0, 2]
    assert batch.mask.tolist() == [[True] * 3, [False] * 3, [False, True, True]]
    assert batch.side == "left"


def test_equal_lengths_need_no_padding() -> None:
    assert make_batch([[1, 2], [3, 4]], pad_id=None).mask.all()
    assert make_batch([[], []], pad_id=None).ids.shape == (2, 0)


@pytest.mark.parametrize(
    ("max_length", "expected"),
    [(None, [1, 5, 6, 7, 2]), (9, [1, 5, 6, 7, 2]), (4, [1, 5, 6, 2]), (2, [1, 2])],
)
def test_the_text_is_cut_and_not_what_is_around_it(
    max_length: int | None, expected: list[int]
) -> None:
    assert cut([5, 6, 7], before=[1], after=[2], max_length=max_length) == expected


def letters(text: str | bytes) -> list[int]:
    return list(text.encode() if isinstance(text, str) else text)


def test_texts_to_one_tensor() -> None:
    batch = encode_batch(
        letters, ["abc", "d"], before=[1], after=[2], pad_id=0, max_length=4, side="left"
    )
    assert batch.ids.tolist() == [[1, 97, 98, 2], [0, 1, 100, 2]]
    assert batch.lengths.tolist() == [4, 3]


BAD = [
    ([], {}, "texts is empty; pass at least one text"),
    ("one", {}, "texts='one' is one text, but must be a sequence of texts"),
    (["a", "bc"], dict(pad_id=None), "pad_id=None, but the texts have 1 to 2 tokens and need"),
    (["a"], dict(side="both"), "side='both' is unknown; use 'right' or 'left'"),
    (["a"], dict(max_length=0), "max_length=0 must be at least 1"),
    (["a"], dict(max_length=2, before=[1, 1], after=[2]), "max_length=2 must be at least 3"),
]


@pytest.mark.parametrize(("texts", "change", "message"), BAD)
def test_bad_input(texts: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_batch(letters, texts, **{"pad_id": 0, "max_length": None, "side": "right", **change})


def test_bad_rows() -> None:
    with pytest.raises(ValueError, match="texts is empty"):
        make_batch([], pad_id=0)
    with pytest.raises(ValueError, match="side='up' is unknown"):
        make_batch([[1]], pad_id=0, side="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"set tokenizer\.pad_id to the id of any token"):
        make_batch([[1], []], pad_id=None)
    with pytest.raises(ValueError, match="max_length=-1 must be at least 1"):
        cut([1], max_length=-1)
    with pytest.raises(ValueError, match=r"texts=b'ab' is one text"):
        require_several(b"ab")
