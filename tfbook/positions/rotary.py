"""Rotary positions: queries and keys are turned by angles that grow with the position."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_choice, require_divisible, require_positive
from tfbook.positions.frequencies import angle_dtype, frequencies, require_positions
from tfbook.positions.rotary_scaling import RotaryScaling

# Which two features are turned together: i and i + d/2, or 2i and 2i + 1.
PAIRS = {"halves": "(two i)", "interleaved": "(i two)"}


def apply_rotary(
    x: Float[Tensor, "batch heads n d_head"],
    angles: Float[Tensor, "*batch n pairs"],
    *,
    layout: str = "halves",
) -> Float[Tensor, "batch heads n d_head"]:
    r"""Turn every pair of features by its angle.

    .. math:: \begin{pmatrix} a' \\ b' \end{pmatrix} =
              \begin{pmatrix} \cos\theta & -\sin\theta \\ \sin\theta & \cos\theta \end{pmatrix}
              \begin{pmatrix} a \\ b \end{pmatrix}

    A pair is ``(i, i + d/2)`` in the layout ``halves`` (Llama, GPT-NeoX) and ``(2i, 2i + 1)``
    in ``interleaved`` (the paper, GPT-J), with ``d`` the rotated features: the first
    ``2·pairs``. The others stay (partial rotary). The layouts differ by a permutation of
    features only; see :func:`convert_rotary_layout`.

    Args:
        x: queries or keys, ``(batch, heads, n, d_head)``.
        angles: ``(n, pairs)`` or ``(batch, n, pairs)``, radians, in float32 or float64:
            in bfloat16 all positions from 256 to 257 would share an angle. The products are
            taken in the dtype of ``x``.
        layout: ``halves`` or ``interleaved``.

    Returns:
        Shape and dtype of ``x``.

    Raises:
        ValueError: angles of another shape or a narrower dtype.
        ValueError: an unknown layout.

    Example:
        >>> quarter = torch.full((1, 1), torch.pi / 2)
        >>> apply_rotary(torch.tensor([[[[1.0, 2.0]]]]), quarter).round()
        tensor([[[[-2.,  1.]]]])

    Source: Su et al. 2021, RoFormer, section 3.2.2, equation 15; in this form equation 34;
    GPT-NeoX (layout ``halves``). Chapter: 12.
    """
    _require_angles(x, angles)
    require_choice("layout", layout, PAIRS)
    return _rotate(x, angles.cos(), angles.sin(), layout)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, layout: str) -> Tensor:
    """(a, b) ↦ (a, b)·cos + (b, a)·(−sin, sin): two products and one copy of ``x``."""
    turned, rest = x.split([2 * cos.shape[-1], x.shape[-1] - 2 * cos.shape[-1]], dim=-1)
    pair = -2 if layout == "halves" else -1
    split = "two i" if layout == "halves" else "i two"
    x_pairs = rearrange(turned, f"b h n {PAIRS[layout]} -> b h n {split}", two=2)
    # Tables with an entry for every feature: a table that is repeated on the fly is slower.
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    cos, sin = torch.stack([cos, cos], pair), torch.stack([-sin, sin], pair)
    if cos.ndim == 4:
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)  # the same for all heads
    a, b = x_pairs.unbind(pair)
    y_pairs = (x_pairs * cos).addcmul_(torch.stack([b, a], pair), sin)
    y = rearrange(y_pairs, f"b h n {split} -> b h n {PAIRS[layout]}")
    return torch.cat([y, rest], dim=-1) if rest.shape[-1] else y


def apply_rotary_complex(
    x: Float[Tensor, "batch heads n d_head"],
    angles: Float[Tensor, "*batch n pairs"],
    *,
    layout: str = "halves",
) -> Float[Tensor, "batch heads n d_head"]:
    r"""Do the same as :func:`apply_rotary`, with each pair as one complex number.

    .. math:: a' + \mathrm{i} b' = (a + \mathrm{i} b)\, e^{\mathrm{i}\theta}

    It shares no arithmetic with :func:`apply_rotary`: each is the other's check. The products
    are taken in float32 at least.

    Args:
        x: queries or keys, ``(batch, heads, n, d_head)``.
        angles: ``(n, pairs)`` or ``(batch, n, pairs)``, radians, in float32 or float64.
        layout: ``halves`` or ``interleaved``.

    Returns:
        Shape and dtype of ``x``.

    Raises:
        ValueError: angles of another shape or a narrower dtype.
        ValueError: an unknown layout.

    Example:
        >>> quarter = torch.full((1, 1), torch.pi / 2)
        >>> apply_rotary_complex(torch.tensor([[[[1.0, 2.0]]]]), quarter).round()
        tensor([[[[-2.,  1.]]]])

    Source: Su et al. 2021, RoFormer, section 3.2.1, equation 12. Chapter: 12.
    """
    _require_angles(x, angles)
    require_choice("layout", layout, PAIRS)
    d_rotary = 2 * angles.shape[-1]
    wide = x[..., :d_rotary].to(torch.promote_types(x.dtype, torch.float32))
    parts = rearrange(wide, f"b h n {PAIRS[layout]} -> b h n i two", two=2)
    turn = torch.polar(torch.ones_like(angles), angles)
    z = torch.view_as_complex(parts.contiguous())
    z = z * (turn if turn.ndim == 2 else turn.unsqueeze(1)).to(z.dtype)
    y = rearrange(torch.view_as_real(z), f"b h n i two -> b h n {PAIRS[layout]}")
    return torch.cat([y.to(x.dtype), x[..., d_rotary:]], dim=-1)


def convert_rotary_layout(
    weight: Float[Tensor, "rows *columns"], n_heads: int, *, to: str, d_rotary: int | None = None
) -> Float[Tensor, "rows *columns"]:
    """Reorder the rows of a query or key projection for the other layout.

    A model gives the same scores when both projections are reordered and its rotary layout
    is changed. Values and the output projection stay.

    Args:
        weight: of a query or key projection, ``(n_heads·d_head, d_in)``, or its bias.
        n_heads: heads in it: for keys, the key heads.
        to: ``halves`` (from interleaved) or ``interleaved`` (from halves).
        d_rotary: rotated features of a head; None means all.

    Returns:
        Shape and dtype of ``weight``.

    Raises:
        ValueError: heads that do not divide the rows.
        ValueError: an odd ``d_rotary``, or one wider than a head.
        ValueError: an unknown layout.

    Example:
        >>> convert_rotary_layout(torch.arange(6.0), 1, to="halves")
        tensor([0., 2., 4., 1., 3., 5.])

    Source: the conversion of Llama's weights in Hugging Face transformers. Chapter: 12.
    """
    require_choice("to", to, PAIRS)
    require_divisible("rows", weight.shape[0], "n_heads", n_heads)
    heads = rearrange(weight, "(h d) ... -> h d ...", h=n_heads)
    d_rotary = heads.shape[1] if d_rotary is None else d_rotary
    _require_d_rotary(d_rotary, heads.shape[1])
    source = PAIRS["interleaved" if to == "halves" else "halves"]
    turned = rearrange(heads[:, :d_rotary], f"h {source} ... -> h {PAIRS[to]} ...", two=2)
    return rearrange(torch.cat([turned, heads[:, d_rotary:]], dim=1), "h d ... -> (h d) ...")


class RotaryEmbedding(nn.Module):
    r"""Turn queries or keys by their positions: the ``rotate`` of ``MultiHeadAttention``.

    .. math:: \theta_{t,i} = t\, \omega_i, \qquad \omega_i = base^{-2i/d}

    A score between a query and a key then depends on the offset of their positions alone.
    The angles are computed in float64 (where the device has it) in every call: a table in
    the model's dtype would be wrong in bfloat16, and a buffer would be cast with the model.

    Args:
        d_head: width of a head.
        base: the longest wavelength is ``2π·base`` tokens (nearly).
        d_rotary: how many of the head's features are turned, even; None means all.
        layout: ``halves`` or ``interleaved``; see :func:`apply_rotary`.
        scaling: changes the frequencies for sequences beyond the trained length.
        learnable: train the logarithms of the frequencies. (Steps in the logarithm are
            relative: in the frequency itself one step could overturn the slow pairs.)

    Raises:
        ValueError: an odd ``d_rotary``, or one wider than a head.
        ValueError: a base that is not above 1, or an unknown layout.
        ValueError: ``learnable`` together with ``scaling``.
        ValueError: in the call, ``x`` of another width, or positions of another shape or dtype.

    Example:
        >>> rotary = RotaryEmbedding(6)
        >>> q, k = torch.randn(2, 1, 1, 1, 6)
        >>> early = rotary(q, torch.tensor([7])) @ rotary(k, torch.tensor([4])).mT
        >>> late = rotary(q, torch.tensor([103])) @ rotary(k, torch.tensor([100])).mT
        >>> torch.allclose(early, late, atol=1e-5)
        True

    Source: Su et al. 2021, RoFormer, section 3.2.2. Chapter: 12.
    """

    def __init__(
        self,
        d_head: int,
        *,
        base: float = 10_000.0,
        d_rotary: int | None = None,
        layout: str = "halves",
        scaling: RotaryScaling | None = None,
        learnable: bool = False,
    ) -> None:
        super().__init__()
        d_rotary = d_head if d_rotary is None else d_rotary
        _require_d_rotary(d_rotary, d_head)
        require_choice("layout", layout, PAIRS)
        require(
            not learnable or scaling is None,
            f"learnable=True cannot be joined with scaling={scaling}: it would scale what is "
            "learnt; drop one of them",
        )
        self.d_head, self.base, self.d_rotary = d_head, base, d_rotary
        self.layout, self.scaling = layout, scaling
        # Checks the base too. On the meta device the first sum takes PyTorch a second.
        plain = frequencies(d_rotary, base=base, device=None if learnable else "cpu")
        start = plain.log().to(torch.get_default_dtype()) if learnable else None
        self.log_frequencies = None if start is None else nn.Parameter(start)

    @property
    def depends_on_length(self) -> bool:
        """Whether the angle of a position changes as the sequence grows: no cache may be used."""
        return self.scaling is not None and self.scaling.depends_on_length

    def angles(self, positions: Int[Tensor, "*batch n"]) -> Float[Tensor, "*batch n pairs"]:
        """Give the angle of every pair at every position.

        Args:
            positions: ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(n, d_rotary/2)`` or ``(batch, n, d_rotary/2)``, radians.
        """
        t = positions.to(angle_dtype(positions.device))
        if self.log_frequencies is not None:
            return t.unsqueeze(-1) * self.log_frequencies.to(t.dtype).exp()
        omega = frequencies(self.d_rotary, base=self.base, dtype=t.dtype, device=t.device)
        if self.scaling is not None:
            length = rearrange(t.amax(dim=-1) + 1, "... -> ... 1 1")
            omega = self.scaling.frequencies(omega, base=self.base, length=length)
        return t.unsqueeze(-1) * omega

    def forward(
        self,
        x: Float[Tensor, "batch heads n d_head"],
        positions: Int[Tensor, "*batch n"] | None = None,
    ) -> Float[Tensor, "batch heads n d_head"]:
        """Turn every token of every head.

        Args:
            x: queries or keys, ``(batch, heads, n, d_head)``.
            positions: ``(n,)`` or ``(batch, n)``; None means 0, 1, 2, ….

        Returns:
            Shape and dtype of ``x``.

        Raises:
            ValueError: ``x`` of another width, or positions of another shape or dtype.
        """
        require(
            x.ndim == 4 and x.shape[-1] == self.d_head,
            f"x has shape {tuple(x.shape)}, but these positions were made for (batch, heads, n, "
            f"d_head={self.d_head}); split the heads first",
        )
        if positions is None:
            positions = torch.arange(x.shape[2], device=x.device)
        require_positions(positions, x.shape[0], x.shape[2])
        angles = self.angles(positions)
        amplitude = 1.0 if self.scaling is None else self.scaling.amplitude
        return _rotate(x, amplitude * angles.cos(), amplitude * angles.sin(), self.layout)


def _require_d_rotary(d_rotary: int, d_head: int) -> None:
    require_positive("d_head", d_head)
    require(
        0 < d_rotary <= d_head and d_rotary % 2 == 0,
        f"d_rotary={d_rotary} must be even and lie in [2, d_head={d_head}]: features are turned "
        "in pairs; choose an even width, or a part of the head with d_rotary",
    )


def _require_angles(x: Tensor, angles: Tensor) -> None:
    batch, n, d_head = x.shape[0], x.shape[-2], x.shape[-1]
    require(
        x.ndim == 4
        and angles.shape[:-1] in ((n,), (1, n), (batch, n))
        and 0 < 2 * angles.shape[-1] <= d_head
        and angles.dtype in (torch.float32, torch.float64),
        f"angles has shape {tuple(angles.shape)} and dtype {angles.dtype}, but x of shape "
        f"{tuple(x.shape)} takes float32 or float64 of shape ({n}, pairs) or ({batch}, {n}, "
        f"pairs), with 2·pairs at most {d_head}; compute the angles wide and cast nothing",
    )
