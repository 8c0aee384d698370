"""One causal stack between an embedding and an output layer."""

from __future__ import annotations

from dataclasses import dataclass

from tfbook.checks import require_choice, require_positive
from tfbook.models.config.stack import POSITIONS, StackConfig, require_whole_table


@dataclass(frozen=True, kw_only=True)
class CausalLMConfig:
    """A decoder-only language model.

    Args:
        vocab_size: tokens in the vocabulary.
        decoder: the stack, without cross-attention.
        max_length: longest sequence, tokens.
        positions: one of ``POSITIONS``.
        scaled_embeddings: multiply embeddings by √d_model.
        tie_output: the output layer is the embedding, transposed.
        output_bias: whether the output layer adds a bias.

    Raises:
        ValueError: sizes that are not positive, an unknown choice, or a tied output with
            concatenated positions.

    Example:
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2, placement="pre")
        >>> CausalLMConfig(vocab_size=100, decoder=stack).positions
        'learned'

    Source: Radford et al. 2019, section 2.3. Chapter: 15.
    """

    vocab_size: int
    decoder: StackConfig
    max_length: int = 512
    positions: str = "learned"
    scaled_embeddings: bool = False
    tie_output: bool = True
    output_bias: bool = False

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_positive("vocab_size", self.vocab_size)
        require_positive("max_length", self.max_length)
        require_choice("positions", self.positions, POSITIONS)
        require_whole_table(self.positions, self.tie_output)
