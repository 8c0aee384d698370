"""The whole state of a training run in one file, so that it resumes as if never stopped."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tfbook.checks import require
from tfbook.models.checkpoints import (
    load_untied_state,
    read_tensors,
    untied_state,
    write_tensors,
)
from tfbook.training.history import History

NAME = "step-{step:08d}.safetensors"
PATTERN = re.compile(r"step-(\d{8})\.safetensors")


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    history: History,
    keep: int = 2,
) -> Path:
    """Write ``step-NNNNNNNN.safetensors`` atomically; then remove all but the newest.

    It holds the weights, the optimizer's state, the state of the random generators and the
    history: with the same machine, torch and thread count, a run that goes on from it ends
    with the very bits of one that never stopped.

    Args:
        folder: made if missing. It belongs to one running process: what a killed one left
            unfinished there (``.NAME.safetensors.*``) is removed.
        model: its weights are stored, tied ones once.
        optimizer: its state is stored.
        step: optimizer steps done.
        history: of the run so far.
        keep: how many of the newest checkpoints stay.

    Returns:
        The file.

    Raises:
        OSError: the file cannot be written; earlier checkpoints are left alone.
        ValueError: ``keep`` is below one, or ``step`` has no place in the name.

    Example:
        >>> model = nn.Linear(2, 2); optimizer = torch.optim.AdamW(model.parameters())
        >>> folder = getfixture("tmp_path")
        >>> save_checkpoint(folder, model, optimizer, step=7, history=History()).name
        'step-00000007.safetensors'

    Source: none. Chapter: 15.
    """
    require(keep >= 1, f"keep={keep} must be at least 1; the newest checkpoint has to stay")
    require(0 <= step < 10**8, f"step={step} must lie in [0, 10**8); count optimizer steps")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, groups = _flatten(model, optimizer)
    metadata = {
        "step": step,
        "optimizer": type(optimizer).__name__,
        "groups": groups,
        "train": history.train,
        "evaluations": history.evaluations,
        "n_threads": torch.get_num_threads(),
    }
    path = folder / NAME.format(step=step)
    write_tensors(path, tensors, metadata)
    # What a killed process was writing, here or in on_best, lies under a hidden name.
    unfinished = folder.glob(".*.safetensors.*")
    older = [found for _, found in _checkpoints(folder)[:-keep] if found != path]
    for old in [*unfinished, *older]:
        with contextlib.suppress(OSError):  # a leftover file harms nobody
            old.unlink()
    return path


def load_checkpoint(
    path: str | os.PathLike[str], model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, History]:
    """Put a model, an optimizer and the random generators in the state of a checkpoint.

    Args:
        path: what :func:`save_checkpoint` wrote.
        model: of the same configuration; changed in place.
        optimizer: over the same parameters; changed in place.

    Returns:
        The optimizer steps done, and the history so far.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, corrupted, foreign or no training checkpoint, or it
            belongs to another model or optimizer; both are left as they were.

    Example:
        >>> model = nn.Linear(2, 2); optimizer = torch.optim.AdamW(model.parameters())
        >>> path = save_checkpoint(
        ...     getfixture("tmp_path"), model, optimizer, step=7, history=History())
        >>> load_checkpoint(path, model, optimizer)
        (7, History(train=[], evaluations=[]))

    Source: none. Chapter: 15.
    """
    tensors, metadata = read_tensors(path)
    require(
        "groups" in metadata,
        f"{path} holds a model, not a training run; pass a file named {NAME.format(step=0)}",
    )
    _require_same_optimizer(path, optimizer, metadata)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    load_untied_state(model, weights, str(path))
    optimizer.load_state_dict(_unflatten(tensors, metadata["groups"]))
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return metadata["step"], History(metadata["train"], metadata["evaluations"])


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """Find the newest checkpoint of a run.

    Args:
        folder: of the run; may be missing.

    Returns:
        The file with the highest step, or None.

    Example:
        >>> latest_checkpoint(getfixture("tmp_path")) is None
        True
    """
    found = _checkpoints(Path(folder))
    return found[-1][1] if found else None


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    named = [(PATTERN.fullmatch(path.name), path) for path in folder.glob("step-*.safetensors")]
    return sorted((int(match[1]), path) for match, path in named if match)


def _flatten(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    tensors = {f"model.{name}": tensor for name, tensor in untied_state(model).items()}
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        for name, value in values.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return tensors, state["param_groups"]


def _require_same_optimizer(
    path: str | os.PathLike[str], optimizer: torch.optim.Optimizer, metadata: dict[str, Any]
) -> None:
    ours = (type(optimizer).__name__, [len(g["params"]) for g in optimizer.param_groups])
    # The first files did not name the optimizer.
    name = metadata.get("optimizer", ours[0])
    theirs = (name, [len(group["params"]) for group in metadata["groups"]])
    require(
        ours == theirs,
        f"{path} belongs to the optimizer {theirs[0]} over groups of {theirs[1]} parameters, but "
        f"this is {ours[0]} over {ours[1]}; make the one that it was saved with",
    )


def _unflatten(tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = tensor
    # JSON turned the tuple of betas into a list.
    revive: Callable[[Any], Any] = lambda v: tuple(v) if isinstance(v, list) else v  # noqa: E731
    keep = ("params",)
    groups = [{k: v if k in keep else revive(v) for k, v in group.items()} for group in groups]
    return {"state": state, "param_groups": groups}
