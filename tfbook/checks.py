"""Argument checks with one message format.

A message names the argument and its value, the rule that it breaks, and the way
out: ``n_heads=12 must be divisible by n_kv_heads=5; use 1, 2, 3, 4, 6 or 12``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import SupportsIndex, cast

import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition`` holds.

    Args:
        condition: what must be true of the arguments.
        message: argument, value, rule, way out.

    Raises:
        ValueError: ``condition`` is false.

    Example:
        >>> require(2 + 2 == 4, "never shown")
    """
    if not condition:
        raise ValueError(message)


def require_state(condition: bool, message: str) -> None:
    """Raise ``RuntimeError(message)`` unless an object is in the needed state.

    Args:
        condition: what must be true of the object's state.
        message: what is wrong and the way out.

    Raises:
        RuntimeError: ``condition`` is false.

    Example:
        >>> require_state(True, "never shown")
    """
    if not condition:
        raise RuntimeError(message)


def listed(values: Iterable[object]) -> str:
    """Join values for a message: ``1, 2 or 4``.

    Args:
        values: what to list.

    Returns:
        The values in words, the last joined by "or".

    Example:
        >>> listed([1, 2, 4])
        '1, 2 or 4'
    """
    words = [str(value) for value in values]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


def require_divisible(name: str, value: int, by_name: str, by: int) -> None:
    """Raise unless ``value`` is a positive multiple of ``by``.

    Args:
        name: the name of the argument that is divided.
        value: its value.
        by_name: the name of the divisor.
        by: its value.

    Raises:
        ValueError: either is not positive, or the division leaves a remainder.

    Example:
        >>> require_divisible("d_model", 12, "n_heads", 3)
    """
    require_positive(name, value)
    require_positive(by_name, by)
    if value % by:
        divisors = [d for d in range(1, value + 1) if value % d == 0]
        shown = listed(divisors if len(divisors) <= 12 else [*divisors[:11], divisors[-1]])
        raise ValueError(f"{name}={value} must be divisible by {by_name}={by}; use {shown}")


def require_positive(name: str, value: int) -> None:
    """Raise unless ``value`` is at least one.

    Args:
        name: the argument's name.
        value: its value.

    Raises:
        ValueError: ``value`` is below one.

    Example:
        >>> require_positive("n_layers", 6)
    """
    require(value >= 1, f"{name}={value} must be at least 1; give a positive number")


def is_integer(value: object) -> bool:
    """Tell whether a value stands for an integer.

    Args:
        value: anything.

    Returns:
        True for integers of Python, NumPy and PyTorch; False for ``True`` and ``2.0``, which
        are rather mistakes.

    Example:
        >>> is_integer(3), is_integer(torch.tensor(3)), is_integer(3.0), is_integer(True)
        (True, True, False, False)
    """
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        return False
    try:
        operator.index(cast(SupportsIndex, value))
    except TypeError:
        return False
    return True


def as_integer(name: str, value: object) -> int:
    """Give an integer as one of Python's.

    Args:
        name: of the argument.
        value: its value.

    Returns:
        The same number.

    Raises:
        ValueError: it is none; see :func:`is_integer`.

    Example:
        >>> as_integer("n_beams", torch.tensor(3))
        3
    """
    require(is_integer(value), f"{name}={value!r} must be an integer; give a whole number")
    return operator.index(cast(SupportsIndex, value))


def require_probability(name: str, value: float) -> None:
    """Raise unless ``0 <= value < 1``.

    Args:
        name: the argument's name.
        value: a probability, dimensionless.

    Raises:
        ValueError: ``value`` lies outside ``[0, 1)``.

    Example:
        >>> require_probability("dropout_p", 0.1)
    """
    require(0.0 <= value < 1.0, f"{name}={value} must be in [0, 1); 0 turns it off")


def require_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise unless ``value`` is one of ``choices``.

    Args:
        name: the argument's name.
        value: its value.
        choices: what is allowed.

    Raises:
        ValueError: ``value`` is not among them.

    Example:
        >>> require_choice("placement", "pre", ["pre", "post"])
    """
    allowed = list(choices)
    if value not in allowed:
        shown = listed([repr(c) for c in allowed])
        raise ValueError(f"{name}={value!r} is unknown; use {shown}")
