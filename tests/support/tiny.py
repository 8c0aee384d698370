"""Tiny models with random weights, for the tests of models, training and generation."""

from __future__ import annotations

from typing import Any

import torch
from parity import randomized

from tfbook.models import (
    CausalLM,
    CausalLMConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    MaskedLM,
    SequenceClassifier,
    StackConfig,
    TextEncoder,
    TextEncoderConfig,
)

SOURCE_VOCAB, TARGET_VOCAB, VOCAB = 29, 23, 31


def stack(**changes: Any) -> StackConfig:
    """Width 22 with heads of 11, inner width 13, two layers, no dropout."""
    sizes = dict(d_model=22, n_heads=2, d_ff=13, n_layers=2, dropout_p=0.0)
    return StackConfig(**{**sizes, **changes})


def encoder_decoder(dtype: torch.dtype = torch.float32, **changes: Any) -> EncoderDecoder:
    """A model of :func:`stack`; ``encoder`` and ``decoder`` change the stacks."""
    changes = {"encoder": stack(), "decoder": stack(n_layers=3), "max_length": 19, **changes}
    vocab = dict(source_vocab_size=SOURCE_VOCAB, target_vocab_size=TARGET_VOCAB)
    return randomized(EncoderDecoder(EncoderDecoderConfig(**{**vocab, **changes})), dtype)


def causal_lm(dtype: torch.dtype = torch.float32, **changes: Any) -> CausalLM:
    """A model of :func:`stack`; ``decoder`` changes the stack."""
    changes = {"decoder": stack(placement="pre"), "max_length": 19, **changes}
    return randomized(CausalLM(CausalLMConfig(vocab_size=VOCAB, **changes)), dtype)


def text_encoder(dtype: torch.dtype = torch.float32, **changes: Any) -> TextEncoder:
    """A model of :func:`stack`; ``encoder`` changes the stack."""
    changes = {"encoder": stack(), "max_length": 19, **changes}
    return randomized(TextEncoder(TextEncoderConfig(vocab_size=VOCAB, **changes)), dtype)


def bert(dtype: torch.dtype = torch.float32, **changes: Any) -> TextEncoder:
    """A text encoder with all that BERT has, and three kinds of segments."""
    parts: dict[str, Any] = dict(n_segments=3, embedding_norm=True, pooler=True)
    return text_encoder(dtype, **{**parts, **changes})


def masked_lm(dtype: torch.dtype = torch.float32, *, tie_output: bool = True) -> MaskedLM:
    """The head that guesses tokens, over :func:`bert`."""
    return randomized(MaskedLM(bert(), tie_output=tie_output), dtype)


def classifier(dtype: torch.dtype = torch.float32, *, n_classes: int = 5) -> SequenceClassifier:
    """The head that gives classes, over :func:`bert`."""
    return randomized(SequenceClassifier(bert(), n_classes), dtype)
