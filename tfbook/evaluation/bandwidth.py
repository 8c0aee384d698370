"""What the machine can do: bytes that it reads, and operations that it does, in a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tfbook.checks import require, require_positive


@dataclass(frozen=True, kw_only=True)
class Machine:
    r"""Two rates of a machine, and what they allow.

    .. math:: t \ge \max\!\left(\frac{\text{bytes}}{B},\; \frac{\text{FLOPs}}{P}\right)

    Args:
        bytes_per_second: read from memory, ``B``.
        flops_per_second: floating-point operations of a matrix product, ``P``.

    Raises:
        ValueError: a rate that is not above zero.

    Example:
        >>> Machine(bytes_per_second=10e9, flops_per_second=100e9).balance
        10.0

    Source: Williams et al. 2009 (the roofline). Chapter: 24.
    """

    bytes_per_second: float
    flops_per_second: float

    def __post_init__(self) -> None:
        """Check the rates."""
        for name in ("bytes_per_second", "flops_per_second"):
            rate = getattr(self, name)
            require(rate > 0, f"{name}={rate} must be above 0; measure it with measure_machine")

    @property
    def balance(self) -> float:
        """FLOPs a byte at which reading and computing take equally long."""
        return self.flops_per_second / self.bytes_per_second

    def least_seconds(self, *, n_bytes: float, flops: float) -> float:
        """Give the time that neither rate lets a piece of work fall below.

        Args:
            n_bytes: read from memory.
            flops: floating-point operations.

        Returns:
            Seconds.

        Example:
            >>> Machine(bytes_per_second=2.0, flops_per_second=5.0).least_seconds(
            ...     n_bytes=8, flops=10)
            4.0
        """
        return max(n_bytes / self.bytes_per_second, flops / self.flops_per_second)


def measure_machine(
    *,
    n_bytes: int = 2**29,
    size: int = 1024,
    dtype: torch.dtype = torch.float32,
    repetitions: int = 5,
) -> Machine:
    """Measure both rates of this machine's processor.

    Args:
        n_bytes: see :func:`read_rate`.
        size: see :func:`product_rate`.
        dtype: of the product.
        repetitions: of each measurement.

    Returns:
        The rates, with as many threads as PyTorch has now.

    Raises:
        ValueError: as :func:`read_rate` and :func:`product_rate`.

    Example:
        >>> machine = measure_machine(n_bytes=2**16, size=64, repetitions=3)
        >>> machine.balance > 0
        True

    Source: Williams et al. 2009. Chapter: 24.
    """
    return Machine(
        bytes_per_second=read_rate(n_bytes=n_bytes, repetitions=repetitions),
        flops_per_second=product_rate(size=size, dtype=dtype, repetitions=repetitions),
    )


def read_rate(*, n_bytes: int = 2**29, repetitions: int = 5) -> float:
    """Measure how many bytes a second the processor reads.

    The two halves of the bytes are multiplied with one another and summed (a dot product), which
    reads every byte once and keeps none.

    Args:
        n_bytes: to read; more than the processor's caches hold, or their rate is measured.
        repetitions: of which the median counts.

    Returns:
        Bytes per second.

    Raises:
        ValueError: fewer than 8 bytes, which make no two numbers, or no repetition.

    Example:
        >>> read_rate(n_bytes=2**16, repetitions=3) > 0
        True

    Source: none. Chapter: 24.
    """
    require(n_bytes >= 8, f"n_bytes={n_bytes} must be at least 8; use some 2**29")
    half = n_bytes // 8
    one, other = torch.ones(2, half).unbind()
    return 8 * half / median_seconds(lambda: torch.dot(one, other), repetitions=repetitions)


def product_rate(
    *, size: int = 1024, dtype: torch.dtype = torch.float32, repetitions: int = 5
) -> float:
    r"""Measure how many floating-point operations a second a matrix product does.

    .. math:: P = \frac{2 \cdot \text{size}^3}{t}

    Args:
        size: of the square matrices.
        dtype: of their numbers.
        repetitions: of which the median counts.

    Returns:
        FLOPs per second.

    Raises:
        ValueError: a size below one, or no repetition.

    Example:
        >>> product_rate(size=64, repetitions=3) > 0
        True

    Source: none. Chapter: 24.
    """
    require_positive("size", size)
    one, other = torch.ones(2, size, size, dtype=dtype).unbind()
    return 2 * size**3 / median_seconds(lambda: one @ other, repetitions=repetitions)


def median_seconds(run: Callable[[], object], *, repetitions: int = 5) -> float:
    """Time a call, after one that is not counted.

    Args:
        run: what to call.
        repetitions: of which the median counts.

    Returns:
        Processor seconds a thread. Other programs that take turns on the same core do not
        count, as they would in wall time.

    Raises:
        ValueError: no repetition.

    Example:
        >>> median_seconds(lambda: sum(range(10_000))) > 0
        True

    Source: none. Chapter: 24.
    """
    require_positive("repetitions", repetitions)
    run()
    seconds = []
    for _ in range(repetitions):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    # A clock of coarse steps may say 0.
    resolution = time.get_clock_info("process_time").resolution
    return max(statistics.median(seconds) / torch.get_num_threads(), resolution)
