"""Where the norm stands, and what it does: many short runs of a character model.

    python recipes/placement/train.py

Trains character language models on the King James Bible that differ in the placement of the
norms, in depth, learning rate and warm-up, and some whose norm is changed or removed, each with
three seeds. Writes ``tfbook/book/logs/placement.json``. A run that is interrupted goes on at the
next model.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import king_james as kj  # noqa: E402

from tfbook.evaluation import loss_by_position  # noqa: E402
from tfbook.layers import LayerNorm  # noqa: E402
from tfbook.models import CausalLM, initialize_xavier  # noqa: E402
from tfbook.training import (  # noqa: E402
    FitConfig,
    History,
    WindowBatches,
    adamw,
    fit,
    linear_decay,
    next_token_loss,
)

USUAL = {
    "placement": "pre",
    "norm": "layer_norm",
    "start": "xavier",
    "n_characters": None,
    "evaluate_every": None,
}


class ChangedNorm(nn.Module):
    """A layer norm of which one thing is changed.

    ``plain`` has no gain and no bias. ``detached`` has them, and lets no gradient through mean
    and variance. ``shaken`` scales and shifts every feature of its output at random, anew at each
    training step: the shift of distributions that a norm is said to prevent. ``none`` is absent.
    """

    def __init__(self, d_model: int, kind: str, shake: float) -> None:
        super().__init__()
        self.kind, self.shake = kind, shake
        if kind != "none":
            self.norm = LayerNorm(d_model)
        if kind == "plain":
            self.norm.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``, shape ``(batch, n, d_model)``."""
        if self.kind == "none":
            return x
        if self.kind == "detached":
            mean = x.mean(dim=-1, keepdim=True).detach()
            scale = torch.rsqrt(x.var(dim=-1, keepdim=True, correction=0).detach() + self.norm.eps)
            return (x - mean) * scale * self.norm.weight + self.norm.bias
        y = self.norm(x)
        if self.kind == "shaken" and self.training:
            scale, shift = self.shake * torch.randn(2, x.shape[-1], device=x.device)
            y = y * scale.exp() + shift
        return y


def build(settings: Mapping[str, Any], run: Mapping[str, Any]) -> CausalLM:
    """Build the model of a run."""
    config = kj.config(
        settings,
        max_length=settings["length"],
        placement=run["placement"],
        n_layers=run["n_layers"],
        positions="sinusoidal",
        scaled_embeddings=True,
        tie_output=False,
    )
    model = kj.build(config, run["seed"])
    if run["start"] == "xavier":
        initialize_xavier(model)
    if run["norm"] != "layer_norm":
        d_model = settings["stack"]["d_model"]
        device = model.embedding.weight.device
        for block in model.decoder.blocks:
            for residual in (block.attention_residual, block.feed_forward_residual):
                residual.norm = ChangedNorm(d_model, run["norm"], settings["shake"]).to(device)
        final = ChangedNorm(d_model, run["norm"], settings["shake"]).to(device)
        model.decoder.final_norm = final
    return model


def texts(run: Mapping[str, Any]) -> list[Tensor]:
    """Give what a run trains on: the training split, or its beginning."""
    pieces = kj.corpus("train")
    return pieces if run["n_characters"] is None else [pieces[0][: run["n_characters"]]]


def train(model: CausalLM, settings: Mapping[str, Any], run: Mapping[str, Any]) -> History:
    """Train a model in place, without clipping: it would hide what is measured."""
    torch.manual_seed(run["seed"])
    batches = WindowBatches(
        texts(run),
        length=settings["length"],
        batch_size=settings["batch_size"],
        seed=run["seed"],
    )
    device = model.embedding.weight.device
    peak, n_steps, every = run["peak_lr"], run["n_steps"], run["evaluate_every"]

    def schedule(step: int) -> float:
        return linear_decay(step, peak=peak, warmup=run["warmup"], n_steps=n_steps)

    return fit(
        model,
        next_token_loss,
        lambda step: batches.batch(step).to(device),
        optimizer=adamw(model, lr=peak, weight_decay=settings["weight_decay"]),
        schedule=schedule,
        config=FitConfig(
            n_steps=n_steps,
            clip_norm=None,
            autocast=settings["autocast"],
            log_every=settings["log_every"],
            evaluate_every=every or settings["evaluate_every"],
        ),
        evaluate=(lambda module: {"loss": losses(module, settings, run)[0]}) if every else None,
        progress=False,
    )


