import math

import numpy as np
import pytest
import torch

from tfbook.checks import (
    as_integer,
    is_integer,
    listed,
    require,
    require_choice,
    require_divisible,
    require_positive,
    require_probability,
    require_state,
)


def test_what_holds_passes() -> None:
    require(True, "")
    require_state(True, "")
    require_divisible("a", 12, "b", 3)
    require_positive("a", 1)
    require_probability("a", 0.0)
    require_probability("a", 0.999)
    require_choice("a", 2, [1, 2])


@pytest.mark.parametrize(
    ("values", "words"),
    [([], ""), ([1], "1"), ([1, 2], "1 or 2"), (iter("abc"), "a, b or c")],
)
def test_listed(values: list[object], words: str) -> None:
    assert listed(values) == words


def test_the_message_is_the_one_given() -> None:
    with pytest.raises(ValueError, match=r"^because$"):
        require(False, "because")
    with pytest.raises(RuntimeError, match=r"^because$"):
        require_state(False, "because")


@pytest.mark.parametrize(
    ("value", "by", "message"),
    [
        (12, 5, r"^n_heads=12 must be divisible by n_kv_heads=5; use 1, 2, 3, 4, 6 or 12$"),
        (7, 2, r"^n_heads=7 must be divisible by n_kv_heads=2; use 1 or 7$"),
        (0, 5, "^n_heads=0 must be at least 1"),
        (12, 0, "^n_kv_heads=0 must be at least 1"),
        (12, -3, "^n_kv_heads=-3 must be at least 1"),
        # 5040 has sixty divisors: the message stays short.
        (5040, 11, r"use 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12 or 5040$"),
    ],
)
def test_divisible(value: int, by: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_divisible("n_heads", value, "n_kv_heads", by)


@pytest.mark.parametrize("value", [0, -1])
def test_positive(value: int) -> None:
    with pytest.raises(ValueError, match=rf"^n={value} must be at least 1; give a positive number"):
        require_positive("n", value)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0, math.nan, math.inf])
def test_probability(value: float) -> None:
    with pytest.raises(ValueError, match=rf"^p={value} must be in \[0, 1\); 0 turns it off$"):
        require_probability("p", value)


def test_choice() -> None:
    with pytest.raises(ValueError, match=r"^norm='batch' is unknown; use 'layer', 'rms' or 3$"):
        require_choice("norm", "batch", iter(["layer", "rms", 3]))


def test_integers() -> None:
    for value in (3, np.int64(3), np.array(3), torch.tensor(3)):
        assert is_integer(value)
        made = as_integer("n", value)
        assert made == 3
        assert type(made) is int
    for value in (
        True,
        3.0,
        "3",
        None,
        np.float32(3),
        np.bool_(True),
        torch.tensor(True),
        torch.tensor(1.5),
    ):
        assert not is_integer(value)
        with pytest.raises(ValueError, match=r"n=.* must be an integer; give a whole number"):
            as_integer("n", value)
