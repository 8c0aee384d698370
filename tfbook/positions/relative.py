"""Biases on the scores that follow from the queries and the positions."""

from __future__ import annotations

import math

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_divisible, require_positive
from tfbook.positions.offsets import relative_offsets, sinusoidal_codes


class TransformerXLRelative(nn.Module):
    r"""Score the offset against the query, and give keys and offsets a weight of their own.

    .. math:: B_{hij} = \frac{\overbrace{q_{hi} \cdot r_{hij}}^{(b)}
              + \overbrace{u_h \cdot k_{hj}}^{(c)} + \overbrace{v_h \cdot r_{hij}}^{(d)}}
              {\sqrt{d_{head}}}, \qquad r_{hij} = P_{t_i - t_j} W_{R,h}

    with sinusoidal codes :math:`P`; term (a) is the usual score :math:`q_{hi} \cdot k_{hj}`.
    Codes are projected for the ``n_q + n_k - 1`` offsets that occur, not for every pair, and
    each pair then takes its own score. So the positions must count without gaps, as they do
    in a sequence, with a cache, and with padding on either side.

    Args:
        n_heads: heads of the queries.
        d_head: width of a head.
        d_model: width of the codes, even.

    Raises:
        ValueError: a size below one, or an odd ``d_model``.

    Example:
        >>> q, k = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4)
        >>> TransformerXLRelative(3, 4, 12)(q, k, torch.arange(2, 7), torch.arange(7)).shape
        torch.Size([2, 3, 5, 7])

    Source: Dai et al. 2019, section 3.3 and appendix B. Chapter: 12.
    """

    adds_to_values = False

    def __init__(self, n_heads: int, d_head: int, d_model: int) -> None:
        super().__init__()
        for name, size in {"n_heads": n_heads, "d_head": d_head, "d_model": d_model}.items():
            require_positive(name, size)
        require(
            d_model % 2 == 0,
            f"d_model={d_model} must be even: codes are pairs of a sine and a cosine; use "
            f"{d_model + 1}",
        )
        self.w_r = nn.Linear(d_model, n_heads * d_head, bias=False)
        self.u = nn.Parameter(torch.randn(n_heads, d_head) * 0.02)
        self.v = nn.Parameter(torch.randn(n_heads, d_head) * 0.02)

    def forward(
        self,
        q: Float[Tensor, "batch heads n_q d_head"],
        k: Float[Tensor, "batch kv_heads n_k d_head"],
        positions_q: Int[Tensor, "*batch_q n_q"],
        positions_k: Int[Tensor, "*batch_k n_k"],
    ) -> Float[Tensor, "batch heads n_q n_k"]:
        """Give the bias for the scaled scores.

        Args:
            q: queries, projected and not scaled, ``(batch, heads, n_q, d_head)``.
            k: keys, ``(batch, kv_heads, n_k, d_head)``. There may be fewer heads than in ``q``:
                each then serves ``heads / kv_heads`` neighbouring query heads.
            positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
            positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

        Returns:
            Shape ``(batch, heads, n_q, n_k)``, nats, in at least float32.

        Raises:
            ValueError: shapes that do not fit each other or this module, or positions with gaps.
        """
        require(
            q.ndim == 4 and (q.shape[1], q.shape[3]) == tuple(self.u.shape),
            f"q has shape {tuple(q.shape)}, but this module was made for (batch, "
            f"{self.u.shape[0]}, n_q, {self.u.shape[1]}); pass n_heads= and d_head= to match",
        )
        _require_fit(q, k, positions_q, positions_k)
        offsets = _offsets(positions_q, positions_k)
        lowest = offsets.amin(dim=(1, 2))
        index = offsets - lowest[:, None, None]
        n_offsets = q.shape[2] + k.shape[2] - 1
        _require_span(index, n_offsets)
        r = self._offset_keys(lowest[:, None] + torch.arange(n_offsets, device=q.device))
        by_offset = einsum(q + self.v[:, None], r, "b h i d, b h o d -> b h i o")
        wide = torch.promote_types(by_offset.dtype, torch.float32)
        shifted = _count_up(positions_q) and _count_up(positions_k)
        by_pair = _diagonals(by_offset, k.shape[2]) if shifted else _pick(by_offset, index)
        # Each term is scaled where it is small, not all pairs at the end.
        return by_pair.to(wide) + self._key_bias(k).to(wide) / math.sqrt(q.shape[-1])

    def _offset_keys(self, offsets: Tensor) -> Tensor:
        """A key for each offset, scaled as the scores are, ``(batch, heads, offsets, d_head)``."""
        dtype = self.w_r.weight.dtype
        # The paper counts from the query back to the key.
        codes = sinusoidal_codes(
            -offsets, self.w_r.in_features, dtype=torch.promote_types(dtype, torch.float32)
        )
        codes = codes / math.sqrt(self.u.shape[1])
        return rearrange(self.w_r(codes.to(dtype)), "b o (h d) -> b h o d", h=self.u.shape[0])

    def _key_bias(self, k: Tensor) -> Tensor:
        """Term (c), the same for all queries: ``(batch, heads, 1, n_k)``."""
        require_divisible("n_heads", self.u.shape[0], "n_kv_heads", k.shape[1])
        u = rearrange(self.u, "(h group) d -> h group d", h=k.shape[1])
        scores = einsum(k, u, "b h j d, h group d -> b h group j")
        return rearrange(scores, "b h group j -> b (h group) 1 j")


