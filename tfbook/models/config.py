"""Sizes and choices of a model: frozen, plain, and written to JSON as they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tfbook.checks import (
    require,
    require_choice,
    require_divisible,
    require_positive,
    require_probability,
)

NORMS = ("layer_norm", "rms_norm", "scale_norm", "batch_norm", "power_norm")
PLACEMENTS = ("pre", "post", "branch", "sandwich", "parallel")
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "squared_relu")
FEED_FORWARDS = ("plain", "gated", "low_rank")
POSITIONS = (
    "sinusoidal",
    "learned",
    "learned_frequencies",
    "concatenated",
    "rotary",
    "rotary_interleaved",
    "alibi",
    "t5",
    "sandwich",
    "shaw",
    "transformer_xl",
    "none",
)


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One stack of blocks, encoder or decoder.

    Args:
        d_model: width of the residual stream.
        n_heads: query heads.
        d_ff: inner width of the feed-forward layers.
        n_layers: blocks.
        n_kv_heads: key and value heads; None means ``n_heads``.
        dropout_p: probability of dropping a feature of a sublayer's output in training.
        norm: one of ``NORMS``.
        placement: of the norms, one of ``PLACEMENTS``; ``parallel`` lets attention and
            feed-forward read the same normalised input.
        activation: one of ``ACTIVATIONS``.
        bias: whether linear maps add a bias.
        feed_forward: ``plain``, ``gated`` (three matrices) or ``low_rank``.
        feed_forward_rank: of ``low_rank``.
        feed_forward_chunk: positions that the feed-forward layer takes at a time; None all.
        share_feed_forward: one feed-forward layer serves all blocks.

    Raises:
        ValueError: sizes that are not positive or do not divide, an unknown choice, or a
            probability outside ``[0, 1)``.

    Example:
        >>> StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2).placement
        'post'

    Source: Vaswani et al. 2017, section 3. Chapter: 15.
    """

    d_model: int
    n_heads: int
    d_ff: int
    n_layers: int
    n_kv_heads: int | None = None
    dropout_p: float = 0.1
    norm: str = "layer_norm"
    placement: str = "post"
    activation: str = "relu"
    bias: bool = True
    feed_forward: str = "plain"
    feed_forward_rank: int = 64
    feed_forward_chunk: int | None = None
    share_feed_forward: bool = False

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_divisible("d_model", self.d_model, "n_heads", self.n_heads)
        require_positive("d_ff", self.d_ff)
        require_positive("n_layers", self.n_layers)
        if self.n_kv_heads is not None:
            require_divisible("n_heads", self.n_heads, "n_kv_heads", self.n_kv_heads)
        require_probability("dropout_p", self.dropout_p)
        require_choice("norm", self.norm, NORMS)
        require_choice("placement", self.placement, PLACEMENTS)
        require_choice("activation", self.activation, ACTIVATIONS)
        require_choice("feed_forward", self.feed_forward, FEED_FORWARDS)
        require_positive("feed_forward_rank", self.feed_forward_rank)
        if self.feed_forward_chunk is not None:
            require_positive("feed_forward_chunk", self.feed_forward_chunk)

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Key and value heads."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads


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
        _require_whole_table(self.positions, self.tie_output)

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

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_positive("vocab_size", self.vocab_size)
        require_positive("max_length", self.max_length)
        require_choice("positions", self.positions, POSITIONS)
        _require_whole_table(self.positions, self.tie_output)


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """An encoder-only model.

    Args:
        vocab_size: tokens in the vocabulary.
        encoder: the stack.
        max_length: longest sequence, tokens.
        positions: one of ``POSITIONS``.
        scaled_embeddings: multiply embeddings by √d_model.

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

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        require_positive("vocab_size", self.vocab_size)
        require_positive("max_length", self.max_length)
        require_choice("positions", self.positions, POSITIONS)


def _require_whole_table(positions: str, tie_output: bool) -> None:
    require(
        not (tie_output and positions == "concatenated"),
        "tie_output=True needs an embedding as wide as the model, but positions='concatenated' "
        "leaves part of the width to the positions; give tie_output=False",
    )


def count_parameters(model: nn.Module) -> int:
    """Count trainable numbers, a tied table once.

    Args:
        model: any module.

    Returns:
        The count.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
