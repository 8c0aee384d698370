"""Configurations with a value of another type: refused by name, or not read at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from their_models import their_model

from tfbook.models import from_huggingface_state

#: With as many values as they can have.
YARN: dict[str, Any] = dict(
    rope_type="yarn", factor=4.0, original_max_position_embeddings=8, beta_fast=16, beta_slow=0.5,
    mscale=0.7, mscale_all_dim=0.4, attention_factor=1.0, truncate=False,
)  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "bert": {"num_labels": 3},
    "gpt2": {},
    "gpt_neox": {"rotary_pct": 0.5},
    "llama": {"rope_parameters": YARN},
    "mistral": {"sliding_window": 4},
}
WRONG: list[Any] = ["two", [2], {"a": 2}, 2.5, True, object()]
READ = {
    "bert": "vocab_size hidden_size num_attention_heads intermediate_size num_hidden_layers "
    "hidden_dropout_prob layer_norm_eps max_position_embeddings type_vocab_size num_labels "
    "classifier_dropout hidden_act id2label is_decoder",
    "gpt2": "vocab_size n_embd n_head n_layer n_inner n_positions resid_pdrop layer_norm_epsilon "
    "activation_function tie_word_embeddings scale_attn_weights",
    "gpt_neox": "vocab_size hidden_size num_attention_heads intermediate_size num_hidden_layers "
    "max_position_embeddings hidden_dropout layer_norm_eps hidden_act use_parallel_residual "
    "attention_bias rotary_pct rotary_emb_base rope_parameters tie_word_embeddings",
    "llama": "vocab_size hidden_size num_attention_heads num_key_value_heads intermediate_size "
    "num_hidden_layers head_dim max_position_embeddings rms_norm_eps hidden_act attention_bias "
    "mlp_bias rope_parameters rope_scaling rope_theta partial_rotary_factor tie_word_embeddings",
    "mistral": "num_key_value_heads sliding_window layer_types hidden_size rope_parameters",
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in READ.items() for name in names.split()]
)
def test_text_where_something_else_belongs(kind: str, name: str) -> None:
    theirs = their_model(kind, **CHANGES[kind])
    config = theirs.config.to_dict() | {name: "two"}
    with pytest.raises(ValueError, match=rf"config has {name}='two', "):
        from_huggingface_state(config, theirs.state_dict())


@pytest.mark.parametrize("kind", CHANGES)
def test_no_value_raises_another_error(kind: str) -> None:
    """Every key, also those inside the rotary settings, with values of every type."""
    theirs = their_model(kind, **CHANGES[kind])
    config, tensors = theirs.config.to_dict(), theirs.state_dict()
    changed = [config | {name: value} for name in config for value in WRONG]
    rope = config.get("rope_parameters") or {}
    changed += [
        config | {"rope_parameters": rope | {name: value}} for name in rope for value in WRONG
    ]
    refused = 0
    for each in changed:
        try:
            from_huggingface_state(each, tensors)
        except ValueError:
            refused += 1
    assert refused > 5 * len(READ[kind].split()) / 2


@pytest.mark.parametrize("given", [["llama"], {"a": 1}, 5])
def test_the_kind_of_model(given: Any) -> None:
    with pytest.raises(ValueError, match=r"config has model_type=.*, which is unknown here; use"):
        from_huggingface_state({"model_type": given}, {})
    message = (
        r"architectures='LlamaForCausalLM', which must be a list of names; use LlamaForCausalL"
    )
    with pytest.raises(ValueError, match=message):
        from_huggingface_state({"model_type": "llama", "architectures": "LlamaForCausalLM"}, {})


def test_null_is_a_choice_for_mistral() -> None:
    """Without a value there are 8 heads for keys and a window; with null there are neither."""
    theirs = their_model("mistral", sliding_window=None, num_key_value_heads=3)
    config = theirs.config.to_dict() | {"num_key_value_heads": None, "sliding_window": None}
    ours = from_huggingface_state(config, theirs.state_dict())
    assert ours.config.decoder.kv_heads == 3
    assert ours.config.decoder.window is None
    for name in ("num_key_value_heads", "sliding_window"):
        del config[name]
    with pytest.raises(ValueError, match="n_heads=3 must be divisible by n_kv_heads=8"):
        from_huggingface_state(config, theirs.state_dict())
    assert torch.equal(ours.embedding.weight, theirs.model.embed_tokens.weight)
