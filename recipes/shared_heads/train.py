"""Keys and values of their own, in groups, or one for all: small models of the King James Bible.

    python recipes/shared_heads/train.py

Trains character models that differ in how many heads of keys and values they have, each with
three seeds. Sharing saves weights as well; a variant spends them on wider feed-forward layers,
and another has one narrow head alone, whose cache is as small as multi-query's. Within a seed all
of them read the same windows in the same order. The losses go to
``tfbook/book/logs/shared_heads.json``. A run that is interrupted goes on at the next model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn, set_num_threads
from tqdm import tqdm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import king_james as kj  # noqa: E402

from tfbook.models import count_parameters  # noqa: E402


def train_one(settings: Mapping[str, Any], name: str, seed: int) -> dict[str, Any]:
    """Train one model and give its record."""
    config = kj.config(
        settings,
        max_length=settings["length"],
        positions=settings["positions"],
        **settings["variants"][name],
    )
    model = kj.build(config, seed)

    def evaluate(module: nn.Module) -> dict[str, float]:
        length, n = settings["length"], settings["n_validation"]
        return {"loss": kj.validation_loss(module, length=length, n_characters=n)}

    history = kj.train(model, settings, seed, evaluate=evaluate)
    stack = config.decoder
    return {
        "variant": name,
        "seed": seed,
        "n_heads": stack.n_heads,
        "n_kv_heads": stack.kv_heads,
        "d_ff": stack.d_ff,
        "n_parameters": count_parameters(model),
        "cache_bytes_per_token": model.new_cache(1, 1).n_bytes,
        "seconds": history.train[-1]["seconds"],
        "loss": history.evaluations[-1]["loss"],
        "curve": [[e["step"], round(e["loss"], 5)] for e in history.evaluations],
    }


def main() -> None:
    """Train every model that the log does not hold yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    # Chapters replot the log, so it travels with the package.
    default = HERE.parents[1] / "tfbook/book/logs/shared_heads.json"
    parser.add_argument("--log", type=Path, default=default)
    arguments = parser.parse_args()
    if arguments.threads:
        set_num_threads(arguments.threads)
    settings = json.loads(arguments.settings.read_text())
    log = kj.open_log(arguments.log, settings)
    done = {(run["variant"], run["seed"]) for run in log["runs"]}
    todo = [(n, s) for s in settings["seeds"] for n in settings["variants"] if (n, s) not in done]
    for name, seed in tqdm(todo, unit="model"):
        log["runs"].append(train_one(settings, name, seed))
        kj.write_log(arguments.log, log)


if __name__ == "__main__":
    main()
