"""Values of another library's configuration, checked and translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfbook.checks import listed, require

Settings = Mapping[str, Any]

# By their names; the first that gives ours is the one that is written.
ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "sigmoid": "sigmoid",
    "relu2": "squared_relu",
}


def required(settings: Settings, name: str) -> Any:
    """Give a value that has no default.

    Args:
        settings: their configuration.
        name: of the value.

    Returns:
        The value.

    Raises:
        ValueError: it is missing.
    """
    require(
        settings.get(name) is not None,
        f"config has no {name!r}; give the whole config.json that belongs to the tensors",
    )
    return settings[name]


def require_setting(settings: Settings, name: str, value: object) -> None:
    """Raise where a value that changes the model is not the one that we can build.

    Args:
        settings: their configuration; without the value, it is taken as ours.
        name: of the value.
        value: what we build.

    Raises:
        ValueError: it is another.
    """
    given = settings.get(name, value)
    require(
        given == value,
        f"config has {name}={given!r}, which no part of this package does; use a checkpoint with "
        f"{name}={value!r}",
    )


def read_activation(settings: Settings, name: str, default: str) -> str:
    """Translate an activation.

    Args:
        settings: their configuration.
        name: of the value.
        default: theirs, where it is missing.

    Returns:
        Our name.

    Raises:
        ValueError: we have no such activation.
    """
    given = settings.get(name, default)
    require(
        given in ACTIVATIONS,
        f"config has {name}={given!r}, which is not known here; use {listed(ACTIVATIONS)}",
    )
    return ACTIVATIONS[given]


def write_activation(activation: str) -> str:
    """Translate an activation back.

    Args:
        activation: ours.

    Returns:
        Their first name for it.
    """
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == activation)
