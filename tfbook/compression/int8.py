"""Weights of eight bits, one scale for every output: the layers that read them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from tfbook.checks import require
from tfbook.layers.embeddings import require_ids

LARGEST = 127

# Measured on one core of a server with AVX-512: with more rows than these it is faster to
# turn the weights into bfloat16 first and let the usual product run.
KERNEL_ROWS = 12

# PyTorch's kernel reads whole blocks of this many inputs, also past the end of the table.
KERNEL_BLOCK = 16


def quantize_weight(
    weight: Float[Tensor, "out inner"],
) -> tuple[Int8[Tensor, "out inner"], Float[Tensor, "out"]]:
    r"""Round every row of a matrix to the integers from -127 to 127 times one scale.

    .. math:: s_i = \max_j |w_{ij}| / 127, \qquad q_{ij} = \operatorname{round}(w_{ij} / s_i),
              \qquad |w_{ij} - s_i q_{ij}| \le s_i / 2

    The scale is rounded up to a number that bfloat16 holds, so that it is the same number in
    every floating-point type, and the bound holds for the scale that is stored.

    Args:
        weight: ``(out, in)``, finite.

    Returns:
        The integers ``(out, in)`` and the scales ``(out,)``, in bfloat16. A row of zeros has
        the scale one.

    Raises:
        ValueError: a weight is infinite or not a number.

    Example:
        >>> quantize_weight(torch.tensor([[1.0, -127.0, 3.4]]))
        (tensor([[   1, -127,    3]], dtype=torch.int8), tensor([1.], dtype=torch.bfloat16))

    Source: Dettmers et al. 2022, section 2 (row-wise absmax). Chapter: 24.
    """
    largest = weight.detach().float().abs().amax(dim=1)
    require(
        bool(largest.isfinite().all()),
        "weight holds an infinite number or a NaN, which no scale can hold; look for the step "
        "that made it",
    )
    scales = _round_up(largest / LARGEST)
    q = (weight.detach().float() / scales[:, None]).round_().clamp_(-LARGEST, LARGEST)
    return q.to(torch.int8), scales.to(torch.bfloat16)


def dequantize_int8(
    weight: Int8[Tensor, "out inner"], scales: Float[Tensor, "out"], dtype: torch.dtype
) -> Float[Tensor, "out inner"]:
    r"""Give the matrix that the integers and scales stand for.

    .. math:: w_{ij} = s_i \, q_{ij}

    Args:
        weight: the integers, ``(out, in)``.
        scales: one a row, ``(out,)``.
        dtype: of the result; in bfloat16 the product is rounded once more.

    Returns:
        Shape ``(out, in)``.

    Example:
        >>> q = torch.tensor([[1, -2]], dtype=torch.int8)
        >>> dequantize_int8(q, torch.tensor([0.5]), torch.float32)
        tensor([[ 0.5000, -1.0000]])

    Chapter: 24.
    """
    return weight.to(dtype) * scales.to(dtype)[:, None]


def int8_linear(
    x: Float[Tensor, "*batch inner"],
    weight: Int8[Tensor, "out inner"],
    scales: Float[Tensor, "out"],
) -> Float[Tensor, "*batch out"]:
    r"""Multiply by a matrix of eight-bit integers, and scale every output.

    .. math:: y_i = s_i \sum_j q_{ij} x_j

    On the CPU, for a few rows of bfloat16, PyTorch's kernel reads the integers as they are:
    one byte a weight crosses the memory bus. Elsewhere (other devices and types, many rows, a
    width that is no multiple of 16) the integers become numbers of the type of ``x`` first.
    Both sum in float32 or better and differ by rounding only.

    Args:
        x: ``(…, in)``.
        weight: the integers, ``(out, in)``, contiguous.
        scales: one an output, ``(out,)``, as :func:`quantize_weight` gives them.

    Returns:
        Shape ``(…, out)``, in the dtype of ``x``.

    Example:
        >>> q = torch.tensor([[1, -2], [3, 0]], dtype=torch.int8)
        >>> int8_linear(torch.tensor([10.0, 1.0]), q, torch.tensor([0.5, 1.0]))
        tensor([ 4., 30.])

    Source: Dettmers et al. 2022, section 2. Chapter: 24.
    """
    rows = x.numel() // x.shape[-1]
    if rows <= KERNEL_ROWS and has_int8_kernel(x):
        # Plain view and not einops: this is called for every matrix of every token.
        flat = x.reshape(rows, x.shape[-1]).contiguous()
        y = torch._weight_int8pack_mm(flat, weight, scales.to(x.dtype))
        return y.view(*x.shape[:-1], weight.shape[0])
    return F.linear(x, weight.to(x.dtype)) * scales.to(x.dtype)


def has_int8_kernel(x: Tensor) -> bool:
    """Tell whether PyTorch has a fast product of ``x`` with eight-bit weights.

    Args:
        x: the input, ``(…, in)``.

    Returns:
        True for bfloat16 on the CPU, with a width of whole blocks. For float32 and float16 there
        is a kernel as well, but it was 4 to 30 times slower than the product without it.

    Example:
        >>> has_int8_kernel(torch.zeros(1, 16))
        False
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.bfloat16
        and x.shape[-1] % KERNEL_BLOCK == 0
        and hasattr(torch, "_weight_int8pack_mm")
    )


