"""Whole models, built from a small frozen configuration."""

from tfbook.models.causal_lm import CausalLM
from tfbook.models.checkpoints import load_model, save_model
from tfbook.models.classifier import SequenceClassifier
from tfbook.models.config import (
    CausalLMConfig,
    EncoderDecoderConfig,
    MaskedLMConfig,
    RotaryConfig,
    ScalingConfig,
    SequenceClassifierConfig,
    StackConfig,
    TextEncoderConfig,
    count_parameters,
)
from tfbook.models.convert import (
    SpecialIds,
    from_huggingface,
    from_huggingface_state,
    to_huggingface,
    to_torch,
)
from tfbook.models.decoding_step import DecodingStep, decoding_step
from tfbook.models.encoder_decoder import EncoderDecoder
from tfbook.models.initialization import initialize_normal, initialize_xavier
from tfbook.models.masked_lm import MaskedLM
from tfbook.models.sentence_encoder import SentenceEncoder
from tfbook.models.stacks import Decoder, Encoder, build_decoder, build_encoder
from tfbook.models.text_encoder import TextEncoder

__all__ = [
    "CausalLM",
    "CausalLMConfig",
    "Decoder",
    "DecodingStep",
    "Encoder",
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "MaskedLM",
    "MaskedLMConfig",
    "RotaryConfig",
    "ScalingConfig",
    "SentenceEncoder",
    "SequenceClassifier",
    "SequenceClassifierConfig",
    "SpecialIds",
    "StackConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "build_decoder",
    "build_encoder",
    "count_parameters",
    "decoding_step",
    "from_huggingface",
    "from_huggingface_state",
    "initialize_normal",
    "initialize_xavier",
    "load_model",
    "save_model",
    "to_huggingface",
    "to_torch",
]
