"""Folders with config.json and safetensors, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import causal_lm, stack

from tfbook.models import from_huggingface, to_huggingface
from tfbook.models.convert.folder import read_folder, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GPT-2."""
    to_huggingface(causal_lm(decoder=stack(placement="pre")), tmp_path)
    return tmp_path


def test_a_folder_comes_back(tmp_path: Path) -> None:
    tensors = {"b.weight": torch.randn(3, 2).T, "a": torch.ones(2, dtype=torch.bfloat16)}
    write_folder(tmp_path / "x" / "y", {"model_type": "gpt2", "eps": 1e-12}, tensors)
    settings, back = read_folder(tmp_path / "x" / "y")
    assert settings == {"model_type": "gpt2", "eps": 1e-12}
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        write_folder(tmp_path / "x", {}, {})
    with pytest.raises(FileNotFoundError, match="x is no folder; give the one that holds"):
        read_folder(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "mine"


def test_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, {}, {"a": torch.ones(2)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_folder(tmp_path, {}, {"a": torch.zeros(2)})
    monkeypatch.undo()
    assert torch.equal(read_folder(tmp_path)[1]["a"], torch.ones(2))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; give the one that holds"):
        from_huggingface(tmp_path / "nowhere")


def test_missing_files(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "other")
    with pytest.raises(FileNotFoundError, match=r"holds no model.safetensors; give a folder with"):
        from_huggingface(folder)
    index = {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match=r"00001-of-00002.safetensors does not exist"):
        from_huggingface(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json does not exist; give a complete"):
        from_huggingface(folder)


def test_pickled_weights_are_not_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"wte.weight": torch.ones(2)}, folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"only .'pytorch_model.bin'., which would have to"):
        from_huggingface(folder)


def test_damaged_files(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"model.safetensors is truncated or not a safetensors"):
        read_folder(folder)
    (folder / "config.json").write_text('{"model_type": ')
    with pytest.raises(ValueError, match=r"config.json is no JSON"):
        from_huggingface(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config.json holds no JSON object"):
        from_huggingface(folder)


@pytest.mark.parametrize("where", [None, ["model.safetensors"], {}, {"wte.weight": 5}])
def test_an_index_that_names_no_files(folder: Path, where: object) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with pytest.raises(ValueError, match=r"has weight_map=.*, which must name the file of each te"):
        from_huggingface(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "a/b.safetensors", "/etc/passwd"])
def test_an_index_stays_in_its_folder(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"wte.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="they must lie in the same folder"):
        from_huggingface(folder)
