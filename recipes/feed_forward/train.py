"""Feed-forward layers of many kinds in one small language model of the King James Bible.

    python recipes/feed_forward/train.py

Trains character models that differ in their feed-forward layers alone: activations, gates,
inner width, place in the block, sharing and rank. Within a seed all of them read the same
windows in the same order, so they can be compared seed by seed. The losses go to
``tfbook/book/logs/feed_forward.json``. One larger model, whose inner units chapter 14 takes
apart, goes to ``tfbook/pretrained/feed_forward``. A run that is interrupted goes on at the
next model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tfbook.device import seed_everything
from tfbook.layers import Block, LowRankFeedForward
from tfbook.models import CausalLM, count_parameters, initialize_normal, save_model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import king_james as kj  # noqa: E402

# Weights of standard deviation 0.02 are GPT-2's choice, at this width.
D_MODEL_OF_GPT_2 = 768


class NothingToAdd(nn.Module):
    """A residual connection that leaves its branch out."""

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """Give ``x`` back."""
        return x


def build(settings: Mapping[str, Any], variant: Mapping[str, Any], seed: int) -> CausalLM:
    """Build a model whose first activations are as large as GPT-2's, whatever its width.

    One deviation for all matrices makes the products of a low-rank layer smaller than a dense
    matrix would be. ``products_as_dense`` in the variant gives them the same size.
    """
    changes = {k: v for k, v in variant.items() if k != "products_as_dense"}
    config = kj.config(settings, max_length=settings["length"], **changes)
    model = kj.build(config, seed)
    std, n_residual = _std(config.decoder.d_model), 2 * config.decoder.n_layers
    seed_everything(seed)
    initialize_normal(model, std=std, n_residual=n_residual)
    if variant.get("products_as_dense"):
        for module in model.modules():
            if isinstance(module, LowRankFeedForward):
                _fill_product(module.w_up, std)
                _fill_product(module.w_down, std / math.sqrt(n_residual))
    return model


def _std(d_model: int) -> float:
    return 0.02 * math.sqrt(D_MODEL_OF_GPT_2 / d_model)


def _fill_product(thin: nn.Sequential, std: float) -> None:
    """Draw two thin matrices so that the entries of their product deviate by ``std``."""
    first, second = thin.get_parameter("0.weight"), thin.get_parameter("1.weight")
    rank, d_in = first.shape
    nn.init.normal_(first, std=d_in**-0.5)
    nn.init.normal_(second, std=std * math.sqrt(d_in / rank))


def without_feed_forward(model: CausalLM) -> CausalLM:
    """Take every feed-forward layer and its norm out of a model."""
    for block in model.decoder.blocks:
        if isinstance(block, Block):
            block.feed_forward, block.feed_forward_residual = nn.Identity(), NothingToAdd()
    return model


def train_one(settings: Mapping[str, Any], name: str, seed: int, peak_lr: float) -> dict[str, Any]:
    """Train one model and give its record."""
    model = build(settings, settings["variants"][name], seed)
    if name == "none":
        model = without_feed_forward(model)

    def evaluate(module: nn.Module) -> dict[str, float]:
        length, n = settings["length"], settings["n_validation"]
        return {"loss": kj.validation_loss(module, length=length, n_characters=n)}

    history = kj.train(model, {**settings, "peak_lr": peak_lr}, seed, evaluate=evaluate)
    stack = model.config.decoder
    return {
        "variant": name,
        "seed": seed,
        "peak_lr": peak_lr,
        "d_model": stack.d_model,
        "d_ff": 0 if name == "none" else stack.d_ff,
        "n_parameters": count_parameters(model),
        "seconds": history.train[-1]["seconds"],
        "loss": history.evaluations[-1]["loss"],
        "curve": [[e["step"], round(e["loss"], 5)] for e in history.evaluations],
    }


def train_memory(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Train and save the model that is taken apart; give its record."""
    model = build(settings, {}, settings["seed"])

    def evaluate(module: nn.Module) -> dict[str, float]:
        return {"loss": kj.validation_loss(module, length=settings["length"])}

    history = kj.train(model, settings, settings["seed"], evaluate=evaluate)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, model, dtype=torch.float16)
    return {
        "n_parameters": count_parameters(model),
        "seconds": history.train[-1]["seconds"],
        "curve": [[e["step"], round(e["loss"], 5)] for e in history.evaluations],
    }


def plan(settings: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """List every (variant, seed, learning rate), in the order of training."""
    return [
        (name, seed, peak_lr)
        for group in settings["groups"]
        for seed in group["seeds"]
        for peak_lr in group["peak_lrs"]
        for name in group["variants"]
    ]


def main() -> None:
    """Train every model that the log does not hold yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    package = HERE.parents[1] / "tfbook"
    parser.add_argument("--log", type=Path, default=package / "book/logs/feed_forward.json")
    model_path = package / "pretrained/feed_forward/king-james.safetensors"
    parser.add_argument("--model", type=Path, default=model_path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = json.loads(arguments.settings.read_text())
    log = kj.open_log(arguments.log, settings)
    done = {(run["variant"], run["seed"], run["peak_lr"]) for run in log["runs"]}
    todo = [run for run in plan(settings) if run not in done]
    if not any(run["variant"] == "memory" for run in log["runs"]) or not arguments.model.exists():
        record = train_memory(settings["memory"], arguments.model)
        others = [run for run in log["runs"] if run["variant"] != "memory"]
        memory = {"variant": "memory", "seed": settings["memory"]["seed"]}
        log["runs"] = [{**memory, "peak_lr": settings["memory"]["peak_lr"], **record}, *others]
        kj.write_log(arguments.log, log)
    for name, seed, peak_lr in tqdm(todo, unit="model"):
        log["runs"].append(train_one(settings, name, seed, peak_lr))
        kj.write_log(arguments.log, log)


if __name__ == "__main__":
    main()
