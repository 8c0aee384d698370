"""From token ids to vectors."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_positive, require_probability
from tfbook.drawing import normal_parameter


class Embedding(nn.Module):
    r"""Look a token's vector up, scale it, and join its position.

    .. math:: x_t = \operatorname{position}(s \, E_{w_t},\, t), \qquad s = \sqrt{d_{model}}
              \text{ or } 1

    Args:
        vocab_size: tokens in the vocabulary.
        d_model: width.
        positions: joins ``(batch, n, d_model)`` and position indices; None leaves order out.
        scaled: multiply by √d_model, as the 2017 paper does, so that a table whose entries
            have variance 1/d_model (shared with the output layer) gives unit variance.
        dropout_p: probability of dropping a feature in training.
        norm: of the sum, before the dropout; None leaves it out.
        n_segments: kinds of segments (BERT's first and second sentence) with a vector each.

    Raises:
        ValueError: a size below one, or a probability outside ``[0, 1)``.

    Example:
        >>> Embedding(10, 4)(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 4])

    Source: Vaswani et al. 2017, section 3.4. Chapter: 15.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        *,
        positions: Callable[[Tensor, Tensor], Tensor] | None = None,
        scaled: bool = True,
        dropout_p: float = 0.0,
        norm: nn.Module | None = None,
        n_segments: int = 0,
    ) -> None:
        super().__init__()
        require_positive("vocab_size", vocab_size)
        require_positive("d_model", d_model)
        require_probability("dropout_p", dropout_p)
        self.weight = normal_parameter(vocab_size, d_model, std=d_model**-0.5)
        self.positions = positions
        self.scale = math.sqrt(d_model) if scaled else 1.0
        self.dropout_p, self.norm = dropout_p, norm
        self.segments = normal_parameter(n_segments, d_model, std=0.02) if n_segments else None

    def forward(
        self,
        ids: Int[Tensor, "batch n"],
        positions: Int[Tensor, "*batch n"] | None = None,
        *,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Embed token ids.

        Args:
            ids: ``(batch, n)``, each in ``[0, vocab_size)``.
            positions: ``(n,)`` or ``(batch, n)``; None means 0, 1, 2, ….
            segments: of each token, in ``[0, n_segments)``; None means that all are 0.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: an id outside the vocabulary, or ids of another shape or dtype.
            ValueError: segments of another shape, outside the table, or without a table.
        """
        require_ids(ids, self.weight.shape[0])
        x = F.embedding(ids, self.weight)
        x = x if self.scale == 1.0 else x * self.scale
        if self.segments is not None or segments is not None:
            x = x + _of_segments(self.segments, ids, segments)
        if self.positions is not None:
            if positions is None:
                positions = torch.arange(ids.shape[1], device=ids.device)
            x = self.positions(x, positions)
        x = x if self.norm is None else self.norm(x)
        return F.dropout(x, self.dropout_p, self.training)


def _of_segments(table: Tensor | None, ids: Tensor, segments: Tensor | None) -> Tensor:
    if table is None:
        raise ValueError(
            "segments are given, but the embedding has no vectors for them; build it with "
            "n_segments=2, or give no segments"
        )
    if segments is None:
        return table[0]
    known = segments.shape == ids.shape and segments.dtype in (torch.int32, torch.int64)
    # A data-dependent check would break a compiled graph and wait for a GPU.
    if known and ids.device.type == "cpu" and not torch.compiler.is_compiling():
        known = bool(((segments >= 0) & (segments < table.shape[0])).all())
    require(
        known,
        f"segments has shape {tuple(segments.shape)} and dtype {segments.dtype}, but must be "
        f"integers in [0, n_segments={table.shape[0]}) of shape {tuple(ids.shape)}; give one "
        "segment per token",
    )
    return F.embedding(segments, table)


def require_ids(ids: Tensor, vocab_size: int) -> None:
    """Raise unless ids are integers of shape ``(batch, n)`` within a vocabulary.

    Args:
        ids: on a CPU their values are checked too; elsewhere that would wait for the device.
        vocab_size: tokens in the vocabulary.

    Raises:
        ValueError: an id outside the vocabulary, or ids of another shape or dtype.
    """
    require(
        ids.ndim == 2 and ids.dtype in (torch.int32, torch.int64) and ids.numel() > 0,
        f"ids has shape {tuple(ids.shape)} and dtype {ids.dtype}, but must be integers of shape "
        "(batch, n), both at least 1; add the batch axis with ids[None]",
    )
    # A data-dependent check would break a compiled graph and wait for a GPU.
    if ids.device.type != "cpu" or torch.compiler.is_compiling():
        return
    smallest, largest = map(int, torch.aminmax(ids))
    require(
        smallest >= 0 and largest < vocab_size,
        f"ids={smallest}…{largest} must lie in [0, vocab_size={vocab_size}); encode the text with "
        "the tokenizer that belongs to this model",
    )
