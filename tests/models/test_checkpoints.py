import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny import causal_lm, classifier, encoder_decoder, masked_lm, stack, text_encoder
from torch import nn

from tfbook.compression import quantize_int8
from tfbook.models import (
    RotaryConfig,
    ScalingConfig,
    SentenceEncoder,
    StackConfig,
    load_model,
    save_model,
)
from tfbook.models.checkpoints import (
    build_model,
    load_untied_state,
    read_tensors,
    untied_state,
    write_tensors,
)

MODELS = {
    "encoder_decoder": lambda: encoder_decoder(
        share_embeddings=True, source_vocab_size=23, positions="learned"
    ),
    "causal_lm": causal_lm,
    "untied": lambda: causal_lm(tie_output=False),
    "text_encoder": text_encoder,
    "sentence_encoder": lambda: SentenceEncoder(text_encoder()),
    "masked_lm": masked_lm,
    "masked_lm, untied": lambda: masked_lm(tie_output=False),
    "classifier": classifier,
    "rotary": lambda: causal_lm(
        positions="rotary", output_bias=True, decoder=stack(rotary=ROTARY, **CHOICES)
    ),
}
ROTARY = RotaryConfig(
    base=77.0, d_rotary=4, scaling=ScalingConfig(kind="llama3", factor=3.0, original_length=5)
)
CHOICES: dict[str, Any] = dict(
    head_width=6, window=3, norm_eps=1e-3, placement="parallel_two_norms", attention_bias=False
)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_model_comes_back(make: Callable[[], Any], tmp_path: Path) -> None:
    model = make().train()
    save_model(tmp_path / "m.safetensors", model)
    back = load_model(tmp_path / "m.safetensors")
    assert type(back) is type(model)
    assert back.config == model.config
    assert not back.training
    for (name, theirs), (_, ours) in zip(
        back.named_parameters(), model.named_parameters(), strict=True
    ):
        assert theirs.equal(ours), name
    assert len(list(back.parameters())) == len(list(model.parameters()))  # ties are kept


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    model = causal_lm()
    save_model(tmp_path / "whole", model)
    save_model(tmp_path / "half", model, dtype=torch.float16)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "half")]
    n_bytes = 4 * sum(p.numel() for p in model.parameters())
    assert sizes[0] - sizes[1] == pytest.approx(n_bytes / 2, rel=0.02)
    back = load_model(tmp_path / "half")
    assert back.head.weight.dtype == torch.float32
    torch.testing.assert_close(back.head.weight, model.head.weight, atol=1e-3, rtol=1e-3)


def test_tied_tensors_are_stored_once() -> None:
    model = causal_lm()
    state = untied_state(model)
    assert "embedding.weight" in state
    assert "head.weight" not in state
    assert len(state) == len(list(model.parameters()))


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(2, 3, 5).transpose(0, 1),
        "b": torch.arange(7, dtype=torch.uint8),
        "empty": torch.zeros(0),
        "scalar": torch.tensor(3.0, dtype=torch.float64),
        "half": torch.randn(3).bfloat16(),
    }
    metadata = {"step": 3, "ä": [1.5, None, {"x": "y"}]}
    write_tensors(tmp_path / "t", tensors, metadata)
    back, said = read_tensors(tmp_path / "t")
    assert said == metadata
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].equal(tensor.cpu())


