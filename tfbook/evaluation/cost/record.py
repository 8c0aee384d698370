"""What a cost consists of, and what it depends on besides the sizes of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tfbook.checks import require, require_positive

FLOAT32_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a layer or a model is run on.

    Args:
        n: tokens in a sequence; in an encoder-decoder, of the target.
        batch: sequences.
        n_context: tokens of the context that cross-attention reads; None where there is none.
        dtype: of parameters and activations.
        fused: whether attention runs in PyTorch's fused kernel or, step by step, in
            ``SDPBackend.MATH``. Fused, autograd saves fewer bytes, and the backward pass
            multiplies queries and keys once more.

    Raises:
        ValueError: a size below one, or a dtype that is not floating point.

    Example:
        >>> Workload(n=128, batch=2).tokens
        256

    Source: none; the arguments that all costs share. Chapter: 16.
    """

    n: int
    batch: int = 1
    n_context: int | None = None
    dtype: torch.dtype = torch.float32
    fused: bool = True

    def __post_init__(self) -> None:
        """Check the sizes and the dtype."""
        require_positive("n", self.n)
        require_positive("batch", self.batch)
        if self.n_context is not None:
            require_positive("n_context", self.n_context)
        require(
            self.dtype.is_floating_point,
            f"dtype={self.dtype} must be floating point, or there is no gradient; use float32",
        )

    @property
    def tokens(self) -> int:
        """Tokens in the batch."""
        return self.batch * self.n

    @property
    def element_size(self) -> int:
        """Bytes of one activation."""
        return self.dtype.itemsize

    @property
    def statistic_size(self) -> int:
        """Bytes of one mean, deviation or log-sum, which are kept in at least float32."""
        return max(FLOAT32_SIZE, self.element_size)


@dataclass(frozen=True, kw_only=True)
class Cost:
    r"""What a layer or a model costs. Costs add up, and ``6 * cost`` is that of six.

    Only matrix products and convolutions are counted as work, as
    ``torch.utils.flop_counter.FlopCounterMode`` counts them; norms, softmax and activations
    are not. A causal product counts in full: a kernel that skips what is hidden does a little
    more than half of it.

    Args:
        parameters: trained numbers.
        multiply_adds: of a forward pass.
        training_multiply_adds: of a forward and a backward pass, whose input needs a gradient.
        saved_bytes: of the tensors that autograd keeps from the forward to the backward pass
            on a CPU, inputs included, each once, without parameters. Exact in float32 and
            float64. In half precision RMS norms keep more, in float32; a GPU keeps one byte
            of a dropout's feature where the CPU keeps a number.
        cache_bytes: what decoding carries from one token to the next.
        sequential_steps: the longest chain of operations that wait for each other, where
            an operation is an attention, a feed-forward, linear or convolutional layer, or one
            step of a recurrent one. Norms, residuals and look-ups are not counted.
        path_length: operations between the two positions that are farthest apart, along the
            shortest path. In a sum it is that of the part with the shortest; None where no
            single part joins them. (Give the dilations of a stack of convolutions in one call.)

    Example:
        >>> layer = Cost(parameters=6, multiply_adds=30, sequential_steps=1)
        >>> (2 * layer + layer).flops
        180

    Source: Vaswani et al. 2017, table 1 (work, sequential operations, path length).
    Chapter: 16.
    """

    parameters: int = 0
    multiply_adds: int = 0
    training_multiply_adds: int = 0
    saved_bytes: int = 0
    cache_bytes: int = 0
    sequential_steps: int = 0
    path_length: int | None = None

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass: two a multiply-add."""
        return 2 * self.multiply_adds

    @property
    def training_flops(self) -> int:
        """Floating-point operations of a forward and a backward pass."""
        return 2 * self.training_multiply_adds

    def __add__(self, other: Cost) -> Cost:
        """Give the cost of one part after the other."""
        paths = [p for p in (self.path_length, other.path_length) if p is not None]
        return Cost(
            parameters=self.parameters + other.parameters,
            multiply_adds=self.multiply_adds + other.multiply_adds,
            training_multiply_adds=self.training_multiply_adds + other.training_multiply_adds,
            saved_bytes=self.saved_bytes + other.saved_bytes,
            cache_bytes=self.cache_bytes + other.cache_bytes,
            sequential_steps=self.sequential_steps + other.sequential_steps,
            path_length=min(paths, default=None),
        )

    def __rmul__(self, times: int) -> Cost:
        """Give the cost of ``times`` such parts, one after the other.

        Args:
            times: how many, at least one.

        Returns:
            The sum.

        Raises:
            ValueError: ``times`` is below one.
        """
        require_positive("times", times)
        return Cost(
            parameters=times * self.parameters,
            multiply_adds=times * self.multiply_adds,
            training_multiply_adds=times * self.training_multiply_adds,
            saved_bytes=times * self.saved_bytes,
            cache_bytes=times * self.cache_bytes,
            sequential_steps=times * self.sequential_steps,
            path_length=self.path_length,
        )
