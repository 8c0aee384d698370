"""The two rates of a machine, and the time that they allow."""

from __future__ import annotations

import time

import pytest
import torch

from tfbook.evaluation import Machine, measure_machine, median_seconds, product_rate, read_rate


def test_the_slower_of_reading_and_computing_sets_the_time() -> None:
    machine = Machine(bytes_per_second=20.0, flops_per_second=70.0)
    assert machine.balance == 3.5
    assert machine.least_seconds(n_bytes=100, flops=70) == 5.0
    assert machine.least_seconds(n_bytes=100, flops=700) == 10.0
    at_the_ridge = machine.least_seconds(n_bytes=2, flops=2 * machine.balance)
    assert at_the_ridge == pytest.approx(2 / 20.0) == pytest.approx(7 / 70.0)


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, -2.0)])
def test_a_rate_that_is_no_rate_is_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"_per_second=.* must be above 0; measure it"):
        Machine(bytes_per_second=rates[0], flops_per_second=rates[1])


def test_the_time_of_a_call_is_its_processor_time() -> None:
    def work() -> None:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    threads = torch.get_num_threads()
    assert 0.02 <= median_seconds(work, repetitions=3) * threads < 0.2
    # Sleeping is not counted.
    assert median_seconds(lambda: time.sleep(0.02), repetitions=3) < 0.01


def test_rates_follow_from_sizes_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 2))  # every look at the clock is two seconds later
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert read_rate(n_bytes=4096, repetitions=3) == 4096 / 2
    assert product_rate(size=7, repetitions=3) == 2 * 7**3 / 2
    machine = measure_machine(n_bytes=80, size=5, dtype=torch.bfloat16, repetitions=1)
    assert machine == Machine(bytes_per_second=40.0, flops_per_second=125.0)


def test_a_clock_that_stands_still_divides_nothing_by_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "process_time", lambda: 1.0)
    assert 0 < read_rate(n_bytes=64, repetitions=2) < float("inf")


def test_a_product_does_more_operations_than_a_sweep_reads_bytes() -> None:
    machine = measure_machine(n_bytes=2**26, size=384, repetitions=3)
    assert machine.balance > 1


def test_sizes_and_repetitions_are_checked() -> None:
    with pytest.raises(ValueError, match="n_bytes=7 must be at least 8"):
        read_rate(n_bytes=7)
    with pytest.raises(ValueError, match="size=0"):
        product_rate(size=0)
    with pytest.raises(ValueError, match="repetitions=0"):
        median_seconds(lambda: None, repetitions=0)
    with pytest.raises(ValueError, match="size=-1"):
        measure_machine(n_bytes=64, size=-1)
