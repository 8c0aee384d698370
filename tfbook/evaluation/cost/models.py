"""Costs of whole models, from their configurations alone."""

from __future__ import annotations

from dataclasses import replace

from tfbook.checks import require
from tfbook.evaluation.cost.layers import (
    attention_cost,
    embedding_cost,
    feed_forward_cost,
    linear_cost,
    norm_cost,
)
from tfbook.evaluation.cost.record import Cost, Workload
from tfbook.models.config import (
    CausalLMConfig,
    EncoderDecoderConfig,
    StackConfig,
    TextEncoderConfig,
)


def stack_cost(work: Workload, config: StackConfig, *, causal: bool) -> Cost:
    """Give the cost of a stack of blocks, without embeddings and head.

    Args:
        work: what it is run on; with ``n_context``, every block has cross-attention.
        config: sizes and choices.
        causal: whether it is a decoder, whose self-attention has a cache.

    Returns:
        The cost, in training: a dropout keeps its noise.

    Raises:
        ValueError: a choice that is not counted: norms placed otherwise than ``pre`` or
            ``post``, a low-rank, chunked or shared feed-forward layer, a window, a bias on one
            side of attention only, or a norm or activation that the layers' costs do not know.

    Example:
        >>> config = StackConfig(d_model=512, n_heads=8, d_ff=2048, n_layers=6)
        >>> stack_cost(Workload(n=100), config, causal=False).parameters
        18914304

    Source: Vaswani et al. 2017, section 3.1. Chapter: 16.
    """
    _require_counted(config)
    itself = replace(work, n_context=None)
    block = _residual(itself, config, _attention(itself, config, causal=causal))
    if work.n_context is not None:
        block += _residual(work, config, _attention(work, config, causal=False))
    feed_forward = feed_forward_cost(
        work,
        d_model=config.d_model,
        d_ff=config.d_ff,
        activation=config.activation,
        gated=config.feed_forward == "gated",
        bias=config.biases[2],
    )
    stack = config.n_layers * (block + _residual(work, config, feed_forward))
    if config.placement == "pre":
        stack += _norm(work, config)
    # All blocks read one context, and autograd keeps it once.
    n_context = 0 if work.n_context is None else work.n_context
    context_bytes = work.batch * n_context * config.d_model * work.element_size
    return replace(stack, saved_bytes=stack.saved_bytes - (config.n_layers - 1) * context_bytes)


def causal_lm_cost(work: Workload, config: CausalLMConfig) -> Cost:
    """Give the cost of a :class:`CausalLM` that reads ``n`` tokens.

    Args:
        work: what it is run on.
        config: sizes and choices.

    Returns:
        The cost up to the logits.

    Raises:
        ValueError: more tokens than ``max_length``, or a context.

    Example:
        >>> gpt2 = CausalLMConfig(vocab_size=50257, max_length=1024, decoder=StackConfig(
        ...     d_model=768, n_heads=12, d_ff=3072, n_layers=12, placement="pre",
        ...     activation="gelu"))
        >>> causal_lm_cost(Workload(n=1024), gpt2).parameters
        124439808

    Source: Radford et al. 2019, section 2.3. Chapter: 16.
    """
    _require_no_context(work)
    return (
        _embedding(work, config.vocab_size, config.decoder, config)
        + stack_cost(work, config.decoder, causal=True)
        + linear_cost(
            work,
            d_in=config.decoder.d_model,
            d_out=config.vocab_size,
            bias=config.output_bias,
            tied=config.tie_output,
        )
    )


def text_encoder_cost(work: Workload, config: TextEncoderConfig) -> Cost:
    """Give the cost of a :class:`TextEncoder` that reads ``n`` tokens.

    Args:
        work: what it is run on.
        config: sizes and choices.

    Returns:
        The cost up to one vector a token. There is no cache: later tokens change the first.

    Raises:
        ValueError: more tokens than ``max_length``, or a context.
        ValueError: segments, a norm of the embeddings or a pooler, which are not counted.

    Example:
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> text_encoder_cost(
        ...     Workload(n=5), TextEncoderConfig(vocab_size=100, encoder=stack)).cache_bytes
        0

    Source: Devlin et al. 2019, section 3. Chapter: 16.
    """
    _require_no_context(work)
    for name in ("n_segments", "embedding_norm", "pooler"):
        require(
            not getattr(config, name),
            f"{name}={getattr(config, name)} is not counted for a whole encoder; add up the costs "
            "of its layers",
        )
    return _embedding(work, config.vocab_size, config.encoder, config) + stack_cost(
        work, config.encoder, causal=False
    )


