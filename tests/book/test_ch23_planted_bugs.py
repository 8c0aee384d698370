"""The headline claims of chapter 23 fail when the classic mistakes are planted."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.notebook_cells import NOTEBOOKS, run_cells

from tfbook.book import ClaimError
from tfbook.generation import Temperature, TopK, TopP
from tfbook.models import CausalLM, CausalLMConfig, StackConfig

NOTEBOOK = "23-decoding.ipynb"
VOCAB, PLACES = 997, 41


def cell(*markers: str) -> str:
    """The first code cell that holds each marker, one after the other."""
    cells = nbformat.read(NOTEBOOKS / NOTEBOOK, as_version=4).cells
    sources = [c.source for c in cells if c.cell_type == "code"]
    return "\n\n".join(next(s for s in sources if marker in s) for marker in markers)


def planted(right: str, wrong: str, *markers: str) -> str:
    """The cells with a mistake in them."""
    source = cell(*markers)
    assert right in source
    return source.replace(right, wrong)


# An experiment and the claim about it stand in neighbouring cells.
C006 = ("def at_temperature(", '"c006"')
C007 = ("def sizes(", '"c007"')
C061 = ("def spread_of(", '"c061"')
B123 = ("def every_sequence(", '"b123"')
B125 = ("def padded_on_the_right(", '"b125"')
B127 = ("hot = 1.5", '"b127"')
C208 = ("# Pearson's chi-square", '"c208"')


@pytest.fixture
def names() -> dict[str, Any]:
    """The chapter's imports, with random distributions, flat and peaked, for the real ones."""
    namespace = run_cells(NOTEBOOK, "setup(seed=0)")
    generator = torch.Generator().manual_seed(1)
    sharpness = torch.linspace(0.5, 4, PLACES)[:, None]
    namespace["real_logits"] = sharpness * torch.randn(PLACES, VOCAB, generator=generator)
    return namespace


@pytest.fixture
def tokens(names: dict[str, Any]) -> dict[str, Any]:
    """The same with a tiny model of random weights, whose tokens are bytes."""
    torch.manual_seed(3)
    stack = StackConfig(d_model=24, n_heads=3, d_ff=48, n_layers=2, placement="pre")
    model = CausalLM(CausalLMConfig(vocab_size=128, decoder=stack, max_length=90))
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    names["model"] = model.eval()
    names["tokenizer"] = SimpleNamespace(
        encode=lambda text: list(text.encode()), decode=lambda ids: str(ids), pad_id=0
    )
    names["prompts"] = [list(b"one prompt"), list(b"and another")]
    return names


def multiplied(tau: float) -> Any:
    return lambda ids, logits: logits * tau


