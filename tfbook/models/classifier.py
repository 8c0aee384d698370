"""A classifier of whole texts."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.models.config import SequenceClassifierConfig
from tfbook.models.initialization import initialize_normal
from tfbook.models.text_encoder import TextEncoder


class SequenceClassifier(nn.Module):
    r"""Give each text the logits of its classes, from the pooler's vector of its first token.

    .. math:: \text{logits}_b = W \operatorname{dropout}(p_b) + c, \qquad
              p_b = \tanh(W_p h_{b0} + c_p)

    Args:
        encoder: with a pooler; kept as it is, so it may be pretrained.
        n_classes: classes.
        dropout_p: probability of dropping a feature of the text's vector in training.

    Raises:
        ValueError: fewer than one class, a probability outside ``[0, 1)``, or no pooler.

    Example:
        >>> import torch
        >>> from tfbook.models import StackConfig, TextEncoderConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> config = TextEncoderConfig(vocab_size=29, encoder=stack, pooler=True)
        >>> SequenceClassifier(TextEncoder(config), 5)(torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 5])

    Source: Devlin et al. 2019, section 4.1. Chapter: 05.
    """

    def __init__(self, encoder: TextEncoder, n_classes: int, *, dropout_p: float = 0.1) -> None:
        super().__init__()
        self.config = SequenceClassifierConfig(
            encoder=encoder.config, n_classes=n_classes, dropout_p=dropout_p
        )
        self.encoder = encoder
        self.output = nn.Linear(encoder.config.encoder.d_model, n_classes)
        initialize_normal(self.output)

    def forward(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        lengths: Int[Tensor, "batch"] | None = None,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch n_classes"]:
        """Give the logits of every class.

        Args:
            ids: ``(batch, n)``, padded at the end, the first token the one that is read.
            lengths: real tokens of each text; None means all.
            segments: of each token, where the encoder has vectors for them; None means 0.

        Returns:
            Shape ``(batch, n_classes)``.

        Raises:
            ValueError: as in :class:`TextEncoder`.
        """
        first = self.encoder.first(ids, lengths=lengths, segments=segments)
        return self.output(F.dropout(first, self.config.dropout_p, self.training))
