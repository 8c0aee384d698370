from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbook.training import WindowBatches

TEXTS = st.lists(st.integers(0, 30), min_size=1, max_size=5)


@given(TEXTS, st.integers(1, 9), st.integers(1, 5), st.integers(-3, 2**40), st.integers(0, 99))
@settings(deadline=None, max_examples=80)
def test_every_window_is_a_run_of_one_text(
    lengths: list[int], length: int, batch_size: int, seed: int, step: int
) -> None:
    # Tokens count up within a text, and jump by a thousand from one to the next.
    texts = [1000 * i + torch.arange(n) for i, n in enumerate(lengths)]
    options = dict(length=length, batch_size=batch_size, seed=seed)
    if max(lengths) <= length:
        with pytest.raises(ValueError, match="texts has no text of length="):
            WindowBatches(texts, **options)
        return
    windows = WindowBatches(texts, **options).batch(step)
    assert windows.shape == (batch_size, length + 1)
    assert windows.diff(dim=1).unique().tolist() == [1]
    assert torch.equal(windows, WindowBatches(texts, **options).batch(step))


def test_every_window_is_equally_likely() -> None:
    texts = [torch.arange(5), torch.arange(3), 100 + torch.arange(4)]  # 2 + 0 + 1 windows
    batches = WindowBatches(texts, length=3, batch_size=3000, seed=1)
    counts = Counter(batches.batch(0)[:, 0].tolist())
    assert set(counts) == {0, 1, 100}
    # 1000 expected each; the standard deviation is 26.
    assert all(abs(n - 1000) < 130 for n in counts.values())


def test_steps_and_seeds_differ() -> None:
    texts = [torch.arange(10_000)]
    firsts = {
        tuple(WindowBatches(texts, length=4, batch_size=8, seed=seed).batch(step)[:, 0].tolist())
        for seed in range(3)
        for step in range(3)
    }
    assert len(firsts) == 9


def test_bad_input() -> None:
    good = [torch.arange(9)]
    with pytest.raises(ValueError, match="length=0 must be at least 1"):
        WindowBatches(good, length=0, batch_size=2)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        WindowBatches(good, length=2, batch_size=0)
    with pytest.raises(ValueError, match=r"shape \(3, 3\) and dtype torch.int64"):
        WindowBatches([torch.ones(3, 3).long()], length=2, batch_size=2)
    with pytest.raises(ValueError, match=r"dtype torch.float32, but each must be torch.int64"):
        WindowBatches([torch.ones(9)], length=2, batch_size=2)
    with pytest.raises(ValueError, match=r"the longest has 9; give longer texts"):
        WindowBatches(good, length=9, batch_size=2)
    with pytest.raises(ValueError, match="step=-1 must be at least 0; count steps from 0"):
        WindowBatches(good, length=2, batch_size=1).batch(-1)