class Short:
    """A nucleus without the token that crosses the line."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        best, order = logits.softmax(-1).sort(descending=True)
        out = best.cumsum(-1) > self.p
        out[:, 0] = False
        return logits.masked_fill(out.scatter(1, order, out), -torch.inf)


def test_c006_holds_for_any_logits(names: dict[str, Any]) -> None:
    exec(cell(*C006), names)


def test_logits_times_temperature_fail_c006(names: dict[str, Any]) -> None:
    names["Temperature"] = multiplied
    with pytest.raises(ClaimError, match="c006"):
        exec(cell(*C006), names)


def test_probabilities_over_temperature_fail_c006(names: dict[str, Any]) -> None:
    names["Temperature"] = lambda tau: lambda ids, z: (z.softmax(-1) / tau).log()
    with pytest.raises(ClaimError, match="c006"):
        exec(cell(*C006), names)


@pytest.mark.parametrize("wrong", [lambda p: TopK(40), Short])
def test_another_rule_for_the_nucleus_fails_c007(names: dict[str, Any], wrong: Any) -> None:
    names["probabilities"] = names["real_logits"].double().softmax(-1)
    p = names["probabilities"]
    names["spread"] = -(p * p.clamp(min=1e-300).log()).sum(-1)
    exec(cell(*C007), names)
    names["TopP"] = wrong
    with pytest.raises(ClaimError, match="c007"):
        exec(cell(*C007), names)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("total + gain", "gain"),  # ranked by the last token alone
        ("beams = candidates[:width]", "beams = candidates"),  # nothing is dropped
        ("beams = candidates[:width]", "beams = candidates[:1]"),  # greedy at every width
    ],
)
def test_a_wrong_beam_search_fails_c099(names: dict[str, Any], right: str, wrong: str) -> None:
    exec(cell("def beam("), names)
    exec(cell('"c099"'), names)
    exec(planted(right, wrong, "def beam("), names)
    with pytest.raises(ClaimError, match="c099"):
        exec(cell('"c099"'), names)


def test_an_ignored_length_penalty_fails_b123(names: dict[str, Any]) -> None:
    exec(cell(*B123), names)
    with pytest.raises(ClaimError, match="b123"):
        exec(planted("totals / n**alpha", "totals", *B123), names)


def test_draws_that_are_greedy_fail_c208(names: dict[str, Any]) -> None:
    p = torch.tensor([0.6, 0.1, 0.1, 0.05, 0.05, 0.02, 0.02, 0.02, 0.02, 0.02]).double()
    generator = torch.Generator().manual_seed(0)
    names |= {"p": p, "top": p.topk(8), "by_hand": [0]}
    for name, draws in (
        ("drawn", torch.multinomial(p, 400, replacement=True, generator=generator)),
        ("greedy", torch.zeros(400, dtype=torch.int64)),
    ):
        names["draws"] = draws
        names["seen"] = (draws[:, None] == names["top"].indices).sum(0).double()
        if name == "drawn":
            exec(cell(*C208), names)
        else:
            with pytest.raises(ClaimError, match="c208"):
                exec(cell(*C208), names)


def strategies() -> dict[str, list[tuple[float, float, float]]]:
    """Numbers of the kind that the chapter measures."""
    drawn = [(-2.0, 0.0, 0.95), (-2.1, 0.01, 0.94), (-2.2, 0.0, 0.93)]
    return {
        "greedy": [(-0.8, 0.15, 0.65)] * 3,
        "8 beams": [(-0.6, 0.15, 0.75)],
        "temperature 0.5": drawn,
        "top-k 40": drawn,
        "top-p 0.9": drawn,
        "temperature 1": [(a - 0.5, b, c) for a, b, c in drawn],
        "a human's text": [(-3.0, 0.0, 0.97)],
        "temperature 1.5": [(-9.0, 0.0, 1.0)],
    }


@pytest.mark.parametrize(
    "bug", ["none", "greedy draws", "draws repeat", "beams draw", "beams by chance"]
)
def test_strategies_that_do_not_differ_fail_c061(names: dict[str, Any], bug: str) -> None:
    measured = strategies()
    same, other = torch.ones(5, 3, 5).long(), torch.arange(75).view(5, 3, 5)
    texts = dict.fromkeys(measured, other)
    if bug == "draws repeat":
        texts["top-p 0.9"] = same
    if bug == "beams draw":
        measured["8 beams"] = measured["temperature 1"]
    names |= {"measured": measured, "texts": texts, "ROWS": list(measured), "model": None}
    names |= {"prompts": [[1]] * 5, "greedy": SimpleNamespace(ids=other[:, 0])}
    chosen = other[:, 1] if bug == "greedy draws" else other[1:2, 0].expand(3, -1)
    names["generate"] = lambda *_, **__: SimpleNamespace(ids=chosen)
    found = iter(other[:2] if bug == "beams by chance" else other[[0, 0]])
    names["generate_beams"] = lambda *_, **__: SimpleNamespace(ids=next(found))
    if bug == "none":
        exec(cell(*C061), names)
    else:
        with pytest.raises(ClaimError, match="c061"):
            exec(cell(*C061), names)


def test_padding_on_the_right_everywhere_fails_b125(tokens: dict[str, Any]) -> None:
    source = cell(*B125)
    exec(source, tokens)
    wrong = planted(
        "return generate(model, prompts, max_new_tokens=n).ids.tolist()",
        "return padded_on_the_right(prompts, n)",
        *B125,
    )
    with pytest.raises(ClaimError, match="b125"):
        exec(wrong, tokens)


def test_a_fixed_nucleus_fails_b127(names: dict[str, Any]) -> None:
    names["by_mass"] = names["cut"](TopP(0.9), names["real_logits"]).isfinite().sum(-1)
    exec(cell(*B127), names)
    names["Temperature"] = lambda tau: Temperature(1.0)
    with pytest.raises(ClaimError, match="b127"):
        exec(cell(*B127), names)
