"""Values of another library's configuration, checked and translated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, overload

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


def required_size(settings: Settings, name: str) -> int:
    """Give a size that has no default.

    Args:
        settings: their configuration.
        name: of the value.

    Returns:
        A positive number.

    Raises:
        ValueError: it is missing, no whole number, or below one.
    """
    required(settings, name)
    size = read_int(settings, name, 1)
    require(size >= 1, _must_be(name, size, "at least 1"))
    return size


def required_number(settings: Settings, name: str) -> float:
    """Give a number that has no default.

    Args:
        settings: their configuration.
        name: of the value.

    Returns:
        The number.

    Raises:
        ValueError: it is missing, or no finite number.
    """
    required(settings, name)
    return read_number(settings, name, 0.0)


@overload
def read_int(settings: Settings, name: str, default: int) -> int: ...
@overload
def read_int(settings: Settings, name: str, default: None) -> int | None: ...
def read_int(settings: Settings, name: str, default: int | None) -> int | None:
    """Give a whole number.

    Args:
        settings: their configuration.
        name: of the value.
        default: where it is missing; with None, the value may be null as well.

    Returns:
        The number.

    Raises:
        ValueError: it is of another type; a truth value is no number.
    """
    given = settings.get(name, default)
    if given is None and default is None:
        return None
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    require(whole, _must_be(name, given, "a whole number"))
    return int(given)


@overload
def read_number(settings: Settings, name: str, default: float) -> float: ...
@overload
def read_number(settings: Settings, name: str, default: None) -> float | None: ...
def read_number(settings: Settings, name: str, default: float | None) -> float | None:
    """Give a number.

    Args:
        settings: their configuration.
        name: of the value.
        default: where it is missing; with None, the value may be null as well.

    Returns:
        The number.

    Raises:
        ValueError: it is of another type, infinite, or not a number.
    """
    given = settings.get(name, default)
    if given is None and default is None:
        return None
    real = isinstance(given, Real) and not isinstance(given, bool)
    require(real and math.isfinite(given), _must_be(name, given, "a finite number"))
    return float(given)


def read_flag(settings: Settings, name: str, default: bool) -> bool:
    """Give a truth value.

    Args:
        settings: their configuration.
        name: of the value.
        default: where it is missing.

    Returns:
        The value.

    Raises:
        ValueError: it is of another type; the text "false" would count as true.
    """
    given = settings.get(name, default)
    require(isinstance(given, bool), _must_be(name, given, "true or false"))
    return bool(given)


def read_group(settings: Settings, name: str) -> Mapping[Any, Any]:
    """Give the settings that stand under one name.

    Args:
        settings: their configuration.
        name: of the group.

    Returns:
        The group, empty where it is missing or null.

    Raises:
        ValueError: it is no group of named values.
    """
    given = settings.get(name)
    if given is None:
        return {}
    require(isinstance(given, Mapping), _must_be(name, given, "an object of named values"))
    group: Mapping[Any, Any] = given
    return group


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
        isinstance(given, str) and given in ACTIVATIONS,
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


def _must_be(name: str, given: object, kind: str) -> str:
    return (
        f"config has {name}={given!r:.80}, which must be {kind}; give the config.json that belongs "
        "to the tensors"
    )