class ShawRelative(nn.Module):
    r"""Learn a vector for each small offset, added to the key and, if wanted, to the value.

    .. math:: B_{hij} = \frac{q_{hi} \cdot a^K_{c(t_j - t_i)}}{\sqrt{d_{head}}}, \qquad
              z_{hi} = \sum_j A_{hij}\,\bigl(v_{hj} + a^V_{c(t_j - t_i)}\bigr), \qquad
              c(o) = \min(\max(o, -m), m)

    The call gives :math:`B`. Values are the one place where a position scheme does more than
    change scores: :meth:`add_to_values` gives the second part of the sum, which needs the
    attention weights, so a fused kernel cannot be used. All heads share the vectors. Nothing
    of size ``n_q × n_k × d_head`` is made: queries meet the ``2m + 1`` vectors, and weights
    are summed for each offset before they meet the values' vectors.

    Args:
        d_head: width of a head.
        max_distance: :math:`m`, tokens; larger offsets share its vector.
        values: whether there are vectors for the values.

    Raises:
        ValueError: ``d_head`` is below one, or ``max_distance`` is negative.

    Example:
        >>> q, k = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4)
        >>> ShawRelative(4, max_distance=8)(q, k, torch.arange(2, 7), torch.arange(7)).shape
        torch.Size([2, 3, 5, 7])

    Source: Shaw et al. 2018, equations 3 and 4, sections 3.2 and 3.3. Chapter: 12.
    """

    def __init__(self, d_head: int, *, max_distance: int, values: bool = True) -> None:
        super().__init__()
        require_positive("d_head", d_head)
        require(
            max_distance >= 0,
            f"max_distance={max_distance} must be at least 0; the paper's models have 16",
        )
        self.max_distance = max_distance
        size = (2 * max_distance + 1, d_head)
        self.key_table = nn.Parameter(torch.randn(size) * 0.02)
        self.value_table = nn.Parameter(torch.randn(size) * 0.02) if values else None

    @property
    def adds_to_values(self) -> bool:
        """Whether there are vectors for the values: :meth:`add_to_values` may be called."""
        return self.value_table is not None

    def forward(
        self,
        q: Float[Tensor, "batch heads n_q d_head"],
        k: Float[Tensor, "batch kv_heads n_k d_head"],
        positions_q: Int[Tensor, "*batch_q n_q"],
        positions_k: Int[Tensor, "*batch_k n_k"],
    ) -> Float[Tensor, "batch heads n_q n_k"]:
        """Give the bias for the scaled scores.

        Args:
            q: queries, projected and not scaled, ``(batch, heads, n_q, d_head)``.
            k: keys, ``(batch, kv_heads, n_k, d_head)``; only their shape matters here.
            positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
            positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

        Returns:
            Shape ``(batch, heads, n_q, n_k)``, nats, in at least float32.

        Raises:
            ValueError: shapes that do not fit each other or this module.
        """
        d_head = self.key_table.shape[1]
        require(
            q.ndim == 4 and q.shape[3] == d_head,
            f"q has shape {tuple(q.shape)}, but this module was made for (batch, heads, n_q, "
            f"{d_head}); pass d_head= to match",
        )
        _require_fit(q, k, positions_q, positions_k)
        by_offset = einsum(q, self.key_table, "b h i d, o d -> b h i o")
        bias = _pick(by_offset, self._index(positions_q, positions_k))
        return bias.to(torch.promote_types(bias.dtype, torch.float32)) / math.sqrt(d_head)

    def add_to_values(
        self,
        weights: Float[Tensor, "batch heads n_q n_k"],
        positions_q: Int[Tensor, "*batch_q n_q"],
        positions_k: Int[Tensor, "*batch_k n_k"],
    ) -> Float[Tensor, "batch heads n_q d_head"]:
        r"""Give :math:`\sum_j A_{hij}\, a^V_{c(t_j - t_i)}`, to be added to each head's output.

        Args:
            weights: attention weights, after dropout, ``(batch, heads, n_q, n_k)``.
            positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
            positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

        Returns:
            Shape ``(batch, heads, n_q, d_head)``, dtype of ``weights``.

        Raises:
            ValueError: positions and weights that do not fit.
            RuntimeError: the module was made with ``values=False``.
        """
        if self.value_table is None:
            raise RuntimeError(
                "values=False: there are no vectors for the values; make this ShawRelative with "
                "values=True"
            )
        require(
            weights.ndim == 4,
            f"weights has shape {tuple(weights.shape)}, but must be (batch, heads, n_q, n_k); "
            "give those of every head",
        )
        batch, _, n_q, n_k = weights.shape
        _require_lengths(batch, (n_q, positions_q), (n_k, positions_k))
        index = self._index(positions_q, positions_k)[:, None].expand_as(weights)
        # Many small weights meet in the outermost offsets: added one by one in half precision,
        # as a GPU may do, they would be lost.
        wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
        sums = wide.new_zeros(*weights.shape[:3], 2 * self.max_distance + 1)
        sums = sums.scatter_add(-1, index, wide).to(weights.dtype)
        return einsum(sums, self.value_table, "b h i o, o d -> b h i d")

    def _index(self, positions_q: Tensor, positions_k: Tensor) -> Tensor:
        """The row of each pair's vector, ``(batch, n_q, n_k)``; batch may be 1."""
        offsets = _offsets(positions_q, positions_k)
        return offsets.clamp(-self.max_distance, self.max_distance) + self.max_distance


