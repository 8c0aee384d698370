"""Read GGUF files: a table of named values, and tensors, many of them in blocks of few bits."""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tfbook.checks import listed, require
from tfbook.hub.ggml_blocks import BLOCKS, dequantize

VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_AXES = 4  # as in ggml

STRING, ARRAY = 8, 9
LENGTH = struct.Struct("<Q")
# The number of a type in the file, and the code under which NumPy knows it.
SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}

Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """Where a tensor of a GGUF file lies.

    Args:
        shape: rows first, as PyTorch counts. (The file counts the other way.)
        kind: the number of the block type, a key of ``BLOCKS``.
        start: of its bytes, from the beginning of the file.
        n_bytes: how many there are.
    """

    shape: tuple[int, ...]
    kind: int
    start: int
    n_bytes: int


class GGUFTensors(Mapping[str, Tensor]):
    """The tensors of a GGUF file, each read and turned into float32 when it is asked for.

    Args:
        path: the file.
        infos: where each tensor lies.

    Example:
        >>> GGUFTensors(Path("empty.gguf"), {}).keys()
        KeysView(GGUFTensors of 0 tensors in empty.gguf)
    """

    def __init__(self, path: Path, infos: Mapping[str, TensorInfo]) -> None:
        self.path, self.infos = path, dict(infos)

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        """Read one tensor."""
        info = self.infos[name]
        raw = np.fromfile(self.path, dtype=np.uint8, count=info.n_bytes, offset=info.start)
        return torch.from_numpy(dequantize(raw, info.kind)).reshape(info.shape)

    def __iter__(self) -> Iterator[str]:
        """Give the names in the order of the file."""
        return iter(self.infos)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self.infos)

    def __repr__(self) -> str:
        """Name the file, and not a billion numbers."""
        return f"GGUFTensors of {len(self)} tensors in {self.path.name}"


def read_gguf(path: str | os.PathLike[str]) -> tuple[dict[str, Value], GGUFTensors]:
    """Read a GGUF file's table of values, and find its tensors.

    Nothing of the file is run, and it is not changed. Every length in it is checked against the
    size of the file before it is believed.

    Args:
        path: the file, little-endian, of version 2 or 3.

    Returns:
        The values by name, and the tensors by name, read from the file when asked for.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is not GGUF, is truncated or damaged, or a tensor is of a block
            type that is not read here.

    Example:
        >>> path = getfixture("tmp_path") / "empty.gguf"
        >>> _ = path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 0))
        >>> read_gguf(path)
        ({}, GGUFTensors of 0 tensors in empty.gguf)

    Source: ggml, docs/gguf.md. Chapter: 24.
    """
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(4)
        require(
            start == b"GGUF",
            f"{path} is not a GGUF file: it starts with {start!r}; check the path",
        )
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = _Reader(path.name, memoryview(data))
    version, n_tensors, n_values = reader.unpack("<4xIQQ")
    require(
        version in VERSIONS,
        f"{path} has GGUF version {version}, but this package reads "
        f"{listed(VERSIONS)}, little-endian; convert the file",
    )
    values: dict[str, Value] = {}
    for _ in range(n_values):
        name = reader.string()
        values[name] = reader.value(*reader.unpack("<I"))
    infos = {}
    for _ in range(n_tensors):
        name = reader.string()
        infos[name] = reader.tensor_info(name)
    return values, GGUFTensors(path, _placed(infos, reader, values.get("general.alignment")))


def _placed(
    infos: Mapping[str, TensorInfo], reader: _Reader, alignment: Value | None
) -> dict[str, TensorInfo]:
    """Count the places of tensors from the beginning of the file, and check that they are in it."""
    step = DEFAULT_ALIGNMENT if alignment is None else alignment
    reader.must(isinstance(step, int) and step > 0, f"general.alignment is {step!r}")
    base = -(-reader.position // int(step)) * int(step)  # type: ignore[arg-type]
    placed = {}
    for name, info in infos.items():
        end = base + info.start + info.n_bytes
        reader.must(end <= reader.size, f"{name} ends at byte {end} of {reader.size}")
        placed[name] = TensorInfo(
            shape=info.shape, kind=info.kind, start=base + info.start, n_bytes=info.n_bytes
        )
    return placed


class _Reader:
    """Takes values from the beginning of a file, one after another."""

    def __init__(self, name: str, data: memoryview) -> None:
        self.name, self.data, self.position, self.size = name, data, 0, len(data)

    def must(self, condition: bool, what: str) -> None:
        """Raise unless the file can be right."""
        require(condition, f"{self.name} is truncated or damaged: {what}; get the file again")

    def take(self, n: int) -> memoryview:
        """Take ``n`` bytes."""
        start = self.position
        self.must(n <= self.size - start, f"{n} bytes from byte {start} on, of {self.size}")
        self.position += n
        return self.data[start : start + n]

    def unpack(self, layout: str) -> tuple[int, ...]:
        """Take integers."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def string(self) -> str:
        """Take a length and as many bytes of UTF-8."""
        return self.strings(1)[0]

    def strings(self, count: int) -> list[str]:
        """Take texts one after another. A vocabulary has many: no call is made for each."""
        # Each takes eight bytes at least, which bounds the work that a damaged count asks.
        self.must(8 * count <= self.size - self.position, f"a list of {count} texts")
        length_at, texts, stop = LENGTH.unpack_from, [], self.position
        try:
            for _ in range(count):
                start = stop + LENGTH.size
                stop = start + length_at(self.data, stop)[0]
                if stop > self.size:
                    break
                texts.append(str(self.data[start:stop], "utf-8"))
        except struct.error:  # no room for a length
            stop = self.size + 1
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.name} is truncated or damaged: a text is not UTF-8 ({error}); get the "
                "file again"
            ) from error
        self.must(stop <= self.size, f"a text ends at byte {stop} of {self.size}")
        self.position = stop
        return texts

    def value(self, kind: int) -> Value:
        """Take one value of a type given by its number."""
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            kind, count = self.unpack("<IQ")
            if kind == STRING:
                return self.strings(count)
            return self.numbers(kind, count)
        return self.numbers(kind, 1)[0]

    def numbers(self, kind: int, count: int) -> list[int] | list[float] | list[bool]:
        """Take numbers of one type."""
        self.must(kind in SCALARS, f"a value has the unknown type {kind}")
        dtype = np.dtype(SCALARS[kind])
        numbers: list[int] = np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist()
        return numbers

    def tensor_info(self, name: str) -> TensorInfo:
        """Take the description of one tensor; its place counts from the first tensor's."""
        (n_axes,) = self.unpack("<I")
        self.must(1 <= n_axes <= MAX_AXES, f"{name} has {n_axes} axes")
        shape = self.unpack(f"<{n_axes}Q")[::-1]
        kind, start = self.unpack("<IQ")
        kinds = [block.name for block in BLOCKS.values()]
        require(
            kind in BLOCKS,
            f"{self.name}: {name} is of block type {kind}, but only {listed(kinds)} are read; "
            "convert the file to one of these",
        )
        block = BLOCKS[kind]
        self.must(
            shape[-1] > 0 and shape[-1] % block.n_weights == 0,
            f"{name} has rows of {shape[-1]} in blocks of {block.n_weights}",
        )
        n_bytes = math.prod(shape) // block.n_weights * block.layout.itemsize
        return TensorInfo(shape=shape, kind=kind, start=start, n_bytes=n_bytes)
