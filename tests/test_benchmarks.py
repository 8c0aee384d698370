"""The benchmarks run and compare like with like. Timings are never asserted."""

import math

import pytest
import torch
from parity import close, randomized
from torch import Tensor
from tqdm import tqdm

from benchmarks import (
    attending,
    choices,
    generating,
    language_model_tables,
    language_models,
    report,
    sections,
    tokenizing,
)
from benchmarks.__main__ import parser
from benchmarks.__main__ import run as measure_sections
from benchmarks.choices import NORMS, POSITIONS, peer_case
from benchmarks.timing import Timing, measure, n_calls
from benchmarks.training_step import PRECISIONS, SYSTEMS, Sizes, step

TINY = Sizes(vocab=31, d_model=8, n_heads=2, n_layers=2, length=5, batch=2)


def test_the_systems_have_the_same_size() -> None:
    counts = {
        name: sum(p.numel() for p in make(Sizes()).parameters())
        for name, (make, _) in SYSTEMS.items()
    }
    ours = counts.pop("tfbook")
    # x-transformers has no biases in attention; nothing else differs.
    without_biases = ours - 4 * 4 * 256
    assert counts.pop("x-transformers (flash)") == pytest.approx(without_biases, abs=4 * 1024)
    assert set(counts.values()) == {ours}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_learns(name: str, precision: str) -> None:
    run = step(name, precision, TINY)
    losses = [run() for _ in range(20)]
    assert math.isfinite(losses[-1])
    assert losses[-1] < losses[0]


#: Where another library's part keeps what a part of ours keeps, by the end of its name.
RENAMED = {
    "learned": {"positions.table": "positions.wpe.weight"},
    "t5": {"position_bias.table": "position_bias.t5.relative_attention_bias.weight"},
    "shaw": {f"w_{part}": f"vits.{part}_proj" for part in "qkv"}
    | {"w_o": "vits.out_proj"}
    | {f"relative.{part}_table": f"vits.emb_rel_{part[0]}" for part in ("key", "value")},
    "shaw, keys only": {"relative.key_table": "attend.layer.distance_embedding.weight"},
    "transformer_xl": {
        "relative.w_r": "attend.layer.linear_pos",
        "relative.u": "attend.layer.pos_bias_u",
        "relative.v": "attend.layer.pos_bias_v",
    },
    "scale_norm": {"norm.weight": "norm.g"},
    "batch_norm, bidirectional": {
        f"norm.{name}": f"norm.batchnorm.{name}"
        for name in ("weight", "bias", "running_mean", "running_var")
    },
}


def renamed(row: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    result = {}
    for name, value in state.items():
        for ours, theirs in RENAMED.get(row, {}).items():
            name = name.replace(ours, theirs)
        value = value[None] if ".emb_rel_" in name else value
        # x-transformers learns the gain as a multiple of √d_model.
        result[name] = value / TINY.d_model**0.5 if name.endswith(".g") else value
    return result


@pytest.mark.parametrize(
    ("choice", "row"),
    [
        pytest.param(choice, row, id=row)
        for row, choice in (POSITIONS | NORMS).items()
        if choice.theirs is not None
    ],
)
def test_the_parts_of_other_libraries_compute_the_same(choice: choices.Choice, row: str) -> None:
    assert choice.theirs is not None
    ours, theirs = randomized(choice.ours(TINY)).train(), choice.theirs(TINY).train()
    state = renamed(row, ours.state_dict())
    if row == "sinusoidal":  # Marian has all sines first
        table = ours.embedding.positions.table
        codes = theirs.embedding.positions.embedding.weight
        close(torch.cat([table[:, 0::2], table[:, 1::2]], dim=1), codes)
        state["embedding.positions.embedding.weight"] = table
    theirs.load_state_dict(state, strict=True)
    ids = torch.randint(0, TINY.vocab, (TINY.batch, TINY.length))
    close(ours(ids), theirs(ids))


@pytest.mark.parametrize("rows", [POSITIONS, NORMS])
def test_every_choice_learns(rows: dict[str, choices.Choice]) -> None:
    cases = choices.cases(rows, TINY)
    assert len(cases) == choices.n_cases(rows)
    for name, case in cases.items():
        losses = [case() for _ in range(5)]
        assert math.isfinite(losses[-1]), name
        assert losses[-1] < losses[0], name


def test_every_scheme_and_norm_has_a_row() -> None:
    from tfbook.models import config

    assert {name.split(",")[0] for name in POSITIONS} == set(config.POSITIONS)
    assert {name.split(",")[0] for name in NORMS} == set(config.NORMS)
    for rows in (POSITIONS, NORMS):
        assert {choice.plain for choice in rows.values()} < set(rows)


def test_measuring_in_turns() -> None:
    called: list[str] = []
    cases = {name: (lambda name=name: called.append(name)) for name in "abc"}
    with tqdm(disable=True) as bar:
        timings = measure(cases, repetitions=5, bar=bar)
    assert len(called) == n_calls(cases, 5) == 21
    assert all(sorted(called[i : i + 3]) == ["a", "b", "c"] for i in range(0, 21, 3))
    assert {len(t.seconds) for t in timings.values()} == {5}


def test_a_timing() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 10.0))
    assert timing.median == 3.0
    assert timing.spread == pytest.approx((7.0 - 1.5) / 2 / 3.0)


