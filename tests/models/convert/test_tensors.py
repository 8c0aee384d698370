"""Layouts of fused and transposed weights, each undone by its inverse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tfbook.models.checkpoints import untied_state
from tfbook.models.convert.tensors import (
    Entry,
    fill,
    renamed,
    stacked_by_head,
    stacked_transposed,
    taken,
    transposed,
)

LAYOUTS = {
    "transposed": transposed("theirs", "ours"),
    "stacked": stacked_transposed("theirs", "ours"),
    "by head": stacked_by_head("theirs", "ours", 3),
}


@pytest.mark.parametrize("entries", LAYOUTS.values(), ids=LAYOUTS)
def test_split_undoes_join(entries: list[Entry]) -> None:
    for entry, shape in zip(entries, [(6, 5), (6,)], strict=True):
        parts = [torch.randn(shape) for _ in entry.ours]
        again = entry.split(entry.join(parts))
        assert len(again) == len(parts)
        assert all(torch.equal(a, b) for a, b in zip(again, parts, strict=True))


def test_three_parts_by_hand() -> None:
    """Two heads of one feature each; q, k and v are told by their tens."""
    q, k, v = (torch.tensor([10.0, 11.0]) + 10 * i for i in range(3))
    by_head = stacked_by_head("theirs", "ours", 2)[1]
    assert by_head.join([q, k, v]).tolist() == [10, 20, 30, 11, 21, 31]
    stacked = stacked_transposed("theirs", "ours")[1]
    assert stacked.join([q, k, v]).tolist() == [10, 11, 20, 21, 30, 31]


def on_meta() -> nn.Module:
    with torch.device("meta"):
        model = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2, bias=False)})
    model["b"].weight = model["a"].weight
    return model


ENTRIES = [*transposed("x", "a"), *renamed("y", "b")]


def test_fill_and_taken() -> None:
    model, tensors = on_meta(), {"x.weight": torch.randn(3, 2), "x.bias": torch.randn(2).double()}
    fill(model, ENTRIES, tensors, "there")
    assert model["b"].weight is model["a"].weight
    assert torch.equal(model["a"].weight, tensors["x.weight"].T.double())
    assert untied_state(model).keys() == {"a.weight", "a.bias"}
    again = taken(model, ENTRIES)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name].float(), t.float()) for name, t in tensors.items())


def test_tensors_that_do_not_fit() -> None:
    good = {"x.weight": torch.ones(3, 2), "x.bias": torch.ones(2)}
    with pytest.raises(ValueError, match=r"missing \['x.bias'\], superfluous \['y.bias'\]"):
        fill(on_meta(), ENTRIES, {"x.weight": torch.ones(3, 2), "y.bias": torch.ones(2)}, "there")
    with pytest.raises(ValueError, match=r"there: x.weight has shape \(2, 3\) .* shape \(3, 2\)"):
        fill(on_meta(), ENTRIES, good | {"x.weight": torch.ones(2, 3)}, "there")
