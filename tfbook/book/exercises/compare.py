"""What checkers share: compare a reader's answer with the right one, and with known mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tfbook.book.exercises import Wrong

#: A diagnosis, and the answer that this mistake gives.
Form = tuple[str, Callable[..., Any]]

# A reader can take in as many numbers at a glance; of more, the first that differs is shown.
SHOWN_AT_ONCE = 16


def as_tensor(given: object, shape: tuple[int, ...]) -> Tensor:
    """Give the reader's answer as the tensor that it should be.

    Args:
        given: what the reader's function returned.
        shape: that it should have.

    Returns:
        ``given``.

    Raises:
        Wrong: it is no tensor, or one of another shape.

    Example:
        >>> as_tensor(torch.ones(2, 3), (2, 3)).shape
        torch.Size([2, 3])
    """
    if not isinstance(given, Tensor):
        raise Wrong(f"give a tensor, not {type(given).__name__}")
    if given.shape != shape:
        hint = ": transpose it" if given.shape == shape[::-1] else ""
        raise Wrong(f"the shape is {tuple(given.shape)}, it should be {shape}{hint}")
    return given


def compare(
    given: Tensor, right: Any, mistakes: Mapping[str, Any], *, tolerance: float = 1e-5
) -> None:
    """Accept the right answer, name a known mistake, or say where another one differs.

    Args:
        given: the reader's tensor.
        right: the right answer: a tensor, a number or nested lists of numbers, of its shape.
        mistakes: for each diagnosis, the answer that this mistake gives.
        tolerance: relative and absolute.

    Raises:
        Wrong: with the diagnosis.

    Example:
        >>> compare(torch.tensor([1.0, 3.0]), [1.0, 2.0], {"one too many": [2.0, 3.0]})
        Traceback (most recent call last):
        ...
        tfbook.book.exercises.Wrong: got [1.0, 3.0], expected [1.0, 2.0]
    """
    found, expected = _wide(given), _wide(right)
    close = torch.isclose(found, expected, rtol=tolerance, atol=tolerance)
    if close.all():
        return
    for diagnosis, wrong in mistakes.items():
        if torch.allclose(found, _wide(wrong), rtol=tolerance, atol=tolerance):
            raise Wrong(diagnosis)
    missing = int(found.isnan().sum())
    if missing:
        hint = ": 0 · inf is NaN. Use masked_fill" if expected.isinf().any() else ""
        raise Wrong(f"{missing} of {found.numel()} entries are not a number{hint}")
    if found.numel() <= SHOWN_AT_ONCE:
        whole = isinstance(right, Tensor) and not right.is_floating_point()
        shown = expected.long() if whole else expected
        raise Wrong(f"got {given.tolist()}, expected {shown.tolist()}")
    first = (~close).nonzero()[0].tolist()
    place = tuple(first)
    raise Wrong(
        f"{int((~close).sum())} of {found.numel()} entries differ, first {first}: "
        f"got {found[place].item():.4f}, expected {expected[place].item():.4f}"
    )


def _wide(numbers: Any) -> Tensor:
    """In float64. From a list of Python's floats, PyTorch would make float32 first."""
    return torch.as_tensor(numbers, dtype=torch.float64).detach()


def as_number(given: object) -> int | float:
    """Give the reader's answer as the number that it should be.

    Args:
        given: the answer.

    Returns:
        The number; what a tensor of one entry holds.

    Raises:
        Wrong: it is something else.

    Example:
        >>> as_number(torch.tensor([3])), as_number(0.5)
        (3, 0.5)
    """
    if isinstance(given, Tensor) and given.numel() == 1:
        given = given.item()
    if not isinstance(given, float | int):
        raise Wrong(f"give a number, not {type(given).__name__}")
    return given


def compare_number(given: object, right: float, mistakes: Mapping[str, float]) -> None:
    """Compare a number as :func:`compare` does a tensor.

    Args:
        given: the reader's.
        right: the number itself.
        mistakes: from a diagnosis to the number that this mistake gives.

    Raises:
        Wrong: it is no number, or another one.

    Example:
        >>> compare_number(6, 3.0, {"that is twice": 6.0})
        Traceback (most recent call last):
        ...
        tfbook.book.exercises.Wrong: that is twice
    """
    compare(torch.tensor(float(as_number(given)), dtype=torch.float64), right, mistakes)


def explained(
    cases: Sequence[Any], given: Sequence[Any], right: Sequence[Any], forms: Sequence[Form]
) -> str | None:
    """Find the mistake that gives all answers, or else all wrong ones: in one, two may agree.

    Args:
        cases: the arguments of each case.
        given: the reader's answers.
        right: the right ones.
        forms: known mistakes.

    Returns:
        The diagnosis, or None where no mistake explains the answers.

    Example:
        >>> explained([(2,), (3,)], [4, 6], [4, 9], [("that is twice", lambda x: 2 * x)])
        'that is twice'
    """
    every = range(len(cases))
    for places in every, [i for i in every if not same(given[i], right[i])]:
        for diagnosis, form in forms:
            if all(same(given[i], form(*cases[i])) for i in places):
                return diagnosis
    return None


def same(given: Any, other: Any) -> bool:
    """Compare two answers, numbers up to rounding.

    Args:
        given: the reader's.
        other: the right one.

    Returns:
        Whether they are the same.

    Example:
        >>> same(0.30000001, 0.3), same((1, 2), (2, 1))
        (True, False)
    """
    if isinstance(other, float):
        return math.isclose(given, other, rel_tol=1e-5, abs_tol=1e-6)
    return bool(given == other)
