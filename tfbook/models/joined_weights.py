"""Several linear layers that read the same input, multiplied as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfbook.compression.int8 import KERNEL_ROWS, Int8Linear, has_int8_kernel, int8_linear

Product = Callable[[Tensor], Tensor]
MOST_ROWS_TABLE_FIRST = 16


def can_join(layers: Sequence[nn.Module]) -> bool:
    """Tell whether :func:`joined_product` takes these layers.

    Args:
        layers: one or more.

    Returns:
        True where all are ``nn.Linear``, or all ``Int8Linear``, of one input width and type, and
        all have a bias or none has.

    Example:
        >>> can_join([nn.Linear(3, 2), nn.Linear(3, 5)]), can_join([nn.Linear(3, 2), nn.Tanh()])
        (True, False)

    Chapter: 24.
    """
    kinds = {type(layer) for layer in layers}
    if kinds != {nn.Linear} and kinds != {Int8Linear}:
        return False
    weights = [_tables(layer)[0] for layer in layers]
    return (
        len({_bias(layer) is None for layer in layers}) == 1
        and len({(w.shape[1], w.dtype, w.device) for w in weights}) == 1
    )


def joined_product(layers: Sequence[nn.Module]) -> Product:
    r"""Give one function that does the work of several linear layers.

    .. math:: x \mapsto [x W_1^\top + b_1; \dots; x W_k^\top + b_k]

    The weights move into one table of which each layer's weight is a range of rows: they are
    not stored twice, the layers and their state stay as they are, and whoever writes into a
    layer's weight writes into the table. (A cast or a move takes them apart again.)

    Args:
        layers: those of :func:`can_join`; changed in place as said.

    Returns:
        A function from ``(batch, in)`` to ``(batch, out_1 + … + out_k)``.

    Example:
        >>> one, two = nn.Linear(3, 2), nn.Linear(3, 5)
        >>> x = torch.randn(1, 3)
        >>> y = joined_product([one, two])(x)
        >>> bool(torch.allclose(y, torch.cat([one(x), two(x)], dim=1), atol=1e-6))
        True
        >>> two.weight.data_ptr() - one.weight.data_ptr() == one.weight.nbytes
        True

    Source: none. Chapter: 24.
    """
    # A tensor made in inference mode could never be trained again.
    with torch.inference_mode(False), torch.no_grad():
        weight, *scales = (_join(tables) for tables in zip(*map(_tables, layers), strict=True))
        biases = [bias for bias in map(_bias, layers) if bias is not None]
        bias = _join(biases) if biases else None
    if scales:
        return _int8(weight, scales[0], bias)
    return _floating(weight, bias)


def _tables(layer: nn.Module) -> tuple[Tensor, ...]:
    """What has one row for every output, without the bias."""
    if isinstance(layer, nn.Linear):
        return (layer.weight,)
    return (layer.weight_int8, layer.scales) if isinstance(layer, Int8Linear) else ()


def _bias(layer: nn.Module) -> Tensor | None:
    return layer.bias if isinstance(layer, nn.Linear | Int8Linear) else None


def _join(parts: Sequence[Tensor]) -> Tensor:
    """One table of all rows; the parts become views of it."""
    first = parts[0].detach()
    n_rows = [part.shape[0] for part in parts]
    shape = (sum(n_rows), *first.shape[1:])
    ends = [part.data_ptr() + part.nbytes for part in parts]
    one_table = all(
        part.data_ptr() == end and part.untyped_storage()._cdata == first.untyped_storage()._cdata
        for part, end in zip(parts[1:], ends, strict=False)
    )
    if one_table and all(part.is_contiguous() for part in parts):
        return first.as_strided(shape, first.stride())
    table = torch.cat([part.detach() for part in parts])
    for part, rows in zip(parts, table.split(n_rows), strict=True):
        part.data = rows
    return table


def _int8(weight: Tensor, scales: Tensor, bias: Tensor | None) -> Product:
    has_kernel = has_int8_kernel(scales.new_empty(1, weight.shape[1]))

    def product(x: Tensor) -> Tensor:
        # What int8_linear asks at every call is known here but for the number of rows.
        if has_kernel and x.shape[0] <= KERNEL_ROWS and x.dtype == scales.dtype:
            y = torch._weight_int8pack_mm(x.contiguous(), weight, scales)
        else:
            y = int8_linear(x, weight, scales)
        return y if bias is None else y + bias

    return product


def _floating(weight: Tensor, bias: Tensor | None) -> Product:
    def product(x: Tensor) -> Tensor:
        return F.linear(x, weight, bias)

    if weight.device.type != "cpu":
        return product

    # A product with few vectors is bound by reading the table, and the kernel for two matrices,
    # which F.linear calls, is made for many. On one core, 49,152 × 576 in bfloat16 take 4.4 ms
    # with the kernel for a matrix and a vector, where F.linear takes 6.7; and with eight
    # vectors, 4.5 with the table in front, transposing included, where F.linear takes 8.5. (In
    # float32 the table in front gains nothing.)
    def product_of_few(x: Tensor) -> Tensor:
        if x.shape[0] == 1:
            y = torch.mv(weight, x[0]) if bias is None else torch.addmv(bias, weight, x[0])
            return y[None]
        if weight.dtype != torch.bfloat16 or x.shape[0] > MOST_ROWS_TABLE_FIRST:
            return product(x)
        y = torch.mm(weight, x.T) if bias is None else torch.addmm(bias[:, None], weight, x.T)
        return y.T.contiguous()

    return product_of_few
