"""Absolute positions: a vector per position, added to the token's."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_positive
from tfbook.drawing import normal_parameter
from tfbook.positions.frequencies import angle_dtype, frequencies, require_positions


def sinusoidal_table(
    n: int, d_model: int, *, base: float = 10_000.0, dtype: torch.dtype | None = None
) -> Float[Tensor, "n d_model"]:
    r"""Give the paper's table of sines and cosines, interleaved.

    .. math:: P_{t,2i} = \sin(t / base^{2i/d}), \qquad P_{t,2i+1} = \cos(t / base^{2i/d})

    Three layouts of these columns are in use; this is the paper's. Others put all sines
    first (Marian) or order the frequencies differently.

    Args:
        n: positions, tokens.
        d_model: width, even.
        base: the longest wavelength is ``2π·base`` tokens (nearly).
        dtype: of the table; None means PyTorch's default. The angles are computed in float64.

    Returns:
        Shape ``(n, d_model)``.

    Raises:
        ValueError: ``n`` is below one, or ``d_model`` is odd.

    Example:
        >>> sinusoidal_table(2, 4).round(decimals=2)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8400, 0.5400, 0.0100, 1.0000]])

    Source: Vaswani et al. 2017, section 3.5. Chapter: 11.
    """
    require_positive("n", n)
    require_positive("d_model", d_model)
    require(
        d_model % 2 == 0,
        f"d_model={d_model} must be even: columns come in pairs of a sine and a cosine; use "
        f"{d_model + 1}",
    )
    angles = torch.arange(n, dtype=torch.float64)[:, None] * frequencies(d_model, base=base)
    pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return rearrange(pairs, "n i two -> n (i two)").to(dtype or torch.get_default_dtype())


class SinusoidalPositions(nn.Module):
    r"""Add the paper's sines and cosines: :math:`y_t = x_t + P_t`.

    Args:
        max_length: positions in the table, tokens.
        d_model: width, even.

    Raises:
        ValueError: ``max_length`` is below one, or ``d_model`` is odd.

    Example:
        >>> SinusoidalPositions(8, 4)(torch.zeros(1, 3, 4), torch.arange(3)).shape
        torch.Size([1, 3, 4])

    Source: Vaswani et al. 2017, section 3.5. Chapter: 11.
    """

    table: Tensor

    def __init__(self, max_length: int, d_model: int) -> None:
        super().__init__()
        # Not a parameter and not saved: it follows from its sizes.
        self.register_buffer("table", sinusoidal_table(max_length, d_model), persistent=False)

    @property
    def max_length(self) -> int:
        """Positions in the table, tokens."""
        return self.table.shape[0]

    def forward(
        self, x: Float[Tensor, "batch n d_model"], positions: Int[Tensor, "*batch n"]
    ) -> Float[Tensor, "batch n d_model"]:
        """Add the rows of the given positions.

        Args:
            x: ``(batch, n, d_model)``.
            positions: ``(n,)`` or ``(batch, n)``, from 0.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: a position past the table, or positions of another shape or dtype.
        """
        require_positions(positions, *x.shape[:2])
        _require_in_table(positions, self.max_length)
        return x + self.table[positions].to(x.dtype)


class LearnedPositions(nn.Module):
    r"""Add a learned vector per position: :math:`y_t = x_t + P_t`, with :math:`P` a parameter.

    Args:
        max_length: positions in the table, tokens. There are none beyond it.
        d_model: width.

    Raises:
        ValueError: a size below one.

    Example:
        >>> LearnedPositions(8, 4)(torch.zeros(1, 3, 4), torch.arange(3)).shape
        torch.Size([1, 3, 4])

    Source: Gehring et al. 2017, section 3.1; Devlin et al. 2019. Chapter: 11.
    """

    def __init__(self, max_length: int, d_model: int) -> None:
        super().__init__()
        require_positive("max_length", max_length)
        require_positive("d_model", d_model)
        self.table = normal_parameter(max_length, d_model, std=0.02)

    @property
    def max_length(self) -> int:
        """Positions in the table, tokens."""
        return self.table.shape[0]

    def forward(
        self, x: Float[Tensor, "batch n d_model"], positions: Int[Tensor, "*batch n"]
    ) -> Float[Tensor, "batch n d_model"]:
        """Add the rows of the given positions.

        Args:
            x: ``(batch, n, d_model)``.
            positions: ``(n,)`` or ``(batch, n)``, from 0.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: a position past the table, or positions of another shape or dtype.
        """
        require_positions(positions, *x.shape[:2])
        _require_in_table(positions, self.max_length)
        return x + F.embedding(positions, self.table)


class LearnedFrequencies(nn.Module):
    r"""Add sines and cosines whose frequencies are trained; they start as the paper's.

    .. math:: y_{t,2i} = x_{t,2i} + \sin(t\, \omega_i), \qquad
              y_{t,2i+1} = x_{t,2i+1} + \cos(t\, \omega_i)

    There is no last position. The logarithms of the frequencies are the parameters: steps
    are relative, where one step in a slow frequency itself could overturn it. Li et al. train
    the frequencies themselves, from random ones, and put a small network behind the features.

    Args:
        d_model: width, even.
        base: of the frequencies at the start; the longest wavelength is ``2π·base`` tokens.

    Raises:
        ValueError: ``d_model`` is below one or odd, or ``base`` is not above 1; in the call,
            positions of another shape or dtype, or ``x`` of another width.

    Example:
        >>> LearnedFrequencies(4)(torch.zeros(1, 3, 4), torch.arange(3)).shape
        torch.Size([1, 3, 4])

    Source: Li et al. 2021, Learnable Fourier Features, section 3. Chapter: 12.
    """

    def __init__(self, d_model: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        start = frequencies(d_model, base=base).log()
        self.log_frequencies = nn.Parameter(start.to(torch.get_default_dtype()))

    def forward(
        self, x: Float[Tensor, "batch n d_model"], positions: Int[Tensor, "*batch n"]
    ) -> Float[Tensor, "batch n d_model"]:
        """Add the features of the given positions.

        Args:
            x: ``(batch, n, d_model)``.
            positions: ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: positions of another shape or dtype, or ``x`` of another width.
        """
        require_positions(positions, *x.shape[:2])
        d_model = 2 * self.log_frequencies.shape[0]
        require(
            x.shape[-1] == d_model,
            f"x has width {x.shape[-1]}, but these positions were made for d_model={d_model}; "
            "give both the same",
        )
        t = positions.to(angle_dtype(positions.device))
        angles = t.unsqueeze(-1) * self.log_frequencies.to(t.dtype).exp()
        pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)
        return x + rearrange(pairs, "... i two -> ... (i two)").to(x.dtype)


class ConcatenatedPositions(nn.Module):
    r"""Set a position's code beside the token's vector, in features of its own.

    .. math:: y_t = [\,x_t;\; P_t\,]

    **The width grows**: from ``d_token`` to ``d_token + d_position``. A model of width
    ``d_model`` takes embeddings of width ``d_model - d_position``.

    Args:
        code: any module of this file that adds a code of width ``d_position``.
        d_position: width of the code.

    Raises:
        ValueError: ``d_position`` is below one; in the call, whatever ``code`` refuses.

    Example:
        >>> code = SinusoidalPositions(8, 4)
        >>> ConcatenatedPositions(code, 4)(torch.zeros(1, 3, 10), torch.arange(3)).shape
        torch.Size([1, 3, 14])

    Source: Jaegle et al. 2021, Perceiver, the section on position encodings. Chapter: 11.
    """

    def __init__(self, code: Callable[[Tensor, Tensor], Tensor], d_position: int) -> None:
        super().__init__()
        require_positive("d_position", d_position)
        self.code, self.d_position = code, d_position

    def forward(
        self, x: Float[Tensor, "batch n d_token"], positions: Int[Tensor, "*batch n"]
    ) -> Float[Tensor, "batch n d_joined"]:
        """Append the codes of the given positions.

        Args:
            x: ``(batch, n, d_token)``.
            positions: ``(n,)`` or ``(batch, n)``.

        Returns:
            Shape ``(batch, n, d_token + d_position)``.

        Raises:
            ValueError: positions of another shape or dtype.
        """
        require_positions(positions, *x.shape[:2])
        nothing = x.new_zeros(*x.shape[:2], self.d_position)
        return torch.cat([x, self.code(nothing, positions)], dim=-1)


def _require_in_table(positions: Tensor, max_length: int) -> None:
    # A data-dependent check would break a compiled graph and wait for a GPU, where an
    # index out of range stops the kernel anyway.
    if positions.device.type != "cpu" or torch.compiler.is_compiling():
        return
    smallest, largest = map(int, torch.aminmax(positions))
    require(
        smallest >= 0 and largest < max_length,
        f"positions={smallest}…{largest} must lie in [0, max_length={max_length}); shorten the "
        "sequence or make the table with a larger max_length",
    )
