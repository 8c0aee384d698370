"""A masked language model: an encoder that guesses the tokens it does not see."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.models.blocks import build_activation, build_norm
from tfbook.models.config import MaskedLMConfig
from tfbook.models.heads import build_head
from tfbook.models.initialization import initialize_normal
from tfbook.models.text_encoder import TextEncoder


class MaskedLM(nn.Module):
    r"""Predict the token at every position from the tokens on both sides.

    .. math:: \text{logits}_t = E\, \operatorname{norm}(\phi(W h_t + c)) + b

    with the encoder's activation :math:`\phi` and norm, and its embedding :math:`E` when tied.

    Args:
        encoder: gives a vector per token; kept as it is, so it may be pretrained.
        tie_output: the output layer is the embedding, transposed.

    Raises:
        ValueError: a tied output over concatenated positions.

    Example:
        >>> import torch
        >>> from tfbook.models import StackConfig, TextEncoderConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = MaskedLM(TextEncoder(TextEncoderConfig(vocab_size=29, encoder=stack)))
        >>> model(torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3, 29])

    Source: Devlin et al. 2019, section 3.1, and its published code. Chapter: 05.
    """

    def __init__(self, encoder: TextEncoder, *, tie_output: bool = True) -> None:
        super().__init__()
        self.config = MaskedLMConfig(encoder=encoder.config, tie_output=tie_output)
        stack = encoder.config.encoder
        self.encoder = encoder
        self.transform = nn.Linear(stack.d_model, stack.d_model)
        self.activation = build_activation(stack)
        self.norm = build_norm(stack)
        head = build_head(encoder.embedding, stack.d_model, tied=False, bias=True)
        initialize_normal(self.transform)
        initialize_normal(head)
        if tie_output:
            head.weight = encoder.embedding.weight
        self.head = head

    def forward(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        lengths: Int[Tensor, "batch"] | None = None,
        segments: Int[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch n vocab"]:
        """Give the logits of the token at every position.

        Args:
            ids: ``(batch, n)``, padded at the end, some replaced by the mask token.
            lengths: real tokens of each text; None means all.
            segments: of each token, where the encoder has vectors for them; None means 0.

        Returns:
            Shape ``(batch, n, vocab_size)``.

        Raises:
            ValueError: as in :class:`TextEncoder`.
        """
        hidden = self.encoder(ids, lengths=lengths, segments=segments)
        return self.head(self.norm(self.activation(self.transform(hidden))))
