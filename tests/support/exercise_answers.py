"""The two tests that the checkers of every chapter must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from tfbook.book import exercises

Answer = Callable[..., Any]


def answer_tests(
    right: Iterable[tuple[str, Answer]], wrong: Sequence[tuple[str, Answer, str]]
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Give a test that right answers pass, and one that each mistake is named.

    Args:
        right: exercise and right answer.
        wrong: exercise, wrong answer, and words that the diagnosis must hold.
    """

    @pytest.mark.parametrize(("exercise", "fn"), right)
    def passes(exercise: str, fn: Answer) -> None:
        assert exercises.check(exercise, fn) is True

    @pytest.mark.parametrize(("exercise", "fn", "diagnosis"), wrong)
    def is_diagnosed(
        exercise: str, fn: Answer, diagnosis: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert exercises.check(exercise, fn) is False
        assert diagnosis in capsys.readouterr().out

    return passes, is_diagnosed
