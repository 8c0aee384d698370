"""What one decoding step has to read and to compute: weights, cache, products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tfbook.checks import require, require_positive
from tfbook.layers import Embedding
from tfbook.models import CausalLM, StackConfig
from tfbook.positions import LearnedPositions, SinusoidalPositions

# Of their tables a step reads one row for every token.
LOOK_UPS = (nn.Embedding, Embedding, LearnedPositions, SinusoidalPositions)


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What a step that adds one token to every sequence reads, and what it computes.

    Args:
        weight_bytes: of the weights, read once for all sequences.
        cache_bytes: of the keys and values of all sequences.
        flops: of the products with weights, keys and values.

    Example:
        >>> StepWork(weight_bytes=90, cache_bytes=10, flops=50).intensity
        0.5

    Source: Pope et al. 2023, section 2.1 (the two parts of memory time). Chapter: 24.
    """

    weight_bytes: int
    cache_bytes: int
    flops: int

    @property
    def n_bytes(self) -> int:
        """All bytes that are read."""
        return self.weight_bytes + self.cache_bytes

    @property
    def intensity(self) -> float:
        """FLOPs a byte."""
        return self.flops / self.n_bytes


def cache_bytes(
    config: StackConfig, length: int, *, batch: int = 1, dtype: torch.dtype = torch.float32
) -> int:
    r"""Count the bytes of the keys and values of a decoder.

    .. math:: 2 \cdot L \cdot h_{kv} \cdot d_h \cdot \min(n, w) \cdot \text{batch} \cdot b

    Args:
        config: of the decoder: layers, heads and window.
        length: tokens kept, ``n``.
        batch: sequences.
        dtype: of keys and values, ``b`` bytes each.

    Returns:
        Bytes.

    Raises:
        ValueError: a length or batch below one.

    Example:
        >>> config = StackConfig(d_model=768, n_heads=12, d_ff=3072, n_layers=12)
        >>> cache_bytes(config, 1024, dtype=torch.float16)
        37748736

    Source: Shazeer 2019, section 2.4.1; Ainslie et al. 2023, section 2.2. Chapter: 24.
    """
    require_positive("length", length)
    require_positive("batch", batch)
    kept = length if config.window is None else min(length, config.window)
    return 2 * config.n_layers * config.kv_heads * config.d_head * kept * batch * dtype.itemsize


def weight_bytes(model: nn.Module) -> int:
    """Count the bytes of the weights that every step reads whole.

    Of an embedding a step reads one row a token, which is left out; a table that is the output
    layer too counts once.

    Args:
        model: with linear layers of any type of weights, and norms.

    Returns:
        Bytes.

    Example:
        >>> weight_bytes(nn.Sequential(nn.Embedding(100, 3), nn.Linear(3, 2)))
        32

    Source: none. Chapter: 24.
    """
    return sum(tensor.nbytes for tensor in _read_whole(model))


def step_work(model: CausalLM, length: int, *, batch: int = 1) -> StepWork:
    r"""Count what a step of a language model reads and computes.

    .. math:: \text{FLOPs} = 2\, \text{batch}\, (N + 2\, L\, h\, d_h \min(n, w))

    ``N`` are the entries of its matrices, of which each is one multiply-add.

    Args:
        model: in any type of weights.
        length: tokens that the new one sees, itself included.
        batch: sequences.

    Returns:
        Bytes and operations.

    Raises:
        ValueError: a length or batch below one, or a length beyond the model's.

    Example:
        >>> from tfbook.models import CausalLMConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack))
        >>> step_work(model, 10).cache_bytes
        960

    Source: Kaplan et al. 2020, table 1 (two FLOPs a weight). Chapter: 24.
    """
    longest = model.config.max_length
    require(
        length <= longest,
        f"length={length} is beyond the model's max_length={longest}; give at most that",
    )
    stack, dtype = model.config.decoder, next(model.decoder.parameters()).dtype
    kept = cache_bytes(stack, length, batch=batch, dtype=dtype)
    # A query head multiplies with the keys and with the values of its group.
    attended = kept // dtype.itemsize * stack.n_heads // stack.kv_heads
    matrices = sum(tensor.numel() for tensor in _read_whole(model) if tensor.ndim == 2)
    return StepWork(
        weight_bytes=weight_bytes(model),
        cache_bytes=kept,
        flops=2 * (batch * matrices + attended),
    )


def _read_whole(model: nn.Module) -> Iterator[Tensor]:
    """The parameters and tables of all modules but look-ups, each once."""
    seen: set[int] = set()
    for module in model.modules():
        if isinstance(module, LOOK_UPS):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor
