"""One unit vector per text: texts that mean the same lie close together."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.models.text_encoder import TextEncoder


class SentenceEncoder(nn.Module):
    r"""Average an encoder's vectors over the real tokens, and scale the mean to length one.

    .. math:: s_b = \bar h_b / \lVert \bar h_b \rVert_2, \qquad
              \bar h_b = \frac{1}{\ell_b} \sum_{t < \ell_b} h_{bt}

    The product of two such vectors is the cosine of the angle between them.

    Args:
        encoder: gives a vector per token; kept as it is, so it may be pretrained.

    Example:
        >>> import torch
        >>> from tfbook.models import StackConfig, TextEncoderConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = SentenceEncoder(TextEncoder(TextEncoderConfig(vocab_size=29, encoder=stack)))
        >>> model(torch.tensor([[3, 4, 5]])).norm(dim=-1).round(decimals=4).tolist()
        [1.0]

    Source: Reimers and Gurevych 2019, section 3; all-MiniLM-L6-v2's published configuration.
    Chapter: 05.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.config = encoder.config
        self.encoder = encoder

    def forward(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        lengths: Int[Tensor, "batch"] | None = None,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch d_model"]:
        """Give a unit vector per text.

        Args:
            ids: ``(batch, n)``, padded at the end.
            lengths: real tokens of each text; None means all.
            segments: of each token, where the encoder has vectors for them; None means 0.

        Returns:
            Shape ``(batch, d_model)``; zeros for an empty text.

        Raises:
            ValueError: as in :class:`TextEncoder`.
        """
        return F.normalize(self.encoder.pool(ids, lengths=lengths, segments=segments), dim=-1)