def losses(
    model: nn.Module, settings: Mapping[str, Any], run: Mapping[str, Any]
) -> tuple[float, float]:
    """Give validation loss and loss on the beginning of the run's own text, in nats."""
    length, n = settings["length"], settings["n_validation_characters"]
    was_training = model.training
    model.eval()
    own = texts(run)[0][: n + 1][None]
    seen = own[:, : (own.shape[1] - 1) // length * length + 1].unfold(1, length + 1, length)[0]
    found = [
        loss_by_position(model, windows).mean().item() for windows in (kj.held_out(length, n), seen)
    ]
    model.train(was_training)
    return found[0], found[1]


def layers(model: CausalLM, settings: Mapping[str, Any], *, ablate: bool) -> dict[str, list[float]]:
    """Measure each block: its change of the stream, how far tokens differ, the loss without it."""
    windows = kj.held_out(settings["length"], settings["n_ablation_characters"])
    record: dict[str, list[float]] = {"stream": [], "change": [], "cosine": [], "spread": []}

    def watch(_: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        x = args[0]
        record["stream"].append(y.square().mean().sqrt().item())
        record["change"].append(((y - x).norm(dim=-1) / x.norm(dim=-1)).mean().item())
        record["cosine"].append(torch.cosine_similarity(x, y, dim=-1).mean().item())
        apart = (y - y.mean(dim=1, keepdim=True)).square().mean().sqrt().item()
        record["spread"].append(apart / record["stream"][-1])

    model.eval()
    with torch.no_grad():
        hooks = [block.register_forward_hook(watch) for block in model.decoder.blocks]
        model(windows[:16, :-1].to(model.embedding.weight.device))
        for hook in hooks:
            hook.remove()
        if ablate:
            record["without"] = [
                loss_without(model, i, windows) for i in range(-1, len(model.decoder.blocks))
            ]
    return {name: [round(v, 4) for v in values] for name, values in record.items()}


def loss_without(model: CausalLM, index: int, windows: Tensor) -> float:
    """Measure the loss with block ``index`` left out; -1 leaves none out."""
    whole = model.decoder.blocks
    model.decoder.blocks = nn.ModuleList(b for i, b in enumerate(whole) if i != index)
    loss = loss_by_position(model, windows).mean().item()
    model.decoder.blocks = whole
    return loss


def runs(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """List all runs, grid by grid."""
    for grid, axes in settings["grids"].items():
        for seed, *values in itertools.product(settings["seeds"], *axes.values()):
            yield {**USUAL, "grid": grid, **dict(zip(axes, values, strict=True)), "seed": seed}


def train_one(settings: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Train one model and give its record."""
    model = build(settings, run)
    try:
        history = train(model, settings, run)
    except RuntimeError as error:  # a loss that is not finite
        return {**run, "diverged": str(error).split(";")[0]}
    validation, seen = losses(model, settings, run)
    return {
        **run,
        "validation": round(validation, 4),
        "seen": round(seen, 4),
        "train": [round(record["loss"], 3) for record in history.train],
        "gradient_norm": [round(record["gradient_norm"], 3) for record in history.train],
        "evaluations": [
            {"step": e["step"], "loss": round(e["loss"], 4)} for e in history.evaluations
        ],
        "layers": layers(model, settings, ablate=run["grid"] == "longer"),
        "seconds": history.train[-1]["seconds"],
    }


def main() -> None:
    """Train all models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--only", default=None, help="one grid, such as placement")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = json.loads((HERE / "settings.json").read_text())
    # Chapters replot the log, so it travels with the package.
    path = HERE.parents[1] / "tfbook/book/logs/placement.json"
    log = kj.open_log(path, settings)
    key = [*USUAL, "grid", "n_layers", "warmup", "peak_lr", "n_steps", "seed"]
    done = {tuple(run[k] for k in key) for run in log["runs"]}
    todo = [run for run in runs(settings) if tuple(run[k] for k in key) not in done]
    for run in tqdm(todo, unit="model"):
        if arguments.only in (None, run["grid"]):
            log["runs"].append(train_one(settings, run))
            kj.write_log(path, log)


if __name__ == "__main__":
    main()
