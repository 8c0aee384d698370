"""Any of this package's models, from its class name and plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from tfbook.checks import require_choice
from tfbook.models.causal_lm import CausalLM
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
)
from tfbook.models.encoder_decoder import EncoderDecoder
from tfbook.models.masked_lm import MaskedLM
from tfbook.models.sentence_encoder import SentenceEncoder
from tfbook.models.text_encoder import TextEncoder

Model = CausalLM | EncoderDecoder | TextEncoder | MaskedLM | SentenceEncoder | SequenceClassifier
KINDS = [kind.__name__ for kind in get_args(Model)]


def build_model(kind: str, config: Mapping[str, Any]) -> Model:
    """Build a model from its class name and its configuration as plain values.

    Args:
        kind: the name of one of this package's models.
        config: what ``dataclasses.asdict`` made of the configuration.

    Returns:
        A new model.

    Raises:
        ValueError: an unknown kind, or unknown or missing fields.
    """
    require_choice("kind", kind, KINDS)
    builders: dict[str, Callable[[], Model]] = {
        "CausalLM": lambda: CausalLM(CausalLMConfig(**_with_stacks(config))),
        "EncoderDecoder": lambda: EncoderDecoder(EncoderDecoderConfig(**_with_stacks(config))),
        "TextEncoder": lambda: TextEncoder(TextEncoderConfig(**_with_stacks(config))),
        "SentenceEncoder": lambda: SentenceEncoder(
            TextEncoder(TextEncoderConfig(**_with_stacks(config)))
        ),
        "MaskedLM": lambda: _masked_lm(MaskedLMConfig(**_with_encoder(config))),
        "SequenceClassifier": lambda: _classifier(
            SequenceClassifierConfig(**_with_encoder(config))
        ),
    }
    try:
        return builders[kind]()
    except TypeError as error:
        raise ValueError(
            f"config does not describe a {kind} ({error}); the file may be of another release"
        ) from error


def _with_stacks(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration, with those of its stacks as configurations."""
    fields = dict(config)
    for name in ("encoder", "decoder"):
        if name in fields:
            fields[name] = _stack(fields[name])
    return fields


def _stack(fields: Mapping[str, Any]) -> StackConfig:
    rotary = fields.get("rotary")
    if rotary is None:
        return StackConfig(**fields)
    scaling = rotary.get("scaling")
    scaling = None if scaling is None else ScalingConfig(**scaling)
    return StackConfig(**{**fields, "rotary": RotaryConfig(**{**rotary, "scaling": scaling})})


def _with_encoder(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a head's configuration, with those of its encoder as a configuration."""
    fields = dict(config)
    if "encoder" in fields:
        fields["encoder"] = TextEncoderConfig(**_with_stacks(fields["encoder"]))
    return fields


def _masked_lm(config: MaskedLMConfig) -> MaskedLM:
    return MaskedLM(TextEncoder(config.encoder), tie_output=config.tie_output)


def _classifier(config: SequenceClassifierConfig) -> SequenceClassifier:
    encoder = TextEncoder(config.encoder)
    return SequenceClassifier(encoder, config.n_classes, dropout_p=config.dropout_p)