def encoder_decoder_cost(work: Workload, config: EncoderDecoderConfig) -> Cost:
    """Give the cost of an :class:`EncoderDecoder` that reads ``n_context`` and writes ``n`` tokens.

    Args:
        work: what it is run on: ``n`` target and ``n_context`` source tokens.
        config: sizes and choices.

    Returns:
        The cost up to the logits.

    Raises:
        ValueError: no source, or more tokens than ``max_length``.

    Example:
        >>> work = Workload(n=25, n_context=30)
        >>> encoder_decoder_cost(work, EncoderDecoderConfig.base()).parameters
        63082496

    Source: Vaswani et al. 2017, table 3. Chapter: 16.
    """
    require(
        work.n_context is not None,
        "work.n_context=None must be the number of source tokens; an encoder-decoder reads some",
    )
    source = replace(work, n=work.n_context or 0, n_context=None)
    encoder = _embedding(
        source, config.source_vocab_size, config.encoder, config, name="work.n_context"
    )
    encoder += stack_cost(source, config.encoder, causal=False)
    decoder = _embedding(work, config.target_vocab_size, config.decoder, config)
    if config.share_embeddings:
        decoder = replace(decoder, parameters=0)
    decoder += stack_cost(work, config.decoder, causal=True)
    decoder += linear_cost(
        work,
        d_in=config.decoder.d_model,
        d_out=config.target_vocab_size,
        bias=False,
        tied=config.tie_output,
    )
    both = encoder + decoder
    # The decoder's first self-attention does not wait for the encoder.
    return replace(both, sequential_steps=both.sequential_steps - 1)


def _attention(work: Workload, config: StackConfig, *, causal: bool) -> Cost:
    return attention_cost(
        work,
        d_model=config.d_model,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        d_head=config.d_head,
        bias=config.biases[0],
        causal=causal,
    )


def _norm(work: Workload, config: StackConfig) -> Cost:
    return norm_cost(work, d_model=config.d_model, norm=config.norm)


def _residual(work: Workload, config: StackConfig, sublayer: Cost) -> Cost:
    """A sublayer with its norm, which reads what the sublayer does not, and its dropout."""
    return sublayer + _norm(work, config) + _dropout(work, config)


def _dropout(work: Workload, config: StackConfig) -> Cost:
    noise = work.tokens * config.d_model * work.element_size
    return Cost(saved_bytes=noise if config.dropout_p else 0)


def _embedding(
    work: Workload,
    vocab_size: int,
    stack: StackConfig,
    config: CausalLMConfig | TextEncoderConfig | EncoderDecoderConfig,
    name: str = "work.n",
) -> Cost:
    require(
        work.n <= config.max_length,
        f"{name}={work.n} is beyond the model's max_length={config.max_length}; shorten the "
        "sequence, or give the configuration a larger max_length",
    )
    rows = config.max_length if config.positions == "learned" else 0
    look_up = embedding_cost(
        work, vocab_size=vocab_size, d_model=stack.d_model, learned_positions=rows
    )
    return look_up + _dropout(work, stack)


def _require_counted(config: StackConfig) -> None:
    counted = {
        "placement": config.placement in ("pre", "post"),
        "feed_forward": config.feed_forward in ("plain", "gated"),
        "feed_forward_chunk": config.feed_forward_chunk is None,
        "share_feed_forward": not config.share_feed_forward,
        "window": config.window is None,
        "output_bias": config.biases[0] == config.biases[1],
    }
    for name, known in counted.items():
        require(
            known,
            f"{name}={getattr(config, name)!r} is not counted for a whole stack; add up the costs "
            "of its layers",
        )


def _require_no_context(work: Workload) -> None:
    require(
        work.n_context is None,
        f"work.n_context={work.n_context} must be None: this model reads no other sequence; "
        "count its tokens in n",
    )
