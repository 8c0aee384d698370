"""Biases on the scores that follow from the positions alone."""

from __future__ import annotations

from bisect import bisect_left

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_positive
from tfbook.positions.offsets import relative_offsets, require_position_pair, sinusoidal_codes


def alibi_slopes(n_heads: int, *, dtype: torch.dtype | None = None) -> Float[Tensor, "heads"]:
    r"""Give ALiBi's slope for every head.

    .. math:: m_i = 2^{-8 i / h}, \qquad i = 1, \dots, h

    for :math:`h` a power of two. Other counts take the slopes of the next lower power
    :math:`p`, then every second slope of :math:`2p`, from the first, until there are enough.

    Args:
        n_heads: heads.
        dtype: of the slopes; None means PyTorch's default. They are computed in float64.

    Returns:
        Shape ``(heads,)``, nats per token.

    Raises:
        ValueError: ``n_heads`` is below one.

    Example:
        >>> alibi_slopes(3)  # those of two heads, then the first of four
        tensor([0.0625, 0.0039, 0.2500])

    Source: Press et al. 2022, section 3; other counts: their published code. Chapter: 12.
    """
    slopes = [2.0**-exponent for exponent in _alibi_exponents(n_heads)]
    return torch.tensor(slopes, dtype=dtype or torch.get_default_dtype())


class ALiBi(nn.Module):
    r"""Lower a score in proportion to the distance: attention with linear biases.

    .. math:: B_{hij} = -m_h\,(t_i - t_j) \qquad\text{or, symmetric,}\qquad -m_h\,|t_i - t_j|

    The first form *raises* the scores of later keys, so it needs ``causal=True``. The paper
    has causal models only; the symmetric form is the usual one for encoders. Nothing is
    learned. Published models add a constant to each row, which the softmax takes away.

    Args:
        n_heads: heads.
        symmetric: whether later keys are lowered too.

    Raises:
        ValueError: ``n_heads`` is below one, or, in the call, positions that do not fit.

    Example:
        >>> ALiBi(1)(torch.tensor([2]), torch.arange(3)) * 2**8
        tensor([[[-2., -1.,  0.]]])

    Source: Press et al. 2022, section 3. Chapter: 12.
    """

    exponents: Tensor

    def __init__(self, n_heads: int, *, symmetric: bool = False) -> None:
        super().__init__()
        self.symmetric = symmetric
        # Not saved: they follow from the number of heads. The exponents, unlike the slopes, are
        # exact in half precision, and so can be turned into any other dtype.
        exponents = torch.tensor(_alibi_exponents(n_heads))
        self.register_buffer("exponents", exponents, persistent=False)

    def forward(
        self, positions_q: Int[Tensor, "*batch_q n_q"], positions_k: Int[Tensor, "*batch_k n_k"]
    ) -> Float[Tensor, "*batch heads n_q n_k"]:
        """Give the bias, in nats, in at least float32, for the scaled scores."""
        offsets = relative_offsets(positions_q, positions_k)
        offsets = -offsets.abs() if self.symmetric else offsets
        dtype = torch.promote_types(self.exponents.dtype, torch.float32)
        slopes = torch.exp2(-self.exponents.to(dtype))
        return slopes[:, None, None] * rearrange(offsets, "... i j -> ... 1 i j")


def _alibi_exponents(n_heads: int) -> list[float]:
    require_positive("n_heads", n_heads)
    power = 2 ** (n_heads.bit_length() - 1)
    exponents = [8 * i / power for i in range(1, power + 1)]
    return exponents + [8 * i / (2 * power) for i in range(1, 2 * (n_heads - power), 2)]


def t5_buckets(
    offset: Int[Tensor, "*shape"], *, bidirectional: bool, n_buckets: int, max_distance: int
) -> Int[Tensor, "*shape"]:
    r"""Put offsets into buckets: one each for small distances, then ever wider ones.

    .. math:: b(r) = \begin{cases} r & r < e \\
              \min\left(n - 1,\ e + \left\lfloor (n - e)
              \dfrac{\ln(r / e)}{\ln(r_{max} / e)} \right\rfloor\right) & r \ge e
              \end{cases} \qquad e = \lfloor n / 2 \rfloor

    for the distance :math:`r` to an earlier key. Bidirectional attention has half of the
    buckets for earlier keys and itself, and half for later keys; else a later key has
    distance 0. The borders are found with integers: a logarithm in float32, as in the
    published code, may round to either side of a border on another machine.

    Args:
        offset: key's position minus query's, tokens, any shape.
        bidirectional: whether later keys have buckets of their own.
        n_buckets: buckets, of both directions together.
        max_distance: from here on all distances share the last bucket, tokens.

    Returns:
        Shape of ``offset``, from 0 to ``n_buckets - 1``.

    Raises:
        ValueError: too few or, bidirectional, an odd number of buckets, or a distance that
            the buckets of single distances reach already.

    Example:
        >>> offsets = torch.tensor([-200, -20, -16, -8, -1, 0, 1])
        >>> t5_buckets(offsets, bidirectional=True, n_buckets=32, max_distance=128)
        tensor([15, 10, 10,  8,  1,  0, 17])

    Source: Raffel et al. 2020, section 2.1, and their published code. Chapter: 12.
    """
    borders = _borders(bidirectional, n_buckets, max_distance).to(offset.device)
    return _buckets(offset, borders, bidirectional)


