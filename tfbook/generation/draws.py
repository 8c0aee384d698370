"""Random draws that depend on a sequence's own seed, never on what else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import require

BLOCK = 64


class Uniforms:
    r"""Numbers from :math:`[0, 1)`, one stream for each sequence.

    Args:
        seeds: one for all, one for each prompt, or none: then torch's global generator serves.
        n_prompts: prompts in the batch.
        copies: sequences for each prompt.

    Raises:
        ValueError: the number of seeds is neither one nor that of the prompts.

    Example:
        >>> Uniforms([7], n_prompts=3).next()[:2].equal(Uniforms([7], n_prompts=2).next())
        True

    Source: none; the streams are those of NumPy's ``SeedSequence``. Chapter: 23.
    """

    def __init__(self, seeds: Sequence[int], *, n_prompts: int, copies: int = 1) -> None:
        require(
            len(seeds) in (0, 1, n_prompts),
            f"seed has {len(seeds)} numbers for {n_prompts} prompts; give one for all, or one each",
        )
        self._rows = n_prompts * copies
        if len(seeds) == 1:
            keys = [(seeds[0], row) for row in range(self._rows)]
        else:
            keys = [(seed, copy) for seed in seeds for copy in range(copies)]
        self._generators = [np.random.default_rng(key) for key in keys]
        self._block, self._used = torch.empty(self._rows, 0, dtype=torch.float64), 0

    def next(self) -> Float[Tensor, "rows"]:
        """Give the next number of every stream, float64 on the CPU, ``(rows,)``."""
        if self._used == self._block.shape[1]:
            self._block, self._used = self._fresh(), 0
        self._used += 1
        return self._block[:, self._used - 1]

    def _fresh(self) -> Tensor:
        if not self._generators:
            return torch.rand(self._rows, 1, dtype=torch.float64, device="cpu")
        drawn = np.stack([generator.random(BLOCK) for generator in self._generators])
        return torch.from_numpy(drawn)


def draw(p: Float[Tensor, "rows vocab"], uniforms: Float[Tensor, "rows"]) -> Int[Tensor, "rows"]:
    r"""Draw one token from every row by inverting its distribution function.

    .. math:: w = \min \{ v : \textstyle\sum_{u \le v} p_u > U \sum_u p_u \}

    A token of probability 0 is never drawn.

    Args:
        p: probabilities, or weights in proportion to them.
        uniforms: :math:`U`, in ``[0, 1)``.

    Returns:
        Token ids, ``(rows,)``.

    Example:
        >>> draw(torch.tensor([[0.5, 0.0, 0.5]]), torch.tensor([0.5], dtype=torch.float64))
        tensor([2])

    Source: Devroye 1986, section II.2. Chapter: 23.
    """
    # Sums of many small float32 numbers would lose the tail; MPS has no float64.
    precise = torch.float32 if p.device.type == "mps" else torch.float64
    mass = p.cumsum(dim=-1, dtype=precise)
    wanted = uniforms.to(p.device, precise)[:, None] * mass[:, -1:]
    return torch.searchsorted(mass, wanted, right=True)[:, 0].clamp(max=p.shape[-1] - 1)
