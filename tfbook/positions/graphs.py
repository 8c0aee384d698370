"""Positions of a graph's nodes, which have no order."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tfbook.checks import require, require_positive

# Eigenvalues lie in [0, 2] and are exact to about 1e-14. The smallest one above zero of a
# path, the slowest of all graphs, is about π²/2n²: 5e-8 for 10,000 nodes.
ZERO = 1e-9


def laplacian_encoding(
    adjacency: Float[Tensor, "n n"],
    n_vectors: int,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n n_vectors"]:
    r"""Give every node its entries in the slowest eigenvectors of the graph's Laplacian.

    .. math:: L = I - D^{-1/2} A D^{-1/2} = U \Lambda U^\top, \qquad
              P = [\,u_1, \dots, u_k\,] \text{ with the smallest } \lambda > 0

    On a path these are cosines of growing frequency: the counterpart of the sinusoidal
    table. Vectors with eigenvalue zero are left out: they tell the parts of the graph that
    hang together apart, and nothing within a part. (A node without edges is a part; its row
    of :math:`L` is zero.) Dwivedi and Bresson leave out the first vector only, which is the
    same for a connected graph.

    **The sign of an eigenvector is arbitrary**, and so is the basis of those that share an
    eigenvalue: without ``generator`` they are what the solver gives, which may differ from
    machine to machine. A model must not rely on them, so in training give a ``generator``:
    it flips each vector with probability one half, anew in each call.

    Args:
        adjacency: weights of the edges, ``(n, n)``, symmetric, not negative.
        n_vectors: ``k``, the width of the encoding.
        generator: draws the signs, on the CPU; None leaves them.

    Returns:
        Shape ``(n, n_vectors)``, dtype and device of ``adjacency``; each column has norm 1.
        Computed in float64 on the CPU.

    Raises:
        ValueError: ``adjacency`` is not square, symmetric, finite or not negative.
        ValueError: ``n_vectors`` is below one, or more than the eigenvalues above zero.

    Example:
        >>> path = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> laplacian_encoding(path, 1).abs().round(decimals=2)
        tensor([[0.7100],
                [0.0000],
                [0.7100]])

    Source: Dwivedi and Bresson 2021, A Generalization of Transformer Networks to Graphs, the
    section on Laplacian positional encodings; Chung 1997, section 1.2. Chapter: 12.
    """
    require_positive("n_vectors", n_vectors)
    _require_adjacency(adjacency)
    values, vectors = torch.linalg.eigh(_laplacian(adjacency.to("cpu", torch.float64)))
    n_zero = int((values < ZERO).sum())
    there = values.shape[0] - n_zero
    require(
        n_vectors <= there,
        f"n_vectors={n_vectors} must be at most {there}: of {values.shape[0]} eigenvalues {n_zero} "
        "are zero; take fewer, and pad the encoding with zeros where a batch needs one width",
    )
    chosen = vectors[:, n_zero : n_zero + n_vectors]
    if generator is not None:
        heads = torch.randint(2, (n_vectors,), generator=generator, device="cpu")
        chosen = chosen * (2 * heads - 1)
    return chosen.to(adjacency.device, adjacency.dtype)


def _laplacian(adjacency: Tensor) -> Tensor:
    """The normalised Laplacian; nodes without edges get a row of zeros."""
    degrees = adjacency.sum(dim=1)
    there = degrees > 0
    scale = torch.where(there, degrees, 1).rsqrt()
    return torch.diag(there.to(adjacency.dtype)) - scale[:, None] * adjacency * scale


def _require_adjacency(adjacency: Tensor) -> None:
    square = adjacency.ndim == 2 and adjacency.shape[0] == adjacency.shape[1] > 0
    require(
        square and adjacency.is_floating_point(),
        f"adjacency has shape {tuple(adjacency.shape)} and dtype {adjacency.dtype}, but must be "
        "a square matrix of floats; give the weight of every edge, and 0 where there is none",
    )
    require(
        bool(adjacency.isfinite().all() and (adjacency >= 0).all()),
        f"adjacency holds values from {float(adjacency.min())} to {float(adjacency.max())}, but "
        "must be finite and not negative; give weights, and 0 where there is no edge",
    )
    off = float((adjacency - adjacency.mT).abs().max())
    require(
        off <= 1e-6 * float(adjacency.max()),
        f"adjacency differs from its transpose by {off:.3g}, but must be symmetric; add the "
        "transpose if directions do not matter",
    )