class T5RelativeBias(nn.Module):
    r"""Learn one number per head and bucket of offsets.

    .. math:: B_{hij} = T_{b(t_j - t_i),\,h}

    with the buckets of :func:`t5_buckets`. T5 shares one table among all layers of a stack,
    and does not divide its scores by the root of the width (``scale=1.0``).

    Args:
        n_heads: heads.
        bidirectional: True in an encoder, False in a decoder.
        n_buckets: buckets, of both directions together.
        max_distance: from here on all distances share the last bucket, tokens.

    Raises:
        ValueError: sizes that :func:`t5_buckets` refuses, or, in the call, positions that do
            not fit.

    Example:
        >>> T5RelativeBias(3, bidirectional=True)(torch.arange(5), torch.arange(7)).shape
        torch.Size([3, 5, 7])

    Source: Raffel et al. 2020, section 2.1. Chapter: 12.
    """

    borders: Tensor

    def __init__(
        self, n_heads: int, *, bidirectional: bool, n_buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        require_positive("n_heads", n_heads)
        self.bidirectional = bidirectional
        borders = _borders(bidirectional, n_buckets, max_distance)
        self.register_buffer("borders", borders, persistent=False)
        self.table = nn.Parameter(torch.randn(n_buckets, n_heads) * 0.02)

    def forward(
        self, positions_q: Int[Tensor, "*batch_q n_q"], positions_k: Int[Tensor, "*batch_k n_k"]
    ) -> Float[Tensor, "*batch heads n_q n_k"]:
        """Give the bias, in nats, in the table's dtype."""
        offsets = relative_offsets(positions_q, positions_k)
        buckets = _buckets(offsets, self.borders, self.bidirectional)
        return rearrange(self.table[buckets], "... i j h -> ... h i j")


class Sandwich(nn.Module):
    r"""Add the inner product of two sinusoidal codes, without any projection.

    .. math:: B_{hij} = \frac{P_{t_i} \cdot P_{t_j}}{8h / H}
              = \frac{H}{8h} \sum_{l=0}^{\bar d/2 - 1} \cos\frac{t_i - t_j}{10000^{2l/\bar d}},
              \qquad h = 1, \dots, H

    It falls with the distance about as a logarithm, and later heads have it weaker. Nothing
    is learned, and both directions are alike.

    Args:
        n_heads: heads, :math:`H`.
        d_bar: width of the codes, even; the paper's models have 128.

    Raises:
        ValueError: ``n_heads`` is below one, ``d_bar`` is not a positive even number, or, in
            the call, positions that do not fit.

    Example:
        >>> Sandwich(8, 2)(torch.tensor([0]), torch.tensor([0]))[:2].flatten()
        tensor([1.0000, 0.5000])

    Source: Chi et al. 2023, appendix E. Chapter: 12.
    """

    heads: Tensor

    def __init__(self, n_heads: int, d_bar: int) -> None:
        super().__init__()
        require_positive("n_heads", n_heads)
        require(
            d_bar >= 2 and d_bar % 2 == 0,
            f"d_bar={d_bar} must be even and at least 2: codes are pairs of a sine and a cosine; "
            "the paper's models have 128",
        )
        self.d_bar = d_bar
        # Small integers are exact in every dtype; the divisors would not be.
        heads = torch.arange(1.0, n_heads + 1)
        self.register_buffer("heads", heads, persistent=False)

    def forward(
        self, positions_q: Int[Tensor, "*batch_q n_q"], positions_k: Int[Tensor, "*batch_k n_k"]
    ) -> Float[Tensor, "*batch heads n_q n_k"]:
        """Give the bias, in nats, in at least float32, for the scaled scores."""
        require_position_pair(positions_q, positions_k)
        dtype = torch.promote_types(self.heads.dtype, torch.float32)
        codes_q = sinusoidal_codes(positions_q, self.d_bar, dtype=dtype)
        codes_k = sinusoidal_codes(positions_k, self.d_bar, dtype=dtype)
        products = einsum(codes_q, codes_k, "... i d, ... j d -> ... i j")
        compression = self.heads[:, None, None].to(dtype) * 8 / len(self.heads)
        return rearrange(products, "... i j -> ... 1 i j") / compression


def _borders(bidirectional: bool, n_buckets: int, max_distance: int) -> Int[Tensor, "borders"]:
    """The smallest distance in each bucket but the first, for one direction."""
    directions = 2 if bidirectional else 1
    require(
        n_buckets % directions == 0 and n_buckets >= 2 * directions,
        f"n_buckets={n_buckets} must be at least {2 * directions}"
        + (" and even: each direction has half of them; use 32" if bidirectional else "; use 32"),
    )
    n = n_buckets // directions
    exact, wide = n // 2, n - n // 2
    require(
        max_distance > exact,
        f"max_distance={max_distance} must be above {exact}, since the distances below {exact} "
        "have buckets of their own; use 128",
    )
    # r lies in the t-th wide bucket once (r/e)^wide >= (r_max/e)^t, here without fractions.
    bounds = [exact ** (wide - t) * max_distance**t for t in range(1, wide)]
    firsts = [bisect_left(range(max_distance), bound, key=lambda r: r**wide) for bound in bounds]
    return torch.tensor([*range(1, exact + 1), *firsts])


def _buckets(offset: Tensor, borders: Tensor, bidirectional: bool) -> Tensor:
    distance = offset.abs() if bidirectional else (-offset).clamp(min=0)
    buckets = torch.bucketize(distance.to(borders.dtype), borders, right=True)
    return buckets + (offset > 0) * (len(borders) + 1) if bidirectional else buckets
