"""One stack over whole texts, and the heads on it."""

from __future__ import annotations

from dataclasses import dataclass

from tfbook.checks import require, require_choice, require_positive, require_probability
from tfbook.models.config.stack import POSITIONS, StackConfig, require_whole_table


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """An encoder-only model.

    Args:
        vocab_size: tokens in the vocabulary.
        encoder: the stack.
        max_length: longest sequence, tokens.
        positions: one of ``POSITIONS``.
        scaled_embeddings: multiply embeddings by √d_model.
        n_segments: kinds of segments whose vectors join the embeddings; 0 means none.
        embedding_norm: whether the embeddings are normalised.
        pooler: whether a layer makes one vector of the first token's (:meth:`TextEncoder.first`).

    Raises:
        ValueError: sizes that are not positive, or an unknown choice.

    Example:
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> TextEncoderConfig(vocab_size=100, encoder=stack).max_length
        512

    Source: Devlin et al. 2019, section 3. Chapter: 15.
    """

    vocab_size: int
    encoder: StackConfig
    max_length: int = 512
    positions: str = "learned"
    scaled_embeddings: bool = False
    n_segments: int = 0
    embedding_norm: bool = False
    pooler: bool = False

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_positive("vocab_size", self.vocab_size)
        require_positive("max_length", self.max_length)
        require_choice("positions", self.positions, POSITIONS)
        require(
            self.n_segments >= 0,
            f"n_segments={self.n_segments} must be at least 0; BERT has 2",
        )


@dataclass(frozen=True, kw_only=True)
class MaskedLMConfig:
    """A masked language model.

    Args:
        encoder: what gives a vector per token.
        tie_output: the output layer is the embedding, transposed.

    Raises:
        ValueError: a tied output with concatenated positions.

    Example:
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> MaskedLMConfig(encoder=TextEncoderConfig(vocab_size=9, encoder=stack)).tie_output
        True

    Source: Devlin et al. 2019, section 3.1. Chapter: 05.
    """

    encoder: TextEncoderConfig
    tie_output: bool = True

    def __post_init__(self) -> None:
        """Check that a tied layer has a whole table."""
        require_whole_table(self.encoder.positions, self.tie_output)


@dataclass(frozen=True, kw_only=True)
class SequenceClassifierConfig:
    """A classifier of whole texts.

    Args:
        encoder: what gives a vector per text; it has a pooler.
        n_classes: classes.
        dropout_p: probability of dropping a feature of the text's vector in training.

    Raises:
        ValueError: fewer than one class, a probability outside ``[0, 1)``, or no pooler.

    Example:
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> encoder = TextEncoderConfig(vocab_size=9, encoder=stack, pooler=True)
        >>> SequenceClassifierConfig(encoder=encoder, n_classes=3).dropout_p
        0.1

    Source: Devlin et al. 2019, section 4.1. Chapter: 05.
    """

    encoder: TextEncoderConfig
    n_classes: int
    dropout_p: float = 0.1

    def __post_init__(self) -> None:
        """Check the sizes."""
        require_positive("n_classes", self.n_classes)
        require_probability("dropout_p", self.dropout_p)
        require(
            self.encoder.pooler,
            "encoder.pooler=False, but a classifier reads what the pooler gives; give the encoder "
            "pooler=True",
        )
