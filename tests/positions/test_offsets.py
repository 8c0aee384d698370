import pytest
import torch
from parity import close, randomized
from torch import Tensor

from tfbook.positions import (
    ALiBi,
    Sandwich,
    ShawRelative,
    T5RelativeBias,
    TransformerXLRelative,
    sinusoidal_table,
)
from tfbook.positions.offsets import relative_offsets, require_position_pair, sinusoidal_codes

B, H, N_Q, N_K, D = 2, 3, 5, 7, 11


def test_offsets_count_from_the_query_to_the_key() -> None:
    assert relative_offsets(torch.tensor([3, 4]), torch.arange(5)).tolist() == [
        [-3, -2, -1, 0, 1],
        [-4, -3, -2, -1, 0],
    ]
    each = relative_offsets(torch.tensor([[3], [4]]), torch.arange(5))
    assert each.tolist() == [[[-3, -2, -1, 0, 1]], [[-4, -3, -2, -1, 0]]]
    assert relative_offsets(torch.arange(2)[None], torch.arange(6).view(2, 3)).shape == (2, 2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_are_rows_of_the_table(dtype: torch.dtype) -> None:
    table = sinusoidal_table(97, 14, dtype=dtype)
    rows = torch.tensor([[96, 3], [0, 41]])
    close(sinusoidal_codes(rows, 14, dtype=dtype), table[rows])
    # A sine changes its sign with the position, a cosine does not.
    mirror = torch.tensor([-1.0, 1.0], dtype=dtype).repeat(7)
    close(sinusoidal_codes(-rows, 14, dtype=dtype), table[rows] * mirror)


@pytest.mark.parametrize(
    ("positions_q", "positions_k", "message"),
    [
        (torch.zeros(3), torch.arange(3), "positions_q has shape .* dtype torch.float32, but must"),
        (torch.arange(3), torch.zeros(3).bool(), "positions_k has shape .* dtype torch.bool"),
        (torch.tensor(1), torch.arange(3), r"positions_q has shape \(\) .* shape \(n,\) or"),
        (
            torch.zeros(2, 3).long(),
            torch.zeros(3, 3).long(),
            r"positions_q has shape \(2, 3\) and positions_k \(3, 3\); give both for the same",
        ),
    ],
)
@pytest.mark.parametrize(
    "call", [relative_offsets, require_position_pair, ALiBi(2), Sandwich(2, 4)]
)
def test_bad_positions(
    call: object, positions_q: Tensor, positions_k: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(positions_q, positions_k)


def test_bad_width() -> None:
    with pytest.raises(ValueError, match="d=5 must be even"):
        sinusoidal_codes(torch.arange(3), 5, dtype=torch.float32)


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_every_bias_compiles_to_one_graph() -> None:
    q, k = torch.randn(B, H, N_Q, D), torch.randn(B, H, N_K, D)
    positions = (
        torch.tensor([[2, 3, 4, 5, 6], [0, 0, 1, 2, 3]]),
        (torch.arange(7) - torch.tensor([[0], [3]])).clamp(min=0),
    )
    shaw = randomized(ShawRelative(D, max_distance=3))
    t5 = T5RelativeBias(H, bidirectional=True, n_buckets=8, max_distance=13)
    xl = TransformerXLRelative(H, D, 12)
    calls = [(ALiBi(H), ()), (Sandwich(H, 6), ()), (randomized(t5), ())]
    calls += [(randomized(xl), (q, k)), (shaw, (q, k)), (shaw.add_to_values, (q @ k.mT,))]
    for call, tensors in calls:
        torch.compiler.reset()
        compiled = torch.compile(call, backend="eager", fullgraph=True)
        close(compiled(*tensors, *positions), call(*tensors, *positions))
