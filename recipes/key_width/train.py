"""Additive or dot-product scores, narrow or wide keys: the same encoder-decoder with each.

    python recipes/key_width/train.py

Letters to phonemes with a small recurrent encoder-decoder and one attention. Only the score of
a query and a key changes, and the width of the two. First every score and width is tried with
three learning rates and one seed; then it is trained with its best rate and other seeds. One
width starts from PyTorch's own small weights as well, with a sweep of its own. What was measured
goes to ``tfbook/book/logs/key_width.json``. A run that is interrupted goes on at the next model.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tfbook.attention import AdditiveAttention, MultiplicativeAttention, attention
from tfbook.data import cmudict
from tfbook.device import best_device, seed_everything
from tfbook.files import write_atomic
from tfbook.models.recurrent_attention import AttendingGRU
from tfbook.tokenizers import CharacterTokenizer
from tfbook.training import FitConfig, LengthBatches, adamw, fit, linear_decay

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "g2p"))

from train import LETTERS, batch_maker, loss_function, pairs  # noqa: E402

Batch = tuple[Tensor, Tensor | None, Tensor, Tensor]
Run = dict[str, Any]
SWEEP_OF = {"main": "sweep", "small_start": "small_sweep"}
letters, phonemes = CharacterTokenizer(LETTERS), CharacterTokenizer(cmudict.PHONEMES)


def build_attention(score: str, d_hidden: int, width: int) -> nn.Module:
    """Build one attention: queries of ``d_hidden`` features, a context of twice as many."""
    if score == "additive":
        return AdditiveAttention(d_hidden, 2 * d_hidden, width)
    if score == "general":  # one matrix between query and context: no key width of its own
        w: nn.Module = nn.Linear(d_hidden, 2 * d_hidden, bias=False)
        return MultiplicativeAttention(w, attend=attention)
    # (x W_q) · (c W_k) = (x W_q W_kᵀ) · c: projected dot products are a general score of low rank.
    w = nn.Sequential(
        nn.Linear(d_hidden, width, bias=False), nn.Linear(width, 2 * d_hidden, bias=False)
    )
    scale = {"dot": 1.0, "scaled": width**-0.5}[score]
    return MultiplicativeAttention(w, scale=scale, attend=attention)


def build_model(settings: dict[str, Any], score: str, width: int) -> AttendingGRU:
    """Build one untrained model."""
    return AttendingGRU(
        build_attention(score, settings["d_hidden"], width),
        source_vocab_size=letters.vocab_size,
        target_vocab_size=phonemes.vocab_size,
        d_embedding=settings["d_embedding"],
        d_hidden=settings["d_hidden"],
    )


@torch.no_grad()
def start_at_unit_variance(model: AttendingGRU, batch: Batch) -> None:
    """Scale the projections so that queries and keys of a batch have variance one.

    That is what the 2017 paper supposes of them (footnote 4).
    """
    source, lengths, target_in, _ = batch
    context = model.encode(source, source_lengths=lengths)
    states = model.states(target_in, context)
    part = model.attention
    if isinstance(part, AdditiveAttention):
        w_q, w_k = part.w_q.weight, part.w_k.weight
        part.w_score.weight.normal_(std=part.w_score.in_features**-0.5)
        w_q.normal_(), w_k.normal_()
        w_q /= (states @ w_q.T).std()
        w_k /= (context @ w_k.T).std()
    else:
        w_q, w_k = part.w[0].weight, part.w[1].weight
        w_q.normal_(), w_k.normal_()
        w_q /= (states @ w_q.T).std()
        w_k /= (context @ w_k).std()


@torch.no_grad()
def look(model: AttendingGRU, batch: Batch) -> dict[str, float | None]:
    """Measure the scores and weights of a batch without padding."""
    model = copy.deepcopy(model).double().eval()  # weights must not underflow
    source, _, target_in, _ = batch
    weights = model.alignment(source, target_in)
    # Over the keys of a query log-weights and scores differ by a constant.
    return {
        "score_std": finite(weights.log().std(dim=-1).mean().item()),
        "largest_weight": finite(weights.max(dim=-1).values.mean().item()),
    }


def finite(value: float) -> float | None:
    """Round a number for the log; JSON has no NaN."""
    return round(value, 5) if math.isfinite(value) else None


class Task:
    """The words, in the batches of training and validation."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.batch_size, self.data = settings["batch_size"], pairs("train")
        self.make = batch_maker(self.data, letters, phonemes, best_device())
        self.lengths = [(len(word), len(said)) for word, said in self.data]
        # The dictionary is sorted: take words from all of it.
        every, n = pairs("validation"), settings["n_validation"]
        held_out = sorted(every[:: len(every) // n][:n], key=lambda pair: len(pair[0]))
        make = batch_maker(held_out, letters, phonemes, best_device())
        self.held_out = [make(range(i, min(i + 250, n))) for i in range(0, n, 250)]
        self.loss = loss_function(0.0, phonemes.pad_id)
        # Words of seven letters, and one length of pronunciation: nothing is padded.
        alike = [i for i, pair in enumerate(held_out) if (len(pair[0]), len(pair[1])) == (7, 6)]
        self.looked_at: Batch = make(alike)

    def batches(self, seed: int) -> LengthBatches:
        """Give the order of the training words."""
        return LengthBatches(self.lengths, batch_size=self.batch_size, seed=seed)

    def validation(self, model: nn.Module) -> dict[str, float]:
        """Measure the loss on held-out words, in nats per phoneme."""
        counts = [int((batch[3] != phonemes.pad_id).sum()) for batch in self.held_out]
        losses = [self.loss(model, batch).item() for batch in self.held_out]
        total = sum(loss * n for loss, n in zip(losses, counts, strict=True))
        return {"loss": total / sum(counts)}


def train_one(task: Task, settings: dict[str, Any], run: Run) -> Run:
    """Train one model and give its record."""
    seed_everything(run["seed"])
    model = build_model(settings, run["score"], run["width"]).to(best_device())
    batches = task.batches(run["seed"])
    if run["phase"] in ("sweep", "main") and run["score"] != "general":
        start_at_unit_variance(model, task.make(batches.indices(0)))
    began, before = time.process_time(), look(model, task.looked_at)
    n_steps = settings["n_steps"]
    history = fit(
        model,
        task.loss,
        lambda step: task.make(batches.indices(step)),
        optimizer=adamw(model, lr=run["rate"], weight_decay=0.0),
        schedule=lambda step: linear_decay(
            step, peak=run["rate"], warmup=settings["warmup"], n_steps=n_steps
        ),
        config=FitConfig(
            n_steps=n_steps, evaluate_every=settings["evaluate_every"], autocast=False
        ),
        evaluate=task.validation,
        progress=False,
    )
    return {
        **run,
        "loss": finite(history.evaluations[-1]["loss"]),
        "curve": [[e["step"], finite(e["loss"])] for e in history.evaluations],
        "start": before,
        "end": look(model, task.looked_at),
        "n_attention_parameters": sum(p.numel() for p in model.attention.parameters()),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def arms(settings: dict[str, Any]) -> list[tuple[str, int]]:
    """List every score with every width; the general score has none."""
    scores, widths = settings["scores"], settings["widths"]
    return [(score, width) for width in widths for score in scores] + [("general", 0)]


def small_arms(settings: dict[str, Any]) -> list[tuple[str, int]]:
    """List every score with the widths that start from small weights too."""
    scores, widths = settings["scores"], settings["small_start_widths"]
    return [(score, width) for width in widths for score in scores]


def plan(settings: dict[str, Any], done: list[Run]) -> Iterator[Run]:
    """Give the runs in order; later ones use the best rates of the sweeps, in ``done`` by then."""
    phases = {"main": arms(settings), "small_start": small_arms(settings)}
    for phase, these in phases.items():
        for rate in settings["rates"]:
            for score, width in these:
                yield dict(
                    phase=SWEEP_OF[phase],
                    score=score,
                    width=width,
                    seed=settings["sweep_seed"],
                    rate=rate,
                )
    best = best_rates(done)
    for seed in settings["seeds"]:
        for phase, these in phases.items():
            for score, width in these:
                rate = best[phase, score, width]
                yield dict(phase=phase, score=score, width=width, seed=seed, rate=rate)
                # Both starts of some forms, at these rates whatever the sweep says.
                if [score, width] in settings["compared_by_rate"]["arms"]:
                    for rate in settings["compared_by_rate"]["rates"]:
                        yield dict(phase=phase, score=score, width=width, seed=seed, rate=rate)


def best_rates(done: list[Run]) -> dict[tuple[str, str, int], float]:
    """Give the learning rate of the lowest loss in its sweep, for each phase, score and width."""
    best = {}
    for phase, sweep in SWEEP_OF.items():
        swept = [r for r in done if r["phase"] == sweep and r["loss"] is not None]
        for r in sorted(swept, key=lambda r: -r["loss"]):  # the last, lowest one stays
            best[phase, r["score"], r["width"]] = r["rate"]
    return best


def n_runs(settings: dict[str, Any]) -> int:
    """Count the runs, at most: some of the comparison by rate are in the plan already."""
    n = len(arms(settings)) + len(small_arms(settings))
    compared = settings["compared_by_rate"]
    by_rate = 2 * len(compared["arms"]) * len(compared["rates"])
    return len(settings["rates"]) * n + len(settings["seeds"]) * (n + by_rate)


def main() -> None:
    """Train every model that the log does not hold yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=None, help="processor threads")
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    package = HERE.parents[1] / "tfbook"
    parser.add_argument("--log", type=Path, default=package / "book" / "logs" / "key_width.json")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = json.loads(arguments.settings.read_text())
    log: dict[str, Any] = {
        "settings": settings,
        "data_sha256": cmudict.DATA_SHA256,
        "torch": torch.__version__,
        "device": str(best_device()),
        "threads": torch.get_num_threads(),
        "runs": [],
    }
    if arguments.log.exists() and json.loads(arguments.log.read_text())["settings"] == settings:
        log = json.loads(arguments.log.read_text())
    task, runs = Task(settings), log["runs"]
    for run in tqdm(plan(settings, runs), total=n_runs(settings), unit="model"):
        if any(run.items() <= record.items() for record in runs):
            continue
        runs.append(train_one(task, settings, run))
        write_atomic(arguments.log, json.dumps(log, indent=1, allow_nan=False).encode())


if __name__ == "__main__":
    main()
