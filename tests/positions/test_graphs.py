from __future__ import annotations

import math

import networkx
import pytest
import scipy.sparse.csgraph
import torch
from parity import FLOATS, close
from torch import Tensor

from tfbook.positions import laplacian_encoding


def path(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The adjacency of 0 - 1 - 2 - …"""
    return torch.diag(torch.ones(n - 1, dtype=dtype), 1) + torch.diag(
        torch.ones(n - 1, dtype=dtype), -1
    )


def weighted(n: int = 11) -> Tensor:
    """A connected graph with positive weights and loops: all eigenvalues differ."""
    weights = torch.rand(n, n, dtype=torch.float64) * (torch.rand(n, n) < 0.4)
    return weights + weights.T + path(n)


def same_up_to_sign(ours: Tensor, theirs: Tensor) -> None:
    close(ours, theirs * (ours * theirs).sum(dim=0).sign())


def test_a_path_by_hand() -> None:
    # The normalised Laplacian of a path of n nodes has eigenvalues 1 - cos(πk/(n-1)) with
    # vectors cos(πkj/(n-1)), scaled by the root of the degree: 1 at the ends, √2 inside.
    n = 7
    j = torch.arange(n, dtype=torch.float64)
    degree = torch.tensor([1.0, 2, 2, 2, 2, 2, 1], dtype=torch.float64)
    expected = torch.stack(
        [degree.sqrt() * (math.pi * k * j / (n - 1)).cos() for k in (1, 2, 3)], dim=1
    )
    same_up_to_sign(laplacian_encoding(path(n), 3), expected / expected.norm(dim=0))


@pytest.mark.parametrize("n_vectors", [1, 4, 10])
def test_scipy_and_networkx(n_vectors: int) -> None:
    adjacency = weighted()
    ours = laplacian_encoding(adjacency, n_vectors)
    theirs = scipy.sparse.csgraph.laplacian(adjacency.fill_diagonal_(0).cpu().numpy(), normed=True)
    _, vectors = torch.linalg.eigh(torch.from_numpy(theirs))
    expected = vectors[:, 1 : n_vectors + 1].to(adjacency.device)
    same_up_to_sign(laplacian_encoding(adjacency, n_vectors), expected)
    graph = networkx.from_numpy_array(adjacency.cpu().numpy())
    again = networkx.normalized_laplacian_matrix(graph).toarray()
    torch.testing.assert_close(torch.from_numpy(again), torch.from_numpy(theirs))
    assert ours.shape == (11, n_vectors)


def test_columns_are_orthonormal_and_satisfy_the_equation() -> None:
    adjacency = weighted()
    u = laplacian_encoding(adjacency, 5)
    close(u.T @ u, torch.eye(5, dtype=torch.float64))
    scale = adjacency.sum(1).rsqrt()
    laplacian = torch.eye(11, dtype=torch.float64) - scale[:, None] * adjacency * scale
    values = (u * (laplacian @ u)).sum(0)
    close(laplacian @ u, u * values)
    assert (values.diff() > 0).all()
    assert values[0] > 1e-3


def test_parts_and_lone_nodes_add_zeros_that_are_left_out() -> None:
    adjacency = torch.zeros(12, 12, dtype=torch.float64)
    adjacency[:7, :7], adjacency[7:11, 7:11] = path(7), path(4)
    u = laplacian_encoding(adjacency, 9)  # 12 nodes, 3 parts
    # The slowest of all is the longer path's; it vanishes elsewhere.
    same_up_to_sign(u[:7, :1], laplacian_encoding(path(7), 1))
    assert u[7:, 0].abs().max() < 1e-9
    assert u[11].abs().max() < 1e-9
    with pytest.raises(ValueError, match="n_vectors=10 must be at most 9: of 12 eigenvalues 3 are"):
        laplacian_encoding(adjacency, 10)


def test_a_long_path_is_not_taken_for_many_parts() -> None:
    """Its slowest eigenvalues are below float32's rounding."""
    u = laplacian_encoding(path(601, torch.float32), 2)
    j = torch.arange(601)
    first = (math.pi * j / 600).cos()
    assert torch.corrcoef(torch.stack([u[:, 0], first]))[0, 1].abs() > 0.999


def test_renamed_nodes_keep_their_rows() -> None:
    adjacency, order = weighted(), torch.randperm(11)
    renamed = laplacian_encoding(adjacency[order][:, order], 4)
    same_up_to_sign(renamed, laplacian_encoding(adjacency, 4)[order])


def test_random_signs() -> None:
    adjacency = weighted()
    plain = laplacian_encoding(adjacency, 8)
    generator = torch.Generator().manual_seed(0)
    draws = [laplacian_encoding(adjacency, 8, generator=generator) for _ in range(40)]
    signs = torch.stack([(draw * plain).sum(0).round() for draw in draws])
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert len(signs.unique(dim=0)) > 30  # anew in each call, and each column by itself
    again = laplacian_encoding(adjacency, 8, generator=torch.Generator().manual_seed(0))
    assert again.equal(draws[0])
    same_up_to_sign(draws[1], plain)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.bfloat16])
def test_dtype_and_device_are_the_adjacencys(dtype: torch.dtype, device: torch.device) -> None:
    u = laplacian_encoding(path(5, dtype).to(device), 2)
    assert (u.dtype, u.device.type) == (dtype, device.type)


@pytest.mark.parametrize(
    ("adjacency", "n_vectors", "message"),
    [
        (path(5), 0, "n_vectors=0 must be at least 1"),
        (path(5), 5, "n_vectors=5 must be at most 4: of 5 eigenvalues 1 are zero; take fewer"),
        (path(5)[:3], 2, r"adjacency has shape \(3, 5\) and dtype torch.float64, but must be a sq"),
        (path(5).long(), 2, "dtype torch.int64, but must be a square matrix of floats"),
        (torch.zeros(0, 0), 2, r"adjacency has shape \(0, 0\)"),
        (-path(5), 2, "adjacency holds values from -1.0 to -?0.0, but must be finite and not neg"),
        (path(5) * math.inf, 2, "adjacency holds values .*, but must be finite"),
        (path(5).triu(), 2, "adjacency differs from its transpose by 1, but must be symmetric"),
    ],
)
def test_bad_graphs(adjacency: Tensor, n_vectors: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        laplacian_encoding(adjacency, n_vectors)
