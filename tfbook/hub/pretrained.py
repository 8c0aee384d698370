"""A model with its tokenizer and its card, in the weights that a reader wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import nn

from tfbook.checks import require, require_choice
from tfbook.compression import cast_weights, quantize_int8

Model = TypeVar("Model", bound=nn.Module)
Tokenizer = TypeVar("Tokenizer")
Weights = Literal["float32", "bfloat16", "int8"]

WEIGHTS = ("float32", "bfloat16", "int8")


@dataclass(frozen=True, kw_only=True)
class Pretrained(Generic[Model, Tokenizer]):
    """A pretrained model, ready to use.

    Args:
        model: the model, in evaluation mode.
        tokenizer: the tokenizer that belongs to it.
        card: its name, origin and licence; the package that carries it; its hash and how that
            was checked; and the type of its weights.
    """

    model: Model
    tokenizer: Tokenizer
    card: Mapping[str, Any]


def require_device(device: torch.device | str) -> None:
    """Raise unless tensors with values can be made on a device.

    Args:
        device: such as ``cpu`` or ``cuda``.

    Raises:
        ValueError: it is None or ``meta``, or PyTorch does not know it or cannot use it on this
            machine.

    Example:
        >>> require_device("cpu")
    """
    require(
        device is not None,
        "device=None does not say where the weights go; use 'cpu', 'cuda', or "
        "tfbook.device.best_device()",
    )
    try:
        made = torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={str(device)!r} cannot be used here ({reason}); use 'cpu', or install the "
            "PyTorch that is made for it"
        ) from error
    require(
        made.device.type != "meta",
        f"device={str(device)!r} holds shapes and no weights; use 'cpu', or a device of this "
        "machine",
    )


def with_weights(model: Model, weights: Weights, device: torch.device | str) -> Model:
    """Put a model's weights into the type that was asked for, and move it.

    With ``int8`` the linear layers hold integers, and all else, the activations among it, is
    bfloat16, for which processors have a fast product.

    Args:
        model: in float32; changed in place.
        weights: ``float32``, ``bfloat16`` or ``int8``.
        device: where the model goes.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: another kind of weights.

    Example:
        >>> with_weights(nn.Sequential(nn.Linear(3, 2)), "bfloat16", "cpu")[0].weight.dtype
        torch.bfloat16
    """
    require_choice("weights", weights, WEIGHTS)
    if weights == "int8":
        quantize_int8(model)
    cast_weights(model, torch.float32 if weights == "float32" else torch.bfloat16)
    return model.to(device).eval()
