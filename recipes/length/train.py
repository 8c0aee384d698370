"""Beyond the trained length: one small language model with every position scheme.

    python recipes/length/train.py

Trains the same character model on the King James Bible with each scheme, three seeds, on windows
of 128 characters, and measures it on windows of 128 to 2048. The rotary model is measured again
with linear, dynamic and YaRN scaling put in after training. ``t5_faster`` is T5's bias with a
table that learns 30 times as fast: at the rate of the other weights 800 steps could not move its
numbers far. Losses go to ``tfbook/book/logs/length.json``. A run that is interrupted goes on at
the next model.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tfbook.evaluation import loss_by_position
from tfbook.models import CausalLM, count_parameters
from tfbook.positions import DynamicNTKScaling, LinearScaling, RotaryEmbedding, YaRNScaling

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import king_james  # noqa: E402

FASTER = "_faster"


class Faster(nn.Module):
    """A bias whose table is kept divided by ``rate``: each step of Adam moves it that much more."""

    def __init__(self, bias: nn.Module, rate: float) -> None:
        super().__init__()
        self.bias, self.rate = bias, rate
        with torch.no_grad():
            for table in bias.parameters():
                table.div_(rate)

    def forward(self, positions_q: Tensor, positions_k: Tensor) -> Tensor:
        """Give the bias of queries and keys at these positions."""
        return self.rate * self.bias(positions_q, positions_k)


def train_one(settings: dict[str, Any], positions: str, seed: int) -> dict[str, Any]:
    """Train one model and measure it at every length."""
    model = king_james.build(
        king_james.config(
            settings,
            max_length=max(settings["lengths"]),
            positions=positions.removesuffix(FASTER),
            scaled_embeddings=settings["scaled_embeddings"],
            # A table beside the embeddings leaves them narrower than the output layer.
            tie_output=positions != "concatenated",
        ),
        seed,
    )
    if positions.endswith(FASTER):
        model.decoder.position_bias = Faster(model.decoder.position_bias, settings["bias_rate"])
    began = time.process_time()
    history = king_james.train(
        model,
        settings,
        seed,
        evaluate=lambda m: {"loss": king_james.validation_loss(m, length=settings["length"])},
    )
    trained = time.process_time()
    model.eval()
    evaluations = measure(model, settings, scaling=None)
    if positions == "rotary":
        for scaling in settings["scalings"]:
            evaluations += measure(model, settings, scaling=scaling)
    return {
        "positions": positions,
        "seed": seed,
        "n_parameters": count_parameters(model),
        "cpu_seconds": round(trained - began, 1),
        "curve": [[e["step"], round(e["loss"], 5)] for e in history.evaluations],
        "evaluations": evaluations,
    }


def measure(
    model: CausalLM, settings: dict[str, Any], *, scaling: str | None
) -> list[dict[str, Any]]:
    """Give the loss at every length, over all positions and in buckets of them."""
    records = []
    for length in settings["lengths"]:
        if scaling is not None:
            set_scaling(model, scaling, trained=settings["length"], length=length)
        windows = king_james.held_out(length, settings["n_characters"])
        # In small batches: allocating the scores of many long windows costs more than filling them.
        losses = loss_by_position(model, windows, batch_tokens=4096)
        step = settings["bucket"]
        records.append(
            {
                "scaling": scaling,
                "length": length,
                "loss": round(losses.mean().item(), 5),
                "by_position": [
                    [first, first + step - 1, round(losses[first : first + step].mean().item(), 5)]
                    for first in range(0, length, step)
                ],
            }
        )
    return records


def set_scaling(model: nn.Module, name: str, *, trained: int, length: int) -> None:
    """Give a trained rotary model other frequencies. They have no weights."""
    scalings: dict[str, Callable[[], Any]] = {
        "linear": lambda: LinearScaling(length / trained),
        "dynamic": lambda: DynamicNTKScaling(1.0, trained),
        "yarn": lambda: YaRNScaling(length / trained, trained),
    }
    for module in model.modules():
        if isinstance(getattr(module, "rotate", None), RotaryEmbedding):
            old = module.rotate
            module.rotate = RotaryEmbedding(
                old.d_head, layout=old.layout, scaling=scalings[name]()
            ).to(next(model.parameters()).device)


def main() -> None:
    """Train every model that the log does not hold yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    package = HERE.parents[1] / "tfbook"
    parser.add_argument("--log", type=Path, default=package / "book" / "logs" / "length.json")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = json.loads(arguments.settings.read_text())
    log = king_james.open_log(arguments.log, settings)
    done = {(run["positions"], run["seed"]) for run in log["runs"]}
    plan = [(p, seed) for seed in settings["seeds"] for p in settings["positions"]]
    for positions, seed in tqdm(plan, unit="model"):
        if (positions, seed) not in done:
            log["runs"].append(train_one(settings, positions, seed))
            king_james.write_log(arguments.log, log)


if __name__ == "__main__":
    main()
