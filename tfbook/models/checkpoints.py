"""Checkpoints: safetensors with a JSON header, verified by hash, never unpickled.

Format version 1. A file written by an earlier 0.x release of the package loads in every
later 0.x release; a file of a newer format says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from tfbook.checks import require, require_choice
from tfbook.compression import Int8Embedding, Int8Linear
from tfbook.files import write_atomic
from tfbook.models.building import KINDS, Model, build_model

FORMAT = "tfbook"
FORMAT_VERSION = 1


def save_model(
    path: str | os.PathLike[str], model: Model, *, dtype: torch.dtype | None = None
) -> None:
    """Write a model with its configuration, atomically.

    Args:
        path: the file; its folder must exist.
        model: one of this package's models.
        dtype: to store floating-point weights in; None keeps theirs.

    Raises:
        ValueError: the model is not one of this package's, or not whole (see
            :func:`require_whole`): it could not be loaded again.
        OSError: the file cannot be written; what was there before is left alone.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> config = CausalLMConfig(
        ...     vocab_size=5, decoder=StackConfig(d_model=4, n_heads=2, d_ff=8, n_layers=1))
        >>> path = getfixture("tmp_path") / "model.safetensors"
        >>> save_model(path, CausalLM(config))
        >>> load_model(path).config == config
        True

    Source: the safetensors format. Chapter: 15.
    """
    kind = type(model).__name__
    require_choice("model", kind, KINDS)
    require_whole(model)
    tensors = untied_state(model)
    if dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    write_tensors(path, tensors, {"model": kind, "config": dataclasses.asdict(model.config)})


def load_model(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> Model:
    """Read a model that :func:`save_model` wrote, in float32 and in evaluation mode.

    Args:
        path: the file.
        device: where the model goes.

    Returns:
        The model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, corrupted, foreign, of a newer format, or does
            not hold exactly the model's tensors.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> config = CausalLMConfig(
        ...     vocab_size=5, decoder=StackConfig(d_model=4, n_heads=2, d_ff=8, n_layers=1))
        >>> path = getfixture("tmp_path") / "model.safetensors"
        >>> save_model(path, CausalLM(config), dtype=torch.float16)
        >>> load_model(path).head.weight.dtype
        torch.float32

    Source: the safetensors format. Chapter: 15.
    """
    tensors, metadata = read_tensors(path)
    require("model" in metadata, f"{path} holds no model; pass a file that save_model wrote")
    model = build_model(metadata["model"], metadata["config"])
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    load_untied_state(model, tensors, str(path))
    return model.to(device).eval()


def require_whole(model: Model) -> None:
    """Raise where a model holds other tensors than one that is built with its configuration.

    Layers that were replaced or taken out, and ties that were made or cut, would otherwise be
    written as weights that are missing.

    Args:
        model: one of this package's.

    Raises:
        ValueError: its weights are of eight bits.
        ValueError: a tensor is missing or superfluous.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=4, n_heads=2, d_ff=8, n_layers=1)
        >>> require_whole(CausalLM(CausalLMConfig(vocab_size=5, decoder=stack)))
    """
    require(
        not any(isinstance(module, Int8Linear | Int8Embedding) for module in model.modules()),
        "model has weights of eight bits, which cannot be written; load it with "
        "weights='float32' or weights='bfloat16', and write that",
    )
    kind = next(kind for kind in get_args(Model) if isinstance(model, kind))
    with torch.device("meta"):
        built = build_model(kind.__name__, dataclasses.asdict(model.config))
    own, asked = untied_state(model).keys(), untied_state(built).keys()
    missing, extra = sorted(asked - own), sorted(own - asked)
    require(
        not missing and not extra,
        "model does not hold the tensors that its config asks for: missing "
        f"{missing or 'nothing'}, superfluous {extra or 'nothing'}; put its own layers back, or "
        "build it with the config that it has become",
    )


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write named tensors and plain values to one file, atomically, with a hash of both.

    Args:
        path: the file; its folder must exist.
        tensors: by name; copied to the CPU.
        metadata: anything JSON holds.

    Raises:
        OSError: the file cannot be written; what was there before is left alone.
    """
    on_cpu = {name: t.detach().contiguous().cpu() for name, t in tensors.items()}
    text = json.dumps(metadata)
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "metadata": text,
        "sha256": _digest(on_cpu, text),
    }
    write_atomic(path, safetensors.torch.save(on_cpu, metadata=header))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote, and verify its hash.

    Args:
        path: the file.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, corrupted, foreign, or of a newer format.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist; check the path, or train the model first")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or not a safetensors file ({error}); restore it from a copy, or "
            "remove it"
        ) from error
    require(
        header.get("format") == FORMAT,
        f"{path} is a safetensors file, but not one that this package wrote; convert it first",
    )
    version = header.get("format_version", "")
    require(
        version.isdecimal() and 1 <= int(version) <= FORMAT_VERSION,
        f"{path} has format version {version!r}, but this release reads 1 to {FORMAT_VERSION}; "
        "upgrade tfbook",
    )
    text = header.get("metadata", "")
    require(
        header.get("sha256") == _digest(tensors, text),
        f"{path} is corrupted: its content does not match its sha256; restore it from a copy, or "
        "remove it",
    )
    return tensors, json.loads(text)


def untied_state(model: nn.Module) -> dict[str, Tensor]:
    """Give a module's state with every tied tensor once, under its first name.

    Args:
        model: any module.

    Returns:
        Tensors by name.
    """
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor.detach()
    return state


def load_untied_state(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy what :func:`untied_state` gave into a module.

    Args:
        model: changed in place.
        tensors: by name.
        origin: the file's name, for the message.

    Raises:
        ValueError: a tensor is missing, superfluous, or of another shape; the module is
            left as it was.
    """
    own = untied_state(model)
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    require(
        not missing and not extra,
        f"{origin} does not fit the model: missing {missing or 'nothing'}, superfluous "
        f"{extra or 'nothing'}; build the model with the configuration that it was saved with",
    )
    for name, tensor in own.items():
        require(
            tensor.shape == tensors[name].shape,
            f"{origin}: {name} has shape {tuple(tensors[name].shape)}, but the model needs "
            f"{tuple(tensor.shape)}; build the model with the configuration that it was saved with",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
