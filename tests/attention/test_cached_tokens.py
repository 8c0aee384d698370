import pytest
import torch
from torch import Tensor

from tfbook.attention.cache_slots import Slots
from tfbook.attention.cached_tokens import LeftPadding, TokenPositions


def positions(first: int, n: int) -> Tensor:
    return torch.arange(first, first + n)


def test_positions_go_round_with_their_tokens() -> None:
    kept = TokenPositions(Slots(capacity=3, window=3))
    kept.write(positions(10, 2), length=0)
    kept.write(positions(12, 2), length=2)
    assert kept.known(4).tolist() == [13, 11, 12]
    # One token takes the place of the oldest; a chunk sees what is kept, in order.
    assert kept.seen(positions(14, 2), length=4).tolist() == [12, 13, 14, 15]
    assert kept.seen(positions(14, 1), length=4).tolist() == [13, 14, 12]


def test_rows_agree_until_one_differs() -> None:
    kept = TokenPositions(Slots(capacity=5, window=None))
    kept.write(positions(0, 2), length=0)
    kept.write(torch.tensor([[2], [7]]), length=2)
    assert kept.known(3).tolist() == [[0, 1, 2], [0, 1, 7]]
    copy = kept.taken(torch.tensor([1, 1, 0]), Slots(capacity=5, window=None))
    kept.write(torch.tensor([[3], [8]]), length=3)
    assert copy.known(3).tolist() == [[0, 1, 7], [0, 1, 7], [0, 1, 2]]


def test_positions_missing_once_are_missing() -> None:
    kept = TokenPositions(Slots(capacity=5, window=None))
    kept.write(positions(0, 2), length=0)
    kept.write(None, length=2)
    assert kept.known(3) is None
    with pytest.raises(RuntimeError, match="the cache holds 3 tokens without positions"):
        kept.write(positions(3, 1), length=3)
    with pytest.raises(RuntimeError, match="pass positions= to advance from the first token on"):
        kept.seen(positions(3, 1), length=3)


def test_inference_mode_leaves_them_fit_for_more() -> None:
    with torch.inference_mode():
        kept = TokenPositions(Slots(capacity=5, window=None))
        kept.write(positions(0, 2), length=0)
        kept.write(torch.tensor([[2], [7]]), length=2)
        copy = kept.taken(torch.tensor([1, 0]), Slots(capacity=5, window=None))
    for one in (kept, copy):
        one.write(positions(9, 1), length=3)
    assert copy.known(4).tolist() == [[0, 1, 7, 9], [0, 1, 2, 9]]


def padding(*lengths: int, slots: Slots) -> LeftPadding:
    return LeftPadding(torch.tensor(lengths), batch=len(lengths), max_length=9, slots=slots)


def test_filler_is_hidden_and_not_counted() -> None:
    pad = padding(0, 2, slots=Slots(capacity=9, window=None))
    assert pad.mask(start=1, n=3)[:, 0, 0].int().tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert pad.positions(start=1, n=3).tolist() == [[1, 2, 3], [0, 0, 1]]
    assert padding(0, 0, slots=Slots(capacity=9, window=None)).mask(start=1, n=3) is None


def test_filler_leaves_the_ring() -> None:
    pad = padding(0, 2, slots=Slots(capacity=3, window=3))
    # Slots hold the tokens 3, 1 and 2: the second row's filler was 0 and 1.
    assert pad.mask(start=3, n=1)[:, 0, 0].int().tolist() == [[1, 1, 1], [1, 0, 1]]
    assert pad.mask(start=4, n=1) is None
    assert pad.mask(start=3, n=2)[:, 0, 0].int().tolist() == [[1, 1, 1, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize("lengths", [torch.tensor([1]), torch.tensor([0.0, 1.0])])
def test_one_length_for_every_row(lengths: Tensor) -> None:
    with pytest.raises(ValueError, match=r"padding has shape .* must be integers of shape \(2,\)"):
        LeftPadding(lengths, batch=2, max_length=9, slots=Slots(capacity=9, window=None))


@pytest.mark.parametrize("lengths", [(0, 9), (-1, 2)])
def test_a_row_has_at_least_one_token(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"padding=\[.*\] must lie in \[0, max_length=9\)"):
        padding(*lengths, slots=Slots(capacity=9, window=None))