def test_ratios_within_repetitions() -> None:
    assert Timing((2.0, 6.0)).over(Timing((1.0, 2.0))) == (2.0, 3.0)


def test_the_other_cases_run() -> None:
    passes = [run() for run in attending.cases(7).values()]
    for reference, fused in zip(*passes, strict=True):
        torch.testing.assert_close(reference, fused)
    for run in generating.cases(1, 3).values():
        run()


WRITING = language_models.Writing(vocab_size=1000, batch=2, n_tokens=5)


def test_both_libraries_write_the_same() -> None:
    ours, *theirs = (run() for run in language_models.cases(WRITING).values())
    assert ours.shape == (2, 5)
    assert all(written.equal(ours) for written in theirs)


def test_the_tables_of_language_models() -> None:
    two = {name: Timing((t, t)) for name, t in zip("tds", (1.0, 2.0, 4.0), strict=True)}
    names = ("tfbook", "Hugging Face, dynamic", "Hugging Face, static")
    written = dict(zip(names, two.values(), strict=True))
    text = language_model_tables.written_table({WRITING: written})
    assert "| 1,000 | 2 | 5 | 10 | 5 | 2 | 2.00 |" in text
    tokens = {
        "tfbook": Timing((3.0, 3.0)),
        "tfbook, prompt": Timing((1.0, 1.0)),
        "linear layers alone": Timing((1.6, 1.6)),
    }
    text = language_model_tables.token_table({"int8": tokens}, 10)
    assert "| int8 | – | 200.0 ms | 160.0 ms | 1.25 |" in text


def test_both_tokenizers_give_the_same() -> None:
    made = tokenizing.cases("Python code")
    assert set(made) == set(tokenizing.CASES)
    for state in tokenizing.STATES:
        for _ in range(2):
            ours, theirs = (made[f"{state}, {system}"]() for system in tokenizing.SYSTEMS)
            assert ours == theirs


@pytest.mark.parametrize("name", tokenizing.OTHERS)
def test_the_other_tokenizers_give_the_same(name: str) -> None:
    made = tokenizing.other_cases(name)
    assert set(made) == set(tokenizing.OTHER_CASES)
    for state in tokenizing.STATES[1:]:
        ours, theirs = (made[f"{state}, {system}"]() for system in ("tfbook", "tokenizers"))
        assert ours == theirs


def test_the_page() -> None:
    one = Timing((1.0, 1.0))
    steps = {
        precision: {name: Timing((s, s)) for name, s in zip(SYSTEMS, seconds, strict=True)}
        for precision, seconds in zip(PRECISIONS, [(2, 4, 5, 6), (1, 2, 4, 3)], strict=True)
    }
    text = report.page(
        [
            report.training_table(steps, TINY),
            report.attention_table({7: {"attention": one, "fused_attention": one}}),
            tokenizing.tokenization_table({"code": dict.fromkeys(tokenizing.CASES, one)}),
            report.generation_table({(1, 3): {"cached": one, "uncached": one}}),
        ],
        repetitions=2,
    )
    assert "| tfbook | 2.000 s | 0.500 | 1.000 s | 0.500 | 0.50 |" in text
    assert "| HF GPT-2 | 4.000 s | 1.000 | 2.000 s | 1.000 | 0.50 |" in text
    assert f"- torch: {torch.__version__}" in text
    assert "| code | cold | 1000.00 ms | 1000.00 ms | 1.00 |" in text
    assert report.plain(steps)["float32"]["tfbook"] == [2, 2]


def test_the_table_of_choices() -> None:
    made = POSITIONS["rotary"].ours
    rows = {
        "none": choices.Choice(made, "none"),
        "rotary": choices.Choice(made, "none", made, "Llama"),
        "sandwich": choices.Choice(made, "none"),
    }
    timings = {
        "none": Timing((1.0, 2.0, 4.0)),
        "rotary": Timing((1.1, 2.2, 4.4)),
        peer_case("rotary"): Timing((1.2, 2.4, 4.8)),
        "sandwich": Timing((0.9, 1.8, 3.6)),
    }
    for write in (report.positions_table, report.norms_table):
        text = write(rows, timings, TINY)
        assert "| `none` | 2.000 s |  | – | – | – |" in text
        assert "| `rotary` | 2.200 s | +10.0% | Llama | +20.0% | 0.917 |" in text
        assert "| `sandwich` | 1.800 s | -10.0% | – | – | – |" in text


def test_a_run_of_some_sections() -> None:
    made = sections.sections(quick=True)
    assert tuple(made) == sections.NAMES
    text, data = measure_sections(quick=True, repetitions=2, only=["attention"])
    assert set(data) == {"machine", "attention"}
    assert "## The attention function" in text
    assert "adds" not in text


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args(["--help"])
    assert "--quick" in capsys.readouterr().out
