import pytest
import torch
from torch import nn

from tfbook.drawing import normal_parameter


def test_it_is_what_randn_gives() -> None:
    torch.manual_seed(3)
    expected = torch.randn(7, 5) * 0.02
    torch.manual_seed(3)
    made = normal_parameter(7, 5, std=0.02)
    assert isinstance(made, nn.Parameter)
    assert made.requires_grad
    assert made.equal(expected)


def test_nothing_is_drawn_on_the_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.random.get_rng_state()
    monkeypatch.setattr(nn.init, "normal_", None)
    with torch.device("meta"):
        made = normal_parameter(7, 5, std=0.02)
    assert made.is_meta
    assert made.shape == (7, 5)
    assert torch.random.get_rng_state().equal(state)
