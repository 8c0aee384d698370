"""Chapter 10's claims fail when the classic bugs are planted in the package.

Each case runs the notebook's own cells, in order, with one bug in place, and expects the
claim that is there to catch it to raise.
"""

import matplotlib
import nbformat
import pytest
import torch
from repository import ROOT

import tfbook.training
from tfbook.attention import MultiHeadAttention, causal_mask, combine_masks, padding_mask
from tfbook.book import ClaimError
from tfbook.models import CausalLM, EncoderDecoder

matplotlib.use("Agg")
NOTEBOOK = ROOT / "notebooks" / "10-masks-and-cross-attention.ipynb"
FIRST_PART = ("import itertools", "def sees", "letters = ", "names = [")
TABLES = (
    *FIRST_PART,
    "def naive(",
    "def draw_mask",
    "strict = ",
    "visible_unmasked = ",
    "own_target = ",
)
FORWARD, PROJECT = MultiHeadAttention.forward, MultiHeadAttention.project


def run_claim(claim: str, needed: tuple[str, ...]) -> None:
    """Execute the cells that hold one of ``needed``, up to and including the claim's own."""
    cells = [c.source for c in nbformat.read(NOTEBOOK, 4).cells if c.cell_type == "code"]
    mark = f'    "{claim}",'
    last = next(i for i, cell in enumerate(cells) if mark in cell)
    names: dict[str, object] = {}
    for i, cell in enumerate(cells[: last + 1]):
        if i < last and not any(part in cell for part in needed):
            continue
        try:
            exec(compile(cell, f"cell {i}", "exec"), names)
        except (AssertionError, ClaimError):
            if i == last:
                raise  # earlier cells may notice the bug as well


def without_causality(self, x, context=None, *, causal=False, **arguments):
    return FORWARD(self, x, context, **arguments)


def without_diagonal(self, x, context=None, *, mask=None, causal=False, **arguments):
    if causal:
        mask = combine_masks(mask, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril(-1))
    return FORWARD(self, x, context, mask=mask, **arguments)


def without_context(self, x, context=None, **arguments):
    return PROJECT(self, x, None, **arguments)


def inverted_mask(self, source, lengths):
    return None if lengths is None else ~padding_mask(lengths, source.shape[1])


def top_left(n_q, n_k=None, *, device=None):
    return torch.ones(n_q, n_k or n_q, dtype=torch.bool).tril()


def all_targets_count(logits, targets, *, ignore_id=None, label_smoothing=0.0):
    return -logits.log_softmax(-1).gather(-1, targets[..., None]).mean()


def one_row_late(q, k, **arguments):
    weights = q @ k.mT / q.shape[-1] ** 0.5
    if arguments.get("causal"):
        weights = weights.masked_fill(~causal_mask(q.shape[-2], k.shape[-2]), -torch.inf)
    return weights.softmax(-1).roll(1, dims=-2)


def ignore_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = CausalLM.forward
    monkeypatch.setattr(
        CausalLM,
        "forward",
        lambda self, ids, *, mask=None, positions=None: forward(self, ids, mask=mask),
    )


def plant(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """Put one bug into the package."""
    match bug:
        case "no causality":
            monkeypatch.setattr(MultiHeadAttention, "forward", without_causality)
        case "no diagonal":
            monkeypatch.setattr(MultiHeadAttention, "forward", without_diagonal)
        case "inverted padding mask":
            monkeypatch.setattr(EncoderDecoder, "source_mask", inverted_mask)
        case "padding counts in the loss":
            monkeypatch.setattr(tfbook.training, "cross_entropy", all_targets_count)
        case "positions ignored":
            ignore_positions(monkeypatch)
        case "keys from the target":
            monkeypatch.setattr(MultiHeadAttention, "project", without_context)
        case "top-left triangle":
            monkeypatch.setattr("tfbook.attention.softmax.causal_mask", top_left)
        case "alignment read one step late":
            monkeypatch.setattr("tfbook.attention.recording.attention_weights", one_row_late)


PADDING = (*FIRST_PART, "chosen = [", "def losses")
LEFT = (*PADDING, "prompts = [")
CROSS = (*FIRST_PART, "chosen = [", "caught = []", "calls = []")
SEEN = (*CROSS, "sounds = [")
TRIANGLE = ("import itertools", "def naive(", "sdpa = ", "whole = attention")
ALIGNMENT = (
    *FIRST_PART,
    "chosen = [",
    "shipped = {",
    "def toy_language",
    "def percent(",
    "pairs = dict",
    "free_heads = ",
)
CASES = [
    ("no causality", "c005", TABLES),
    ("no diagonal", "c005", TABLES),
    ("no causality", "c123", (*FIRST_PART, "def target_gradient")),
    ("no causality", "c144", TABLES),
    ("inverted padding mask", "c013", PADDING),
    ("padding counts in the loss", "c013", PADDING),
    ("positions ignored", "b020", LEFT),
    ("keys from the target", "c083", CROSS),
    ("no causality", "c083", CROSS),
    ("no causality", "b025", SEEN),
    ("top-left triangle", "b024", TRIANGLE),
    ("alignment read one step late", "c146", ALIGNMENT),
]


@pytest.mark.parametrize(("bug", "claim", "needed"), CASES)
def test_the_claim_notices_the_bug(
    monkeypatch: pytest.MonkeyPatch, bug: str, claim: str, needed: tuple[str, ...]
) -> None:
    plant(monkeypatch, bug)
    with pytest.raises(ClaimError, match=claim):
        run_claim(claim, needed)


@pytest.mark.parametrize(("claim", "needed"), sorted({case[1:] for case in CASES}))
def test_without_a_bug_the_same_cells_pass(claim: str, needed: tuple[str, ...]) -> None:
    run_claim(claim, needed)