class Int8Linear(nn.Module):
    r"""A linear map whose weights are integers of eight bits, for inference.

    .. math:: y = s \odot (Q x) + b

    Args:
        weight: the integers, ``(out, in)``.
        scales: one an output, ``(out,)``.
        bias: added to the output, ``(out,)``; None for none.

    Raises:
        ValueError: ``weight`` is not a matrix of int8, or there is not one scale for each of
            its rows.

    Example:
        >>> layer = Int8Linear.from_linear(nn.Linear(3, 2))
        >>> layer.weight_int8.dtype, layer(torch.zeros(5, 3)).shape
        (torch.int8, torch.Size([5, 2]))

    Source: Dettmers et al. 2022, section 2. Chapter: 24.
    """

    weight_int8: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        _require_int8(weight, scales)
        self.register_buffer("weight_int8", weight.contiguous())
        self.register_buffer("scales", scales)
        # A parameter, so that it is cast with the others; the integers and scales are not.
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.out_features, self.in_features = weight.shape

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """Quantize a linear layer.

        Args:
            linear: left as it is.

        Returns:
            The layer with weights of eight bits.
        """
        return cls(*quantize_weight(linear.weight), linear.bias)

    def forward(self, x: Float[Tensor, "*batch inner"]) -> Float[Tensor, "*batch out"]:
        """Map ``x``, shape ``(…, in)``, to ``(…, out)``."""
        y = int8_linear(x, self.weight_int8, self.scales)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Say the sizes, as ``nn.Linear`` does."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Int8Embedding(nn.Module):
    r"""An embedding that reads the table of an output layer of eight-bit weights.

    .. math:: x_t = \operatorname{position}(c\, s_{w_t} Q_{w_t},\, t)

    Args:
        table: the output layer, ``(vocab, d_model)``; it is held and not copied.
        dtype: of the vectors.
        positions: joins ``(batch, n, d_model)`` and position indices; None leaves order out.
        scale: ``c``, multiplies every vector.

    Raises:
        ValueError: in the call, an id outside the vocabulary, or ids of another shape or dtype.

    Example:
        >>> table = Int8Linear(*quantize_weight(127 * torch.eye(3)))
        >>> Int8Embedding(table, dtype=torch.float32)(torch.tensor([[2]]))
        tensor([[[  0.,   0., 127.]]])

    Chapter: 24.
    """

    def __init__(
        self,
        table: Int8Linear,
        *,
        dtype: torch.dtype,
        positions: Callable[[Tensor, Tensor], Tensor] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.table, self.positions, self.scale = table, positions, scale
        # Without elements: it says of what type the vectors are, and is cast with the others.
        like = torch.empty(0, dtype=dtype, device=table.scales.device)
        self.like = nn.Parameter(like, requires_grad=False)

    @property
    def weight(self) -> Float[Tensor, "vocab d_model"]:
        """The whole table in the type of the vectors, made anew at every call."""
        return dequantize_int8(self.table.weight_int8, self.table.scales, self.like.dtype)

    def forward(
        self, ids: Int[Tensor, "batch n"], positions: Int[Tensor, "*batch n"] | None = None
    ) -> Float[Tensor, "batch n d_model"]:
        """Embed token ids.

        Args:
            ids: ``(batch, n)``, each in ``[0, vocab)``.
            positions: ``(n,)`` or ``(batch, n)``; None means 0, 1, 2, ….

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: an id outside the vocabulary, or ids of another shape or dtype.
        """
        require_ids(ids, self.table.out_features)
        dtype = self.like.dtype
        rows = self.table.weight_int8[ids].to(dtype)
        x = rows * (self.table.scales[ids].to(dtype)[..., None] * self.scale)
        if self.positions is None:
            return x
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        return self.positions(x, positions)


def _round_up(x: Tensor) -> Tensor:
    """Round positive float32 numbers up to the next that bfloat16 holds; zero becomes one."""
    # bfloat16 is the upper half of float32: a carry into it rounds the magnitude up.
    bits = (x.float().view(torch.int32) + 0xFFFF) & -0x10000
    return torch.where(x > 0, bits.view(torch.float32), torch.ones_like(x))


def _require_int8(weight: Tensor, scales: Tensor) -> None:
    require(
        weight.dtype == torch.int8 and weight.ndim == 2,
        f"weight has dtype {weight.dtype} and shape {tuple(weight.shape)}, but must be int8 of "
        "shape (out, in); make it with quantize_weight",
    )
    require(
        scales.shape == weight.shape[:1],
        f"scales has shape {tuple(scales.shape)}, but must be ({weight.shape[0]},): one for each "
        "row of weight; make both with quantize_weight",
    )
