"""Language models on the King James Bible, from nothing: one on characters, one on BPE tokens.

    python recipes/king_james_lm/train.py --ship

Trains two decoders of one shape on the training split, validates them in nats per token and in
bits per byte, and writes weights, tokenizers and a log. A run that is interrupted goes on where it
stopped. Half an hour each on one core with bfloat16 instructions.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import king_james as kj  # noqa: E402

from tfbook.data import king_james  # noqa: E402
from tfbook.device import best_device, seed_everything  # noqa: E402
from tfbook.evaluation import loss_by_position, windows_of  # noqa: E402
from tfbook.files import write_atomic  # noqa: E402
from tfbook.models import (  # noqa: E402
    CausalLM,
    CausalLMConfig,
    StackConfig,
    count_parameters,
    save_model,
)
from tfbook.training import (  # noqa: E402
    FitConfig,
    History,
    WindowBatches,
    adamw,
    fit,
    linear_decay,
    next_token_loss,
)

PACKAGE = HERE.parents[1] / "tfbook"

Encode = Callable[[str], list[int]]


def build_tokenizer(name: str, settings: Mapping[str, Any], path: Path) -> Any:
    """Give the tokenizer of a model; the one of subwords is trained once and kept in ``path``."""
    if name == "characters":
        return kj.tokenizer()
    from tfbook.tokenizers import BPETokenizer

    if path.exists():
        return BPETokenizer.from_json(path.read_text(encoding="utf-8"))
    vocab_size = settings["models"][name]["vocab_size"]
    return BPETokenizer.train(king_james.load("train"), vocab_size=vocab_size, progress=True)


def build_model(name: str, settings: Mapping[str, Any], vocab_size: int) -> CausalLM:
    """Build the untrained model on the best device."""
    stack = StackConfig(**settings["stack"], dropout_p=settings["models"][name]["dropout_p"])
    config = CausalLMConfig(
        vocab_size=vocab_size,
        decoder=stack,
        max_length=settings["length"],
        positions=settings["positions"],
    )
    return kj.build(config, settings["seed"])


def encode_all(encode: Encode, pieces: Sequence[str]) -> list[Tensor]:
    """Give the ids of each piece of text."""
    return [torch.tensor(encode(piece)) for piece in pieces]


def validation(encode: Encode, settings: Mapping[str, Any]) -> tuple[Tensor, float]:
    """Give held-out windows, and how many bytes one of their tokens stands for on average.

    They are the beginnings of the five held-out pieces, in equal parts.
    """
    pieces = king_james.load("validation")
    part = settings["n_validation_characters"] // len(pieces)
    texts = [piece[:part] for piece in pieces]
    ids = encode_all(encode, texts)
    n_bytes = sum(len(text.encode()) for text in texts)
    return windows_of(ids, settings["length"]), n_bytes / sum(map(len, ids))


def train(
    model: CausalLM, encode: Encode, name: str, settings: Mapping[str, Any], folder: Path
) -> History:
    """Train a model, or go on with the newest checkpoint in the folder."""
    own = settings["models"][name]
    batches = WindowBatches(
        encode_all(encode, king_james.load("train")),
        length=settings["length"],
        batch_size=settings["batch_size"],
        seed=settings["seed"],
    )
    windows, bytes_per_token = validation(encode, settings)
    device = best_device()

    def evaluate(module: nn.Module) -> dict[str, float]:
        loss = loss_by_position(module, windows).mean().item()
        return {"loss": loss, "bits_per_byte": loss / math.log(2) / bytes_per_token}

    def schedule(step: int) -> float:
        return linear_decay(
            step, peak=own["peak_lr"], warmup=settings["warmup"], n_steps=own["n_steps"]
        )

    seed_everything(settings["seed"])
    return fit(
        model,
        next_token_loss,
        lambda step: batches.batch(step).to(device),
        optimizer=adamw(model, lr=own["peak_lr"], weight_decay=settings["weight_decay"]),
        schedule=schedule,
        config=FitConfig(
            n_steps=own["n_steps"],
            evaluate_every=settings["evaluate_every"],
            save_every=settings["save_every"],
        ),
        evaluate=evaluate,
        folder=folder,
    )


def record(model: nn.Module, tokenizer: Any, history: History) -> dict[str, Any]:
    """Give the part of the log that one model fills."""
    shown = ("loss", "learning_rate", "gradient_norm", "seconds", "bits_per_byte")
    brief = [
        [{"step": r["step"], **{k: round(r[k], 5) for k in shown if k in r}} for r in records]
        for records in (history.train, history.evaluations)
    ]
    return {
        "n_parameters": count_parameters(model),
        "vocab_size": tokenizer.vocab_size,
        "threads": torch.get_num_threads(),
        "train": brief[0],
        "evaluations": brief[1],
    }


def train_one(name: str, settings: Mapping[str, Any], output: Path) -> None:
    """Train one model and write its weights, its tokenizer and its part of the log."""
    output.mkdir(parents=True, exist_ok=True)
    tokenizer_path = output / f"{name}-tokenizer.json"
    tokenizer = build_tokenizer(name, settings, tokenizer_path)
    write_atomic(tokenizer_path, tokenizer.to_json().encode())
    model = build_model(name, settings, tokenizer.vocab_size)
    print(f"{name}: {count_parameters(model):,} parameters", flush=True)
    history = train(model, tokenizer.encode, name, settings, output / f"{name}-checkpoints")
    save_model(output / f"{name}.safetensors", model.eval(), dtype=torch.float16)
    log = {
        "torch": torch.__version__,
        "device": str(best_device()),
        **record(model, tokenizer, history),
    }
    kj.write_log(output / f"{name}-log.json", log)


def ship(names: Sequence[str], settings: Mapping[str, Any], output: Path) -> None:
    """Copy weights and tokenizers into the package, and join the logs."""
    target = PACKAGE / "pretrained/king_james"
    target.mkdir(parents=True, exist_ok=True)
    log: dict[str, Any] = {
        "settings": settings,
        "data_sha256": king_james.DATA_SHA256,
        "models": {},
    }
    for name in names:
        for file in (f"{name}.safetensors", f"{name}-tokenizer.json"):
            shutil.copyfile(output / file, target / file)
        log["models"][name] = json.loads((output / f"{name}-log.json").read_text())
    kj.write_log(PACKAGE / "book/logs/king_james_lm.json", log)


def main() -> None:
    """Train the models that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    parser.add_argument("--output", type=Path, default=HERE / "run", help="folder of the run")
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--model", default=None, help="one of the models, such as characters")
    parser.add_argument("--ship", action="store_true", help="put the results into the package")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = json.loads(arguments.settings.read_text())
    names = [arguments.model] if arguments.model else list(settings["models"])
    for name in names:
        train_one(name, settings, arguments.output)
    if arguments.ship:
        ship(list(settings["models"]), settings, arguments.output)


if __name__ == "__main__":
    main()
