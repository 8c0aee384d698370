"""CPU seconds of several callables, measured in turns."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass

from tqdm import tqdm

WARM_UP = 2


@dataclass(frozen=True)
class Timing:
    """What one callable took.

    Args:
        seconds: CPU seconds of each repetition.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, CPU seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        return half_quartile_distance(self.seconds) / self.median

    def over(self, other: Timing) -> tuple[float, ...]:
        """The ratio to another callable in every repetition: what slows both cancels."""
        return tuple(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def half_quartile_distance(values: Sequence[float]) -> float:
    """Half the distance between the quartiles."""
    lower, _, upper = statistics.quantiles(values, n=4)
    return (upper - lower) / 2


def measure(
    cases: Mapping[str, Callable[[], object]], *, repetitions: int, bar: tqdm
) -> dict[str, Timing]:
    """Time each case, one after the other in every repetition, in an order drawn anew.

    A change in the machine's speed then falls on all of them alike.

    Args:
        cases: what to call, by name.
        repetitions: how often, after a warm-up.
        bar: moved by one at every call.

    Returns:
        The timings by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    shuffle = random.Random(0).shuffle
    for repetition in range(-WARM_UP, repetitions):
        shuffle(order)
        for name in order:
            began = time.process_time()
            cases[name]()
            took = time.process_time() - began
            if repetition >= 0:
                seconds[name].append(took)
            bar.update()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def n_calls(cases: Sized, repetitions: int) -> int:
    """How often :func:`measure` moves the bar."""
    return len(cases) * (repetitions + WARM_UP)