def _offsets(positions_q: Tensor, positions_k: Tensor) -> Tensor:
    """Offsets that can index, always with an axis for the batch, which may be 1."""
    offsets = relative_offsets(positions_q, positions_k).long()
    return offsets if offsets.ndim == 3 else offsets[None]


def _pick(by_offset: Tensor, index: Tensor) -> Tensor:
    """Give each pair the score of its offset, ``(batch, heads, n_q, n_k)``."""
    batch, heads = by_offset.shape[:2]
    return by_offset.gather(-1, index[:, None].expand(batch, heads, -1, -1))


def _count_up(positions: Tensor) -> bool:
    """Whether each position is the one before plus one, where asking is cheap."""
    # The answer would break a compiled graph and wait for a GPU.
    cheap = positions.device.type == "cpu" and not torch.compiler.is_compiling()
    return cheap and bool((positions.diff() == 1).all())


def _diagonals(by_offset: Tensor, n_k: int) -> Tensor:
    """Do as :func:`_pick` where positions count up: a view whose rows are shifted one by one."""
    # Pair (i, j) has the offset j - i, counted from that of pair (n_q - 1, 0).
    *outer, row, column = by_offset.stride()
    start = by_offset.storage_offset() + (by_offset.shape[2] - 1) * column
    strides = (*outer, row - column, column)
    return by_offset.as_strided((*by_offset.shape[:3], n_k), strides, start)


def _require_fit(q: Tensor, k: Tensor, positions_q: Tensor, positions_k: Tensor) -> None:
    require(
        k.ndim == 4 and k.shape[0] == q.shape[0] and k.shape[3] == q.shape[3],
        f"q has shape {tuple(q.shape)} and k {tuple(k.shape)}, but must be of one batch and one "
        "width; give both as (batch, heads, n, d_head)",
    )
    _require_lengths(q.shape[0], (q.shape[2], positions_q), (k.shape[2], positions_k))


def _require_lengths(batch: int, queries: tuple[int, Tensor], keys: tuple[int, Tensor]) -> None:
    for name, (n, positions) in {"positions_q": queries, "positions_k": keys}.items():
        require(
            positions.shape in ((n,), (1, n), (batch, n)),
            f"{name} has shape {tuple(positions.shape)}, but must be ({n},) or ({batch}, {n}); "
            "give one for every token",
        )


def _require_span(index: Tensor, n_offsets: int) -> None:
    # A data-dependent check would break a compiled graph and wait for a GPU, where an
    # index out of range stops the kernel anyway.
    if index.device.type != "cpu" or torch.compiler.is_compiling():
        return
    span = int(index.max()) + 1
    require(
        span <= n_offsets,
        f"positions_q and positions_k span {span} offsets, but so many queries and keys have at "
        f"most {n_offsets}; count the tokens without gaps",
    )
