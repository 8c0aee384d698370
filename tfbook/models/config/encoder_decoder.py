"""Two stacks: an encoder, and a decoder that reads it."""

from __future__ import annotations

from dataclasses import dataclass

from tfbook.checks import require, require_choice, require_positive
from tfbook.models.config.stack import POSITIONS, StackConfig, require_whole_table


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig:
    """An encoder-decoder Transformer.

    Args:
        source_vocab_size: tokens of the source vocabulary.
        target_vocab_size: tokens of the target vocabulary.
        encoder: the encoder stack.
        decoder: the decoder stack, of the same ``d_model``.
        max_length: longest source or target, tokens.
        positions: one of ``POSITIONS``.
        share_embeddings: one table for source and target; the vocabularies must be one.
        tie_output: the output layer is the target embedding, transposed.

    Raises:
        ValueError: sizes that are not positive, stacks of different width, an unknown choice,
            shared embeddings over vocabularies of different size, or a tied output with
            concatenated positions.

    Example:
        >>> EncoderDecoderConfig.base().encoder.d_model
        512

    Source: Vaswani et al. 2017, table 3. Chapter: 15.
    """

    source_vocab_size: int
    target_vocab_size: int
    encoder: StackConfig
    decoder: StackConfig
    max_length: int = 512
    positions: str = "sinusoidal"
    share_embeddings: bool = False
    tie_output: bool = True

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_positive("source_vocab_size", self.source_vocab_size)
        require_positive("target_vocab_size", self.target_vocab_size)
        require_positive("max_length", self.max_length)
        require_choice("positions", self.positions, POSITIONS)
        require(
            self.encoder.d_model == self.decoder.d_model,
            f"encoder.d_model={self.encoder.d_model} must equal decoder.d_model="
            f"{self.decoder.d_model}; give both stacks one width",
        )
        require(
            not self.share_embeddings or self.source_vocab_size == self.target_vocab_size,
            f"share_embeddings=True needs one vocabulary, but source_vocab_size="
            f"{self.source_vocab_size} and target_vocab_size={self.target_vocab_size}; train one "
            "tokenizer on both sides, or turn sharing off",
        )
        require_whole_table(self.positions, self.tie_output)

    @classmethod
    def base(cls, vocab_size: int = 37_000) -> EncoderDecoderConfig:
        """Give the base model of 2017: 6 + 6 layers, width 512, 8 heads, inner width 2048.

        Args:
            vocab_size: of the vocabulary that both sides share; the paper says "about 37,000".

        Returns:
            The configuration.
        """
        return cls._from_2017(vocab_size, d_model=512, n_heads=8, d_ff=2048, dropout_p=0.1)

    @classmethod
    def big(cls, vocab_size: int = 37_000) -> EncoderDecoderConfig:
        """Give the big model of 2017: 6 + 6 layers, width 1024, 16 heads, inner width 4096.

        Args:
            vocab_size: of the vocabulary that both sides share; the paper says "about 37,000".

        Returns:
            The configuration.
        """
        return cls._from_2017(vocab_size, d_model=1024, n_heads=16, d_ff=4096, dropout_p=0.3)

    @classmethod
    def _from_2017(
        cls, vocab_size: int, *, d_model: int, n_heads: int, d_ff: int, dropout_p: float
    ) -> EncoderDecoderConfig:
        stack = StackConfig(
            d_model=d_model, n_heads=n_heads, d_ff=d_ff, n_layers=6, dropout_p=dropout_p
        )
        return cls(
            source_vocab_size=vocab_size,
            target_vocab_size=vocab_size,
            encoder=stack,
            decoder=stack,
            share_embeddings=True,
        )
