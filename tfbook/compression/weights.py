"""The weights of a whole model in fewer bytes, replaced in place."""

from __future__ import annotations

import torch
from torch import nn

from tfbook.checks import require
from tfbook.compression.int8 import Int8Embedding, Int8Linear
from tfbook.layers import Embedding


def cast_weights(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert every parameter of a model, in place.

    Gains and biases of norms are converted too: PyTorch's fused norms want them in the type of
    their input, and compute in float32 whatever the type. On SmolLM2 that changes no logit, since
    its gains are numbers of bfloat16 already. Tables of positions (buffers) stay as they are:
    angles rounded to bfloat16 would turn far positions wrongly.

    Args:
        model: changed in place; tied parameters stay tied.
        dtype: a floating-point type.

    Returns:
        The model.

    Raises:
        ValueError: ``dtype`` is not a floating-point type.

    Example:
        >>> cast_weights(nn.Linear(3, 2), torch.bfloat16).weight.dtype
        torch.bfloat16

    Chapter: 24.
    """
    require(
        dtype.is_floating_point,
        f"dtype={dtype} must be a floating-point type; use torch.bfloat16, or quantize_int8",
    )
    for parameter in model.parameters():
        if parameter.dtype.is_floating_point:
            parameter.data = parameter.data.to(dtype)
    return model


def quantize_int8(model: nn.Module) -> nn.Module:
    """Replace every linear layer of a model by one with weights of eight bits, in place.

    Where an embedding is tied to an output layer, the two keep one table: the output layer is
    quantized, and the embedding reads single rows of the same integers. An embedding that is
    tied to nothing stays as it is, since a step reads few of its rows; so does one that adds
    segments or a norm (BERT's).

    Args:
        model: a model for inference, changed in place. For the fast kernel of a CPU call
            :func:`cast_weights` with bfloat16 afterwards: so each weight is rounded once.

    Returns:
        The model.

    Raises:
        ValueError: the model itself is a linear layer, or a weight is infinite or not a number.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> quantize_int8(model)
        Sequential(
          (0): Int8Linear(3, 2, bias=True)
          (1): ReLU()
        )

    Source: Dettmers et al. 2022, section 2. Chapter: 24.
    """
    require(
        not isinstance(model, nn.Linear),
        "model is a linear layer, which cannot be replaced in place; use Int8Linear.from_linear",
    )
    tables: dict[int, Int8Linear] = {}  # by identity of the weight, so that tied layers stay tied
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                key = id(child.weight)
                tables.setdefault(key, Int8Linear.from_linear(child))
                setattr(parent, name, _with_bias(tables[key], child))
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Embedding) and id(child.weight) in tables and _is_plain(child):
                setattr(parent, name, _embedding(child, tables[id(child.weight)]))
    return model


def stored_bytes(model: nn.Module) -> int:
    """Count the bytes of a model's parameters and buffers, shared ones once.

    Args:
        model: any module.

    Returns:
        Bytes.

    Example:
        >>> stored_bytes(nn.Linear(3, 2)), stored_bytes(Int8Linear.from_linear(nn.Linear(3, 2)))
        (32, 18)

    Chapter: 24.
    """
    tensors = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _with_bias(table: Int8Linear, linear: nn.Linear) -> Int8Linear:
    """The quantized layer itself, or for a second layer of the same weight one with its bias."""
    same = [None if layer.bias is None else layer.bias.data_ptr() for layer in (table, linear)]
    if same[0] == same[1]:
        return table
    return Int8Linear(table.weight_int8, table.scales, linear.bias)


def _is_plain(embedding: Embedding) -> bool:
    return embedding.norm is None and embedding.segments is None


def _embedding(embedding: Embedding, table: Int8Linear) -> Int8Embedding:
    return Int8Embedding(
        table,
        dtype=embedding.weight.dtype,
        positions=embedding.positions,
        scale=embedding.scale,
    )
