"""Sizes and choices of a model: frozen, plain, and written to JSON as they are."""

from tfbook.models.config.causal_lm import CausalLMConfig
from tfbook.models.config.count import count_parameters
from tfbook.models.config.encoder_decoder import EncoderDecoderConfig
from tfbook.models.config.rotary import SCALINGS, RotaryConfig, ScalingConfig
from tfbook.models.config.stack import (
    ACTIVATIONS,
    FEED_FORWARDS,
    NORMS,
    PLACEMENTS,
    POSITIONS,
    StackConfig,
)
from tfbook.models.config.text_encoder import (
    MaskedLMConfig,
    SequenceClassifierConfig,
    TextEncoderConfig,
)

__all__ = [
    "ACTIVATIONS",
    "FEED_FORWARDS",
    "NORMS",
    "PLACEMENTS",
    "POSITIONS",
    "SCALINGS",
    "CausalLMConfig",
    "EncoderDecoderConfig",
    "MaskedLMConfig",
    "RotaryConfig",
    "ScalingConfig",
    "SequenceClassifierConfig",
    "StackConfig",
    "TextEncoderConfig",
    "count_parameters",
]
