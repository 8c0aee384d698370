"""Reading GGUF: against the package ``gguf``, and what damaged and foreign files do."""

from __future__ import annotations

import hashlib
import random
import struct
from pathlib import Path

import gguf
import gguf_files
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind

from tfbook import hub
from tfbook.hub.ggml_blocks import BLOCKS, dequantize
from tfbook.hub.gguf import read_gguf

KINDS = [Kind.F32, Kind.F16, Kind.BF16, Kind.Q4_0, Kind.Q4_1, Kind.Q8_0]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return gguf_files.write_llama(tmp_path / "small.gguf", Kind.Q4_1)


def equal_to_the_package(path: Path, *, every: int = 1) -> None:
    values, tensors = read_gguf(path)
    theirs = gguf.GGUFReader(path)
    fields = {k: f.contents() for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
    assert values == fields
    assert list(tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors[::every]:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(tensors[tensor.name].numpy(), expected), tensor.name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_equal_to_the_package_gguf(tmp_path: Path, kind: Kind) -> None:
    equal_to_the_package(gguf_files.write_llama(tmp_path / "small.gguf", kind))


def test_every_kind_of_value(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "values.gguf", "llama")
    adds = [
        (writer.add_uint8, 255),
        (writer.add_int8, -7),
        (writer.add_uint16, 65_535),
        (writer.add_int16, -300),
        (writer.add_uint32, 2**32 - 1),
        (writer.add_int32, -70_000),
        (writer.add_float32, 0.5),
        (writer.add_uint64, 2**64 - 1),
        (writer.add_int64, -(2**40)),
        (writer.add_float64, 1e-300),
        (writer.add_bool, True),
        (writer.add_string, "naïve 日本"),
        (writer.add_array, ["a", "", "日"]),
        (writer.add_array, [1, -2, 3]),
        (writer.add_array, [0.5, 0.25]),
        (writer.add_array, [True, False]),
    ]
    for index, (add, value) in enumerate(adds):
        add(f"value.{index}", value)
    writer.add_custom_alignment(64)
    writer.add_tensor("x", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    values, tensors = read_gguf(tmp_path / "values.gguf")
    for index, (_, value) in enumerate(adds):
        assert values[f"value.{index}"] == value
    assert torch.equal(tensors["x"], torch.arange(6.0).view(2, 3))


def test_smollm2_equal_to_the_package_gguf() -> None:
    path = hub.fetch(hub.SMOLLM2)
    values, tensors = read_gguf(path)
    assert (len(tensors), values["general.architecture"]) == (272, "llama")
    # The package takes seconds for its tables, so only some tensors are compared in full.
    for name in ("blk.7.attn_k.weight", "blk.29.ffn_down.weight", "output_norm.weight"):
        info = tensors.infos[name]
        raw = np.fromfile(path, dtype=np.uint8, count=info.n_bytes, offset=info.start)
        rows = raw.reshape(info.shape[0], -1) if info.kind else raw.view(np.float32)
        assert np.array_equal(tensors[name].numpy(), gguf.quants.dequantize(rows, Kind(info.kind)))


def test_blocks_by_hand() -> None:
    half, quarter = np.float16(0.5).tobytes(), np.float16(0.25).tobytes()
    pairs = bytes([0x21]) + bytes([0xF0]) * 15
    raw = np.frombuffer(half + quarter + pairs, dtype=np.uint8)
    weights = dequantize(raw, 3)  # Q4_1
    assert weights[:3].tolist() == [1 * 0.5 + 0.25, 0.25, 0.25]
    assert weights[16:19].tolist() == [2 * 0.5 + 0.25, 15 * 0.5 + 0.25, 15 * 0.5 + 0.25]
    weights = dequantize(np.frombuffer(half + pairs, dtype=np.uint8), 2)  # Q4_0
    assert weights[[0, 1, 16, 17]].tolist() == [-3.5, -4.0, -3.0, 3.5]
    with pytest.raises(ValueError, match=r"raw has 17 bytes, but a block of Q4_0 has 18"):
        dequantize(raw[:17], 2)
    assert {block.name for block in BLOCKS.values()} == {kind.name for kind in KINDS}


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04" + bytes(100)])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"foreign\.gguf is not a GGUF file: it starts with"):
        read_gguf(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read_gguf(tmp_path / "missing.gguf")


@pytest.mark.parametrize("version", [1, 4, 0x03000000])
def test_other_versions(tmp_path: Path, version: int) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", version, 0, 0))
    with pytest.raises(ValueError, match=rf"has GGUF version {version}, but .* reads 2 or 3"):
        read_gguf(path)


def test_truncated_anywhere(small: Path) -> None:
    content = small.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    cut = small.with_name("cut.gguf")
    for keep in [4, 10, 23, 30, 100, 1_000, 5_000, len(content) // 2, len(content) - 1]:
        cut.write_bytes(content[:keep])
        with pytest.raises(ValueError, match=r"cut\.gguf is truncated or damaged"):
            read_gguf(cut)
    assert hashlib.sha256(small.read_bytes()).hexdigest() == digest


def test_damaged_anywhere_gives_a_clear_error_or_other_numbers(small: Path) -> None:
    content = bytearray(small.read_bytes())
    damaged = small.with_name("damaged.gguf")
    generator = random.Random(0)
    header = content.index(b"blk.1.ffn_norm.weight") + 60
    refused = 0
    for _ in range(100):
        changed = bytearray(content)
        changed[generator.randrange(header)] ^= 1 << generator.randrange(8)
        damaged.write_bytes(changed)
        try:
            read_gguf(damaged)
        except ValueError as error:
            refused += "damaged.gguf" in str(error)
    assert refused > 10


def patched(small: Path, old: bytes, new: bytes) -> Path:
    content = small.read_bytes()
    assert old in content
    small.write_bytes(content.replace(old, new, 1))
    return small


def test_block_types_that_are_not_read(small: Path) -> None:
    name = b"blk.0.ffn_up.weight"
    shape = struct.pack("<IQQ", 2, gguf_files.D_MODEL, gguf_files.D_FF)
    patched(small, name + shape + struct.pack("<I", 3), name + shape + struct.pack("<I", 12))
    message = r"blk\.0\.ffn_up\.weight is of block type 12, but only F32, F16, Q4_0, Q4_1, Q8_0 or"
    with pytest.raises(ValueError, match=message):
        read_gguf(small)


def test_a_damaged_length_asks_for_no_memory(small: Path) -> None:
    # A list of 2**60 texts, and a text that is no UTF-8.
    name = b"tokenizer.ggml.merges"
    head = name + struct.pack("<II", 9, 8)
    huge = small.with_name("huge.gguf")
    huge.write_bytes(small.read_bytes())
    patched(huge, head + struct.pack("<Q", 2), head + struct.pack("<Q", 2**60))
    with pytest.raises(ValueError, match=r"damaged: a list of \d+ texts; get the file again"):
        read_gguf(huge)
    patched(small, b"th e", b"th\xff\xfe")
    with pytest.raises(ValueError, match=r"damaged: a text is not UTF-8"):
        read_gguf(small)
