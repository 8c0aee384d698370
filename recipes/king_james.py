"""A small character language model on the King James Bible: what several recipes train.

No recipe by itself: recipes/length, placement and feed_forward import it. Each of them changes
one part of the model and keeps the text, the windows, their order and the optimizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tfbook.data import king_james
from tfbook.device import best_device, seed_everything
from tfbook.evaluation import loss_by_position, windows_of
from tfbook.files import write_atomic
from tfbook.models import CausalLM, CausalLMConfig, StackConfig
from tfbook.tokenizers import CharacterTokenizer
from tfbook.training import (
    FitConfig,
    History,
    WindowBatches,
    adamw,
    fit,
    linear_decay,
    next_token_loss,
)


@cache
def tokenizer() -> CharacterTokenizer:
    """Give the tokenizer of the book's 68 characters."""
    return CharacterTokenizer.from_texts(king_james.load("all"))


@cache
def corpus(split: king_james.Split) -> list[Tensor]:
    """Give the token ids of the pieces of a split."""
    return [torch.tensor(tokenizer().encode(piece)) for piece in king_james.load(split)]


def config(settings: Mapping[str, Any], *, max_length: int, **changes: Any) -> CausalLMConfig:
    """Give the configuration of ``settings["stack"]``; changes of the stack or the model win."""
    stack = {**settings["stack"], **{k: v for k, v in changes.items() if k in STACK}}
    model = {k: v for k, v in changes.items() if k not in STACK}
    return CausalLMConfig(
        vocab_size=tokenizer().vocab_size,
        decoder=StackConfig(**stack),
        max_length=max_length,
        **model,
    )


STACK = set(StackConfig.__dataclass_fields__)


def validation_loss(model: nn.Module, *, length: int, n_characters: int = 40_960) -> float:
    """Measure nats per character on held-out text, in windows of ``length`` side by side.

    The characters are the first ones of the five held-out pieces, in equal parts, so that every
    part of the book counts.
    """
    was_training = model.training
    model.eval()
    loss = loss_by_position(model, held_out(length, n_characters)).mean().item()
    model.train(was_training)
    return loss


def held_out(length: int, n_characters: int) -> Tensor:
    """Give held-out windows of ``length`` that hold ``n_characters`` targets together."""
    pieces = corpus("validation")
    part = n_characters // len(pieces)
    return windows_of([piece[: part + 1] for piece in pieces], length)


def train(
    model: CausalLM,
    settings: Mapping[str, Any],
    seed: int,
    *,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    schedule: Callable[[int], float] | None = None,
    **options: Any,
) -> History:
    """Train a model in place and give its history.

    The windows follow from ``seed`` alone. Seed the weights before building the model:
    ``build(config, seed)`` does. Without ``schedule``, the rate rises over ``settings["warmup"]``
    steps to ``settings["peak_lr"]`` and falls linearly to zero. ``options`` go to ``FitConfig``.
    """
    batches = WindowBatches(
        corpus("train"), length=settings["length"], batch_size=settings["batch_size"], seed=seed
    )
    device = best_device()
    peak, n_steps = settings["peak_lr"], settings["n_steps"]

    def usual(step: int) -> float:
        return linear_decay(step, peak=peak, warmup=settings["warmup"], n_steps=n_steps)

    seed_everything(seed)
    return fit(
        model,
        next_token_loss,
        lambda step: batches.batch(step).to(device),
        optimizer=adamw(model, lr=peak, weight_decay=settings["weight_decay"]),
        schedule=schedule or usual,
        config=FitConfig(
            n_steps=n_steps,
            evaluate_every=settings["evaluate_every"],
            autocast=settings["autocast"],
            **options,
        ),
        evaluate=evaluate,
        progress=False,
    )


def build(config: CausalLMConfig, seed: int) -> CausalLM:
    """Build a model with the weights of a seed, on the best device."""
    seed_everything(seed)
    return CausalLM(config).to(best_device())


def open_log(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the log at ``path`` if it is of the same settings, data and torch, else a new one."""
    new: dict[str, Any] = {
        "settings": settings,
        "data_sha256": king_james.DATA_SHA256,
        "torch": torch.__version__,
        "device": str(best_device()),
        "runs": [],
    }
    if path.exists():
        old: dict[str, Any] = json.loads(path.read_text())
        if {**old, "runs": []} == new:
            return old
    return new


def write_log(path: Path, log: Mapping[str, Any]) -> None:
    """Replace the log in one rename."""
    write_atomic(path, json.dumps(log, indent=1).encode())