def small_file(folder: Path) -> Path:
    path = folder / "model.safetensors"
    write_tensors(path, {"w": torch.randn(3), "v": torch.randn(2)}, {"model": "x", "config": {}})
    return path


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=r"model.safetensors is truncated or not a safetensors"
        ):
            read_tensors(path)
        assert path.read_bytes() == whole[:length]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Of the header, of the metadata, of the hash itself, and of every number."""
    path = small_file(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match=r"model\.safetensors"):
                read_tensors(path)


def with_header(change: Callable[[dict[str, str]], None]) -> bytes:
    """A file of safetensors with another header."""
    tensors = {"w": torch.zeros(2)}
    header = {"format": "tfbook", "format_version": "1", "metadata": "{}", "sha256": "0" * 64}
    change(header)
    return safetensors.torch.save(tensors, metadata=header)


def npz(folder: Path) -> bytes:
    np.savez(folder / "x.npz", w=np.zeros(3))
    return (folder / "x.npz").read_bytes()


FOREIGN: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda _: b"", "truncated or not a safetensors file"),
    "random bytes": (lambda _: np.random.default_rng(0).bytes(999), "not a safetensors file"),
    "text": (lambda _: b"hello, world\n" * 9, "not a safetensors file"),
    "npz": (npz, "not a safetensors file"),
    "pickle": (lambda _: b"\x80\x04\x95" + bytes(50), "not a safetensors file"),
    "huge header": (lambda _: struct.pack("<Q", 1 << 60) + b"{}", "not a safetensors file"),
    "other safetensors": (
        lambda _: safetensors.torch.save({"w": torch.zeros(2)}),
        "is a safetensors file, but not one that this package wrote; convert it first",
    ),
    "newer": (
        lambda _: with_header(lambda h: h.update(format_version="2")),
        "has format version '2', but this release reads 1 to 1; upgrade tfbook",
    ),
    "no version": (lambda _: with_header(lambda h: h.pop("format_version")), "format version ''"),
    "odd version": (
        lambda _: with_header(lambda h: h.update(format_version="x")),
        "format version 'x'",
    ),
    "no hash": (lambda _: with_header(lambda h: h.pop("sha256")), "does not match its sha256"),
    "wrong hash": (lambda _: with_header(lambda h: None), "does not match its sha256; restore it"),
    "no metadata": (lambda _: with_header(lambda h: h.pop("metadata")), "does not match"),
}


@pytest.mark.parametrize(("make", "message"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_files(make: Callable[[Path], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(make(tmp_path))
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
        load_model(path)
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
        read_tensors(path)


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors does not exist"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match="check the path, or train the model first"):
        read_tensors(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_tensors(tmp_path)  # a folder is no file


def test_a_file_without_a_model(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", {}, {"step": 3})
    with pytest.raises(ValueError, match="holds no model; pass a file that save_model wrote"):
        load_model(tmp_path / "t")


def test_a_file_whose_tensors_do_not_fit_its_configuration(tmp_path: Path) -> None:
    save_model(tmp_path / "m", causal_lm())
    tensors, metadata = read_tensors(tmp_path / "m")
    metadata["config"]["vocab_size"] += 1
    write_tensors(tmp_path / "m", tensors, metadata)
    with pytest.raises(ValueError, match=r"embedding.weight has shape \(31, 22\), but .* \(32, 22"):
        load_model(tmp_path / "m")
    metadata["config"]["tie_output"] = False
    write_tensors(tmp_path / "m", tensors, metadata)
    with pytest.raises(ValueError, match=r"missing \['head.weight'\], superfluous nothing"):
        load_model(tmp_path / "m")


def test_only_models_of_this_package_are_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model='Linear' is unknown; use 'CausalLM', 'Encoder"):
        save_model(tmp_path / "m", nn.Linear(2, 2))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        save_model(tmp_path / "no" / "m", causal_lm())
    with pytest.raises(OSError, match="No such file or directory"):
        write_tensors(tmp_path / "no" / "m", {}, {})


def test_a_failed_write_leaves_the_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    save_model(path, causal_lm())
    before = path.read_bytes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_model(path, causal_lm(tie_output=False))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    load_model(path)


def test_build_model_reads_plain_values() -> None:
    config = json.loads(json.dumps({"vocab_size": 5, "decoder": vars(stack())}))
    built = build_model("CausalLM", config)
    assert built.config.decoder == stack()
    assert isinstance(built.config.decoder, StackConfig)


def test_a_file_of_an_earlier_release_loads(tmp_path: Path) -> None:
    """It lacks the fields that came later, which then have the values that they had unsaid."""
    model = causal_lm(decoder=stack(placement="pre"))
    names = "d_model n_heads d_ff n_layers n_kv_heads dropout_p norm placement activation bias"
    decoder = {name: getattr(model.config.decoder, name) for name in names.split()}
    config = {"vocab_size": 31, "decoder": decoder, "max_length": 19, "positions": "learned"}
    config |= {"scaled_embeddings": False, "tie_output": True}
    metadata = {"model": "CausalLM", "config": config}
    write_tensors(tmp_path / "old", untied_state(model), metadata)
    back, ids = load_model(tmp_path / "old"), torch.randint(31, (2, 7))
    assert back.config == model.config
    assert torch.equal(back(ids), model(ids))


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("GPT", {}, "kind='GPT' is unknown; use 'CausalLM', 'EncoderDecoder', 'Te"),
        ("CausalLM", {"vocab_size": 5}, "config does not describe a CausalLM .*decoder"),
        (
            "TextEncoder",
            {"vocab_size": 5, "encoder": vars(stack()), "depth": 5},
            "TextEncoder .*depth",
        ),
        ("CausalLM", {"decoder": {"d_model": 4}}, "config does not describe a CausalLM"),
        ("MaskedLM", {"encoder": {"vocab_size": 5}}, "config does not describe a MaskedLM"),
        (
            "CausalLM",
            {"vocab_size": 5, "decoder": vars(stack()) | {"rotary": {"speed": 3}}},
            "config does not describe a CausalLM .*speed",
        ),
    ],
)
def test_bad_configurations(kind: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(kind, config)


def test_weights_of_another_module_are_refused_and_change_nothing() -> None:
    layer = nn.Linear(3, 2)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    good = untied_state(nn.Linear(3, 2))
    for tensors, message in [
        ({"weight": good["weight"]}, r"here does not fit the model: missing \['bias'\], superfluo"),
        ({**good, "x": good["bias"]}, r"missing nothing, superfluous \['x'\]"),
        ({**good, "bias": torch.zeros(3)}, r"here: bias has shape \(3,\), but the model needs"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_untied_state(layer, tensors, "here")
    assert all(v.equal(before[k]) for k, v in layer.state_dict().items())


def test_a_model_that_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", causal_lm()
    save_model(path, model)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="weights of eight bits"):
        save_model(path, quantize_int8(causal_lm()))
    model.decoder.blocks[0].attention.w_q = nn.Identity()
    with pytest.raises(ValueError, match=r"missing \['decoder.blocks.0.attention.w_q"):
        save_model(path, model)
    assert path.read_bytes() == before
