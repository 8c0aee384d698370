"""An encoder-only model: one vector per token of a text, or one for the whole text."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.attention import padding_mask
from tfbook.models.blocks import build_norm
from tfbook.models.config import TextEncoderConfig
from tfbook.models.heads import build_embedding, lengths_mask, require_length
from tfbook.models.initialization import initialize_normal
from tfbook.models.stacks import build_encoder


class TextEncoder(nn.Module):
    r"""Encode texts: :math:`h = \operatorname{encoder}(E(w))`, every token seeing every token.

    Args:
        config: sizes and choices.

    Raises:
        ValueError: see :class:`TextEncoderConfig`.

    Example:
        >>> import torch
        >>> from tfbook.models import StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = TextEncoder(TextEncoderConfig(vocab_size=29, encoder=stack))
        >>> model(torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3, 12])

    Source: Devlin et al. 2019. Chapter: 15.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        stack = config.encoder
        self.embedding = build_embedding(
            config.vocab_size,
            stack.d_model,
            positions=config.positions,
            max_length=config.max_length,
            scaled=config.scaled_embeddings,
            dropout_p=stack.dropout_p,
            norm=build_norm(stack) if config.embedding_norm else None,
            n_segments=config.n_segments,
        )
        self.encoder = build_encoder(stack, positions=config.positions)
        self.pooler = nn.Linear(stack.d_model, stack.d_model) if config.pooler else None
        initialize_normal(self)

    def forward(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        lengths: Int[Tensor, "batch"] | None = None,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Give a vector per token.

        Args:
            ids: ``(batch, n)``, padded at the end.
            lengths: real tokens of each text; None means all.
            segments: of each token, where the model has vectors for them; None means 0.

        Returns:
            Shape ``(batch, n, d_model)``. Vectors at padding mean nothing.

        Raises:
            ValueError: ids outside the vocabulary, a text beyond ``max_length``, or lengths or
                segments that do not fit the ids.
        """
        require_length("ids", ids.shape[-1], self.config.max_length)
        x = self.embedding(ids, segments=segments)
        return self.encoder(x, mask=lengths_mask("lengths", ids, lengths))

    def first(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        lengths: Int[Tensor, "batch"] | None = None,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch d_model"]:
        r"""Give one vector per text, the pooler's of its first token.

        .. math:: p_b = \tanh(W h_{b0} + c)

        Args:
            ids: ``(batch, n)``, padded at the end.
            lengths: real tokens of each text; None means all.
            segments: of each token, where the model has vectors for them; None means 0.

        Returns:
            Shape ``(batch, d_model)``.

        Raises:
            ValueError: the model has no pooler, or as in :meth:`forward`.
        """
        if self.pooler is None:
            raise ValueError(
                "pooler=False: this model has no layer for the first token; build it with "
                "pooler=True, or take the mean with pool()"
            )
        hidden = self(ids, lengths=lengths, segments=segments)
        return torch.tanh(self.pooler(hidden[:, 0]))

    def pool(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        lengths: Int[Tensor, "batch"] | None = None,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch d_model"]:
        r"""Give one vector per text, the mean over its real tokens.

        .. math:: \bar h_b = \frac{1}{\ell_b} \sum_{t < \ell_b} h_{bt}

        Args:
            ids: ``(batch, n)``, padded at the end.
            lengths: real tokens of each text; None means all.
            segments: of each token, where the model has vectors for them; None means 0.

        Returns:
            Shape ``(batch, d_model)``; zeros for an empty text.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        hidden = self(ids, lengths=lengths, segments=segments)
        if lengths is None:
            return hidden.mean(dim=1)
        real = padding_mask(lengths, ids.shape[1])[:, 0, 0, :, None]
        # An empty text has no mean: zeros, not 0/0.
        return (hidden * real).sum(dim=1) / lengths[:, None].clamp(min=1)
