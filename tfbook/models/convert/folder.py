"""Folders of Hugging Face: ``config.json`` beside safetensors, in one file or several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from tfbook.checks import require
from tfbook.files import write_atomic

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the configuration and the tensors of a folder; nothing is unpickled.

    Args:
        folder: with ``config.json``, and ``model.safetensors`` or its index and parts.

    Returns:
        The configuration, and the tensors by name.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ValueError: a file is truncated or foreign, or the index names files elsewhere.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder; give the one that holds config.json and {WEIGHTS}"
        )
    settings = _read_json(folder / "config.json")
    tensors: dict[str, Tensor] = {}
    for path in _parts(folder):
        tensors |= _read_tensors(path)
    return settings, tensors


def write_folder(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a folder that ``from_pretrained`` reads, each file atomically.

    Args:
        folder: made if it is not there.
        settings: the values of ``config.json``.
        tensors: by name; copied to the CPU.

    Raises:
        OSError: a file cannot be written; what was there before is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    on_cpu = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    # Their loader asks which framework wrote the file.
    write_atomic(folder / WEIGHTS, safetensors.torch.save(on_cpu, metadata={"format": "pt"}))
    text = json.dumps(settings, indent=2) + "\n"
    write_atomic(folder / "config.json", text.encode())


def _parts(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        index = _read_json(folder / INDEX)
        where = index.get("weight_map")
        names = list(where.values()) if isinstance(where, dict) else []
        require(
            bool(names) and all(isinstance(name, str) for name in names),
            f"{folder / INDEX} has weight_map={where!r:.80}, which must name the file of each "
            "tensor; restore it from a copy",
        )
        names = sorted(set(names))
        require(
            all(Path(name).name == name for name in names),
            f"{folder / INDEX} names the files {names}; they must lie in the same folder",
        )
        return [folder / name for name in names]
    pickled = sorted(p.name for p in folder.glob("*.bin")) + sorted(
        p.name for p in folder.glob("*.pt")
    )
    raise FileNotFoundError(
        f"{folder} holds no {WEIGHTS}"
        + (
            f", only {pickled}, which would have to be unpickled and could run any code; convert "
            "them to safetensors"
            if pickled
            else "; give a folder with safetensors"
        )
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a complete folder of the model")
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); restore it from a copy") from error
    require(isinstance(settings, dict), f"{path} holds no JSON object; restore it from a copy")
    return settings


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a complete folder of the model")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or not a safetensors file ({error}); restore it from a copy"
        ) from error
