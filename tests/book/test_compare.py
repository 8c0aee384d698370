"""What a reader is told whose tensor is wrong."""

from __future__ import annotations

import math

import pytest
import torch

from tfbook.book.exercises import Wrong
from tfbook.book.exercises.compare import (
    as_number,
    as_tensor,
    compare,
    compare_number,
    explained,
    same,
)

RIGHT = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_a_tensor_of_the_right_shape_is_given_back() -> None:
    assert as_tensor(RIGHT, (2, 3)) is RIGHT


def test_no_tensor() -> None:
    with pytest.raises(Wrong, match="give a tensor, not list"):
        as_tensor([1.0], (1,))


def test_another_shape_and_a_transposed_one() -> None:
    with pytest.raises(Wrong, match=r"the shape is \(2, 3\), it should be \(2, 4\)$"):
        as_tensor(RIGHT, (2, 4))
    with pytest.raises(Wrong, match=r"it should be \(3, 2\): transpose it"):
        as_tensor(RIGHT, (3, 2))


def test_right_answers_in_any_dtype() -> None:
    for given in (RIGHT, RIGHT.double(), RIGHT.long(), RIGHT + 1e-6, RIGHT.requires_grad_()):
        compare(given, RIGHT.tolist(), {})


def test_a_known_mistake_is_named() -> None:
    with pytest.raises(Wrong, match="one too many"):
        compare(RIGHT + 1, RIGHT, {"one too few": RIGHT - 1, "one too many": RIGHT + 1})


def test_few_numbers_are_shown_and_of_many_the_first_that_differs() -> None:
    with pytest.raises(Wrong, match=r"got \[1.0, 2.0\], expected \[1.0, 0.1\]"):
        compare(torch.tensor([1.0, 2.0]), [1.0, 0.1], {})
    with pytest.raises(Wrong, match=r"got \[2\], expected \[1\]"):
        compare(torch.tensor([2]), torch.tensor([1]), {})
    many = torch.zeros(3, 7)
    wrong = many.clone()
    wrong[1, 2:4] = 0.5
    with pytest.raises(Wrong, match=r"2 of 21 entries differ, first \[1, 2\]: got 0.5000"):
        compare(wrong, many, {})


def test_numbers_that_are_none() -> None:
    hidden = torch.tensor([0.0, -math.inf])
    with pytest.raises(Wrong, match="1 of 2 entries are not a number: 0 · inf is NaN"):
        compare(torch.tensor([math.nan, -math.inf]), hidden, {})
    with pytest.raises(Wrong, match=r"1 of 1 entries are not a number$"):
        compare(torch.tensor([math.nan]), [1.0], {})


def test_the_tolerance_is_that_asked_for() -> None:
    compare(RIGHT + 1e-3, RIGHT, {}, tolerance=1e-2)
    with pytest.raises(Wrong, match="got"):
        compare(RIGHT + 1e-3, RIGHT, {}, tolerance=1e-5)


def test_numbers_are_read() -> None:
    assert as_number(torch.tensor([[3]])) == 3
    assert isinstance(as_number(torch.tensor(3)), int)
    for wrong in (torch.ones(2), "3", None):
        with pytest.raises(Wrong, match="give a number, not"):
            as_number(wrong)


def test_numbers_are_compared() -> None:
    compare_number(3, 3.0, {})
    with pytest.raises(Wrong, match="that is twice"):
        compare_number(6.0, 3.0, {"that is twice": 6.0})
    with pytest.raises(Wrong, match="got 5"):
        compare_number(5.0, 3.0, {"that is twice": 6.0})


def test_a_mistake_must_explain_every_wrong_answer() -> None:
    forms = [("twice", lambda x: 2 * x), ("square", lambda x: x * x)]
    cases, right = [(2.0,), (3.0,)], [2.5, 3.5]
    assert explained(cases, [4.0, 6.0], right, forms) == "twice"
    assert explained(cases, [4.0, 9.0], right, forms) == "square"  # the first fits both
    assert explained(cases, [2.5, 9.0], right, forms) == "square"  # of the wrong ones
    assert explained(cases, [4.0, 7.0], right, forms) is None


def test_answers_are_the_same_up_to_rounding() -> None:
    assert same(0.1 + 0.2, 0.3)
    assert not same(0.301, 0.3)
    assert not same((1, 2), (2, 1))
