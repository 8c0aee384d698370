import copy
from pathlib import Path

import pytest
import safetensors.torch
import torch
from parity import FLOATS, close
from torch import Tensor, nn

from tfbook.compression import Int8Linear
from tfbook.models.joined_weights import can_join, joined_product


def layers(dtype: torch.dtype = torch.float32, *, bias: bool = True) -> list[nn.Linear]:
    return [nn.Linear(16, n, bias=bias, dtype=dtype) for n in (3, 5, 2)]


def apart(parts: list[nn.Linear] | list[Int8Linear], x: Tensor) -> Tensor:
    return torch.cat([part(x) for part in parts], dim=1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("dtype", FLOATS)
@torch.no_grad()
def test_one_product_does_the_work_of_all(dtype: torch.dtype, batch: int, bias: bool) -> None:
    parts, x = layers(dtype, bias=bias), torch.randn(batch, 16, dtype=dtype)
    expected, state = apart(parts, x), copy.deepcopy([part.state_dict() for part in parts])
    close(joined_product(parts)(x), expected)
    assert apart(parts, x).equal(expected)
    for part, before in zip(parts, state, strict=True):
        assert all(part.state_dict()[name].equal(value) for name, value in before.items())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 16, 17])
@torch.no_grad()
def test_half_precision_and_integers(batch: int, bias: bool) -> None:
    parts, x = layers(torch.bfloat16, bias=bias), torch.randn(batch, 16).bfloat16()
    close(joined_product(parts)(x), apart(parts, x))
    quantized = [Int8Linear.from_linear(part) for part in parts]
    close(joined_product(quantized)(x), apart(quantized, x))


@torch.no_grad()
def test_no_weight_is_stored_twice() -> None:
    parts = layers()
    product = joined_product(parts)
    tables = {part.weight.untyped_storage().data_ptr() for part in parts}
    assert len(tables) == 1
    assert parts[0].weight.untyped_storage().nbytes() == 4 * 16 * (3 + 5 + 2)
    # Joined once, they stay where they are; written into, the product knows.
    joined_product(parts)
    assert {part.weight.untyped_storage().data_ptr() for part in parts} == tables
    parts[1].load_state_dict({"weight": torch.zeros(5, 16), "bias": torch.ones(5)})
    assert product(torch.randn(1, 16))[0, 3:8].tolist() == [1.0] * 5
    parts[1].double()
    assert parts[1].weight.untyped_storage().data_ptr() not in tables


def test_joined_layers_still_train_copy_and_save(tmp_path: Path) -> None:
    model = nn.ModuleList(layers())
    with torch.inference_mode():
        joined_product(list(model))
    sum(part(torch.randn(2, 16)).square().mean() for part in model).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    clone = copy.deepcopy(model)
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    for name, value in safetensors.torch.load_file(path).items():
        assert value.equal(model.state_dict()[name])
        assert value.equal(clone.state_dict()[name])


def test_what_cannot_be_joined() -> None:
    one = nn.Linear(16, 3)
    assert can_join([one])
    assert can_join([one, nn.Linear(16, 5)])
    assert not can_join([one, nn.Linear(16, 5, bias=False)])
    assert not can_join([one, nn.Linear(8, 5)])
    assert not can_join([one, nn.Linear(16, 5).double()])
    assert not can_join([one, Int8Linear.from_linear(nn.Linear(16, 5))])
    assert not can_join([nn.Tanh()])
