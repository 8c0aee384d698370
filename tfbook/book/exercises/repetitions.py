"""Shares of repeated runs, the right one and those of known mistakes, for chapter 23."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfbook.book.exercises.compare import Form


def _runs(tokens: Sequence[int], n: int, stride: int = 1) -> list[tuple[int, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(0, len(tokens) - n + 1, stride)]


def share_repeated(tokens: Sequence[int], n: int, window: int, *, stride: int = 1) -> float:
    """Give the share of runs that began before, at most a window earlier.

    Args:
        tokens: at least ``n`` of them.
        n: tokens of a run.
        window: places before a run at which an equal one may begin.
        stride: places from one run to the next.

    Returns:
        The share.

    Example:
        >>> share_repeated([1, 2, 1, 2], 2, 2)
        0.3333333333333333
    """
    runs = _runs(tokens, n, stride)
    return sum(run in runs[max(0, i - window) : i] for i, run in enumerate(runs)) / len(runs)


def _share(
    seen: Callable[[list[tuple[int, ...]], int, int, int], Sequence[tuple[int, ...]]],
) -> Callable[..., float]:
    """The share of runs that are among the ``seen`` ones."""

    def share(tokens: Sequence[int], n: int, window: int) -> float:
        runs = _runs(tokens, n)
        return sum(run in seen(runs, i, n, window) for i, run in enumerate(runs)) / len(runs)

    return share


def _times(factor: Callable[[Sequence[int], int], float]) -> Callable[..., float]:
    return lambda tokens, n, window: share_repeated(tokens, n, window) * factor(tokens, n)


_EDGE = "the window is {}: a run that began `window` places before counts, an earlier one does not"
WRONG_SHARES: list[Form] = [
    (
        "that is the share of runs that are not repeated: give one minus it",
        lambda tokens, n, window: 1 - share_repeated(tokens, n, window),
    ),
    (
        "runs of the whole text before are looked at: only the last `window` of them count",
        lambda tokens, n, window: share_repeated(tokens, n, len(tokens)),
    ),
    (
        "a negative start counts from the end of the list: begin at max(0, i - window)",
        _share(lambda runs, i, n, window: runs[i - window : i]),
    ),
    (_EDGE.format("too short by one"), lambda tokens, n, w: share_repeated(tokens, n, w - 1)),
    (_EDGE.format("too long by one"), lambda tokens, n, w: share_repeated(tokens, n, w + 1)),
    (
        "a run is found in itself: the window ends before it",
        _share(lambda runs, i, n, window: runs[: i + 1]),
    ),
    (
        "the first occurrence is not repeated: look back, not ahead",
        _share(lambda runs, i, n, w: runs[max(0, i - w) : i] + runs[i + 1 : i + 1 + w]),
    ),
    (
        "the window moves with the run: yours are blocks that stand still",
        _share(lambda runs, i, n, window: runs[i // window * window : i]),
    ),
    (
        "the earlier run may overlap with this one: it only has to begin before",
        _share(lambda runs, i, n, w: runs[max(0, i - w) : max(0, i - n + 1)]),
    ),
    (
        "that counts single tokens: count runs of n",
        lambda tokens, n, window: share_repeated(tokens, 1, window),
    ),
    (
        "runs may overlap: move on by one token",
        lambda tokens, n, window: share_repeated(tokens, n, window, stride=n),
    ),
    (
        "the divisor is the number of tokens: divide by the number of runs of n; a shorter piece "
        "at the end is no run",
        _times(lambda tokens, n: (len(tokens) - n + 1) / len(tokens)),
    ),
    (
        "that is the number: divide by the number of runs",
        _times(lambda tokens, n: len(tokens) - n + 1),
    ),
    (
        "divide by all runs, not by the different ones",
        _times(lambda tokens, n: (len(tokens) - n + 1) / len(set(_runs(tokens, n)))),
    ),
    ("the last run is missing", lambda tokens, n, window: share_repeated(tokens[:-1], n, window)),
]
