"""The blocks of few bits in which GGUF files keep weights, and the numbers that they mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfbook.checks import require


@dataclass(frozen=True)
class BlockType:
    """One way to store weights.

    Args:
        name: as ggml calls it.
        n_weights: in a block.
        layout: of a block's bytes: ``scale`` and ``offset`` in float16, then the integers.
    """

    name: str
    n_weights: int
    layout: np.dtype[np.void] | np.dtype[np.generic]


# By the number that stands in the file.
BLOCKS = {
    0: BlockType("F32", 1, np.dtype("<f4")),
    1: BlockType("F16", 1, np.dtype("<f2")),
    2: BlockType("Q4_0", 32, np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])),
    3: BlockType("Q4_1", 32, np.dtype([("scale", "<f2"), ("offset", "<f2"), ("pairs", "u1", 16)])),
    8: BlockType("Q8_0", 32, np.dtype([("scale", "<f2"), ("integers", "i1", 32)])),
    30: BlockType("BF16", 1, np.dtype("<u2")),
}


def dequantize(raw: NDArray[np.uint8], kind: int) -> NDArray[np.float32]:
    r"""Give the weights that blocks stand for.

    .. math:: w = d\,q \ \text{(Q8\_0)}, \qquad w = d\,(q - 8) \ \text{(Q4\_0)}, \qquad
              w = d\,q + m \ \text{(Q4\_1)}

    In the types of four bits a byte holds two weights: the low half one of the block's first
    half, the high half one of its second.

    Args:
        raw: the bytes of whole blocks.
        kind: the number of the block type, a key of ``BLOCKS``.

    Returns:
        The weights in float32, one axis.

    Raises:
        ValueError: the bytes are no whole number of blocks.

    Example:
        >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes(range(32)), dtype=np.uint8)
        >>> dequantize(block, 8)[:4]
        array([0. , 0.5, 1. , 1.5], dtype=float32)

    Source: ggml, docs/gguf.md and ggml-common.h. Chapter: 24.
    """
    block = BLOCKS[kind]
    require(
        raw.size % block.layout.itemsize == 0,
        f"raw has {raw.size} bytes, but a block of {block.name} has {block.layout.itemsize}; pass "
        "whole blocks",
    )
    blocks = raw.view(block.layout)
    if block.name == "BF16":  # the upper half of float32
        return (blocks.astype(np.uint32) << 16).view(np.float32)
    if block.layout.names is None:
        return blocks.astype(np.float32)
    weights = np.empty((blocks.size, block.n_weights), dtype=np.float32)
    if "integers" in block.layout.names:
        weights[:] = blocks["integers"]
    else:
        half = block.n_weights // 2
        weights[:, :half] = blocks["pairs"] & 15
        weights[:, half:] = blocks["pairs"] >> 4
    if block.name == "Q4_0":
        weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    if "offset" in block.layout.names:
        weights += blocks["offset"].astype(np.float32)[:, None]
    return weights.reshape(-1)
