import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close
from torch import Tensor
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

from tfbook.positions import (
    ConcatenatedPositions,
    LearnedFrequencies,
    LearnedPositions,
    SinusoidalPositions,
    sinusoidal_table,
)
from tfbook.positions.frequencies import require_positions


def test_worked_by_hand() -> None:
    # Width 4: wavelengths 2π and 2π·100; the columns are sin, cos, sin, cos.
    expected = [
        [0.0, 1.0, 0.0, 1.0],
        [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)],
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)],
    ]
    torch.testing.assert_close(sinusoidal_table(3, 4), torch.tensor(expected))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_papers_equation_term_by_term(dtype: torch.dtype) -> None:
    n, d = 211, 22
    expected = torch.zeros(n, d, dtype=torch.float64)
    for t in range(n):
        for i in range(d // 2):
            expected[t, 2 * i] = math.sin(t / 10_000 ** (2 * i / d))
            expected[t, 2 * i + 1] = math.cos(t / 10_000 ** (2 * i / d))
    close(sinusoidal_table(n, d, dtype=dtype), expected.to(dtype))


def test_marian_has_the_same_columns_in_another_order() -> None:
    """Marian puts all sines first. It computes in float64 too."""
    n, d = 97, 14
    marian = MarianSinusoidalPositionalEmbedding(n, d)
    marian.weight.data = marian.create_weight()
    ours = sinusoidal_table(n, d)
    close(torch.cat([ours[:, 0::2], ours[:, 1::2]], dim=1), marian.weight.data)


@given(t=st.integers(0, 80), offset=st.integers(0, 20))
@settings(deadline=None, max_examples=25)
def test_an_offset_is_a_rotation(t: int, offset: int) -> None:
    """P(t + k) follows from P(t) by a rotation that depends on k alone (section 3.5)."""
    table = sinusoidal_table(101, 6, dtype=torch.float64)
    angles = offset * 10_000.0 ** (-torch.arange(0, 6, 2, dtype=torch.float64) / 6)
    sine, cosine = table[t, 0::2], table[t, 1::2]
    rotated = [
        sine * angles.cos() + cosine * angles.sin(),
        cosine * angles.cos() - sine * angles.sin(),
    ]
    torch.testing.assert_close(table[t + offset], torch.stack(rotated, dim=1).flatten())


def test_the_base_stretches_the_wavelengths() -> None:
    assert not sinusoidal_table(5, 4, base=100.0).equal(sinusoidal_table(5, 4))
    torch.testing.assert_close(
        sinusoidal_table(5, 4, base=100.0)[:, 2], (torch.arange(5) / 10).sin()
    )


@pytest.mark.parametrize("make", [SinusoidalPositions, LearnedPositions])
def test_rows_of_the_given_positions_are_added(make: type[LearnedPositions]) -> None:
    positions = make(19, 6)
    x = torch.randn(2, 5, 6)
    once = torch.tensor([3, 1, 4, 1, 5])
    close(positions(x, once), x + positions.table[once])
    each = torch.randint(0, 19, (2, 5))
    close(positions(x, each), x + positions.table[each])
    close(positions(x, once[None]), positions(x, once))
    assert positions.max_length == 19


def test_the_sinusoidal_table_is_neither_trained_nor_saved() -> None:
    positions = SinusoidalPositions(19, 6)
    assert not list(positions.parameters())
    assert not positions.state_dict()
    assert positions(torch.zeros(1, 2, 6).bfloat16(), torch.arange(2)).dtype == torch.bfloat16


def test_the_sinusoidal_table_has_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        table = SinusoidalPositions(3, 4).table
    finally:
        torch.set_default_dtype(torch.float32)
    assert table[1, 0].item() == math.sin(1)


def test_learned_rows_get_their_gradients() -> None:
    positions = LearnedPositions(19, 6)
    positions(torch.zeros(2, 3, 6), torch.tensor([4, 4, 7])).sum().backward()
    counts = positions.table.grad[:, 0]
    assert counts[[4, 7]].tolist() == [4.0, 2.0]
    assert counts.sum() == 6


@pytest.mark.parametrize("dtype", FLOATS)
def test_learnt_frequencies_start_as_the_papers(dtype: torch.dtype) -> None:
    positions = LearnedFrequencies(6).to(dtype)
    if dtype == torch.float64:  # made in float32, cast later
        positions.log_frequencies.data = -torch.arange(3).double() / 3 * math.log(10_000)
    x = torch.randn(2, 5, 6, dtype=dtype)
    t = torch.tensor([3, 1, 4, 1, 59])
    close(positions(x, t), x + sinusoidal_table(60, 6, dtype=dtype)[t])
    each = torch.randint(0, 60, (2, 5))
    close(positions(x, each), x + sinusoidal_table(60, 6, dtype=dtype)[each])
    assert positions(x.bfloat16(), t).dtype == torch.bfloat16


def test_learnt_frequencies_get_their_gradients() -> None:
    positions = LearnedFrequencies(4, base=9.0).double()
    t, weights = torch.tensor([2, 5]), torch.randn(1, 2, 4, dtype=torch.float64)
    (positions(torch.zeros(1, 2, 4, dtype=torch.float64), t) * weights).sum().backward()
    omega = positions.log_frequencies.detach().exp()
    angles = t[:, None] * omega
    # d sin(tω)/d ln ω = tω·cos(tω), and the cosine's is -tω·sin(tω).
    slope = angles * (weights[0, :, 0::2] * angles.cos() - weights[0, :, 1::2] * angles.sin())
    close(positions.log_frequencies.grad, slope.sum(0))


def test_learnt_frequencies_find_a_period() -> None:
    """A wave of period 7 is fitted from a start near it: the gradient points the right way."""
    positions = LearnedFrequencies(2)
    positions.log_frequencies.data += math.log(2 * math.pi / 7.7)
    t = torch.arange(14)
    wave = torch.stack([(2 * math.pi * t / 7).sin(), (2 * math.pi * t / 7).cos()], dim=1)
    optimizer = torch.optim.Adam(positions.parameters(), lr=0.01)
    for _ in range(60):
        loss = (positions(torch.zeros(1, 14, 2), t) - wave).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert 2 * math.pi / positions.log_frequencies.exp().item() == pytest.approx(7, abs=0.05)


@pytest.mark.parametrize(
    "code", [SinusoidalPositions(19, 4), LearnedPositions(19, 4), LearnedFrequencies(4)]
)
def test_concatenated_positions_have_features_of_their_own(code: torch.nn.Module) -> None:
    code.to(torch.zeros(0).device)
    x = torch.randn(2, 5, 7)
    for t in (torch.tensor([3, 1, 4, 1, 5]), torch.randint(0, 19, (2, 5))):
        y = ConcatenatedPositions(code, 4)(x, t)
        assert y.shape == (2, 5, 11)
        assert y[..., :7].equal(x)
        torch.testing.assert_close(y[..., 7:], code(torch.zeros(2, 5, 4), t))
    assert len(list(ConcatenatedPositions(code, 4).parameters())) == len(list(code.parameters()))


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        sinusoidal_table(0, 4)
    with pytest.raises(ValueError, match="d_model=5 must be even"):
        sinusoidal_table(3, 5)
    with pytest.raises(ValueError, match="d_model=5 must be even"):
        SinusoidalPositions(3, 5)
    with pytest.raises(ValueError, match="max_length=0 must be at least 1"):
        LearnedPositions(0, 5)
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        LearnedPositions(5, 0)
    with pytest.raises(ValueError, match="d=5 must be even: two features share a frequency"):
        LearnedFrequencies(5)
    with pytest.raises(ValueError, match=r"base=1.0 must be above 1; the usual is 10000"):
        LearnedFrequencies(4, base=1.0)
    with pytest.raises(ValueError, match="x has width 7, but these positions were made for d_mod"):
        LearnedFrequencies(4)(torch.zeros(2, 3, 7), torch.arange(3))
    with pytest.raises(ValueError, match="d_position=0 must be at least 1"):
        ConcatenatedPositions(LearnedFrequencies(4), 0)


@pytest.mark.parametrize("make", [SinusoidalPositions, LearnedPositions])
@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.tensor([0, 1, 7]), r"positions=0…7 must lie in \[0, max_length=7\); shorten"),
        (torch.tensor([-1, 0, 1]), r"positions=-1…1 must lie in \[0, max_length=7\)"),
        (torch.tensor([0]), r"positions has shape \(1,\) .* integers of shape \(3,\) or \(2, 3\)"),
        (torch.tensor([[0], [1]]), r"positions has shape \(2, 1\)"),
        (torch.zeros(3), "dtype torch.float32, but must be integers"),
        (torch.tensor([True, False, True]), "dtype torch.bool, but must be integers"),
    ],
)
def test_bad_positions(make: type[LearnedPositions], positions: Tensor, message: str) -> None:
    assert make in (SinusoidalPositions, LearnedPositions)
    with pytest.raises(ValueError, match=message):
        make(7, 4)(torch.zeros(2, 3, 4), positions)


@pytest.mark.parametrize(
    "module", [LearnedFrequencies(4), ConcatenatedPositions(SinusoidalPositions(7, 4), 4)]
)
def test_one_position_for_all_is_refused(module: torch.nn.Module) -> None:
    assert isinstance(module, LearnedFrequencies | ConcatenatedPositions)
    with pytest.raises(ValueError, match=r"positions has shape \(1,\) .* shape \(3,\) or \(2, 3\)"):
        module(torch.zeros(2, 3, 4), torch.tensor([0]))


def test_require_positions_takes_one_integer_a_token() -> None:
    require_positions(torch.arange(3), 2, 3)
    with pytest.raises(ValueError, match=r"positions has shape \(3, 2\) .* \(3,\) or \(2, 3\)"):
        require_positions(torch.zeros(3, 2, dtype=torch.int64), 2, 3)
