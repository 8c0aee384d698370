"""Llama and Mistral, and their rotary settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from converting import (
    IDS,
    VOCAB,
    N,
    agree,
    cached_ours,
    check_back,
    check_causal,
    check_saved,
    theirs_of,
)
from parity import FLOATS
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from tfbook.models import from_huggingface, from_huggingface_state, to_huggingface

TRAINED = {"original_max_position_embeddings": 8}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, **TRAINED}
YARN = {"rope_type": "yarn", "factor": 4.0, **TRAINED}
MSCALE = {"mscale": 0.7, "mscale_all_dim": 0.4, "beta_fast": 16, "beta_slow": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "6 heads, 3 for keys": {},
    "5 heads": dict(hidden_size=30, num_attention_heads=5, num_key_value_heads=5, head_dim=None),
    "3 heads, 1 for keys": dict(num_attention_heads=3, num_key_value_heads=1),
    "attention biases": dict(attention_bias=True),
    "feed-forward biases, tied": dict(mlp_bias=True, tie_word_embeddings=True),
    "epsilon, relu, base": dict(rms_norm_eps=0.3, hidden_act="relu", rope_theta=77.0),
    "linear": dict(rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 99.0}),
    "yarn": dict(rope_parameters=YARN),
    "yarn, two scales": dict(rope_parameters={**YARN, **MSCALE, "truncate": False}),
    "llama3": dict(rope_parameters={"rope_type": "llama3", "factor": 8.0, **LLAMA3}),
}  # fmt: skip
WINDOWS = {"window 4": 4, "window 2": 2, "window beyond the text": 40, "no window": None}


def llama(dtype: torch.dtype = torch.float32, **changes: Any) -> LlamaForCausalLM:
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, hidden_size=18, intermediate_size=17, num_hidden_layers=2, head_dim=10,
        num_attention_heads=6, num_key_value_heads=3, max_position_embeddings=N,
    )  # fmt: skip
    return theirs_of(LlamaForCausalLM, LlamaConfig(**{**sizes, **IDS, **changes}), dtype)


def mistral(window: int | None, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, hidden_size=21, intermediate_size=17, num_hidden_layers=2, head_dim=10,
        num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=N,
    )  # fmt: skip
    config = MistralConfig(sliding_window=window, **{**sizes, **IDS, **changes})
    return theirs_of(MistralForCausalLM, config, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_llama_gives_the_same_logits(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = llama(dtype, **CASES[case])
    ours = check_causal(theirs, pure=False)
    assert ours.config.tie_output == theirs.config.tie_word_embeddings
    assert check_back(ours, theirs, tmp_path)["model_type"] == "llama"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", WINDOWS)
def test_mistral_gives_the_same_logits(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = mistral(WINDOWS[case], dtype)
    ours = check_causal(theirs, pure=False)
    assert ours.config.decoder.window == WINDOWS[case]
    if WINDOWS[case] is None:  # then it is a Llama
        assert to_huggingface(ours)[0]["model_type"] == "llama"
    else:
        assert check_back(ours, theirs, tmp_path)["sliding_window"] == WINDOWS[case]


@torch.no_grad()
def test_a_window_of_one_sees_the_token_alone() -> None:
    """The cache of theirs keeps everything then; without a cache both agree."""
    ours = check_causal(mistral(1), pure=False, cached=False)
    ids = torch.randint(VOCAB, (2, N))
    agree(cached_ours(ours, ids), ours(ids), pure=False)


@torch.no_grad()
def test_dynamic_scaling_grows_with_the_text(tmp_path: Path) -> None:
    """Theirs takes one length for the whole batch, so this batch has no padding."""
    rope = {"rope_type": "dynamic", "factor": 2.0}
    theirs = llama(rope_parameters=rope, max_position_embeddings=7)
    ours, ids = from_huggingface(theirs), torch.randint(VOCAB, (2, N))
    error = (ours(ids) - theirs(input_ids=ids, use_cache=False).logits).abs().max()
    assert error < 1e-5
    assert ours.config.max_length == 14
    config = to_huggingface(ours)[0]
    assert config["max_position_embeddings"] == 7
    check_back(ours, theirs, tmp_path)
    with pytest.raises(RuntimeError, match="depends on the length of the sequence"):
        ours(ids, cache=ours.new_cache(2, N))


@torch.no_grad()
@pytest.mark.parametrize("case", ["6 heads, 3 for keys", "llama3", "yarn"])
def test_positions_far_from_each_other(case: str) -> None:
    theirs, ids = llama(**CASES[case]), torch.randint(VOCAB, (2, N))
    ours = from_huggingface(theirs)
    positions = torch.tensor([0, 1, 2, 5, 40, 41, 300, 301, 302, 900, 1500, 1999, 2000])
    expected = theirs(input_ids=ids, position_ids=positions[None].expand(2, -1)).logits
    # Theirs multiplies positions and frequencies in float32: angles are off by 2000 · 2^-24.
    error = (ours(ids, positions=positions) - expected).abs().max()
    assert error < 1e-5 + 4 * 2000 * 2**-24
    assert (ours(ids) - expected).abs().max() > 0.01


def test_folders_that_they_wrote(tmp_path: Path) -> None:
    check_saved(llama(tie_word_embeddings=True), tmp_path, lambda model, ids: model(ids))


def test_settings_of_earlier_releases() -> None:
    theirs = llama(rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 99.0})
    ours = from_huggingface(theirs)
    config = theirs.config.to_dict() | {"rope_theta": 99.0}
    config["rope_scaling"] = {"type": "linear", "factor": 3.0}
    for name in ("rope_parameters", "attention_bias", "mlp_bias", "tie_word_embeddings"):
        del config[name]
    inverse = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(5)}
    again = from_huggingface_state(config, theirs.state_dict() | inverse)
    assert again.config == ours.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "tanh"}, "config has hidden_act='tanh', which is not known"),
        ({"hidden_size": None}, "config has no 'hidden_size'; give the whole config.json"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope_type='longrope', which is"),
        ({"rope_parameters": {"rope_type": "linear"}}, "config has no 'factor'"),
        ({"rope_parameters": {"full_attention": {}}}, "rotary settings for each kind of layer"),
        ({"partial_rotary_factor": 0.4}, "config turns 4 of 10 features, but these"),
        ({"partial_rotary_factor": 0.5}, "which turns 5 of 10 features; features are turned in pa"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    theirs = llama()
    config = {**theirs.config.to_dict(), **changes}
    with pytest.raises(ValueError, match=message):
        from_huggingface_state(config, theirs.state_dict())


def test_mistral_with_two_kinds_of_layers() -> None:
    theirs = mistral(4)
    config = theirs.config.to_dict() | {"layer_types": ["full_attention", "sliding_attention"]}
    with pytest.raises(ValueError, match="one window for all layers is what is known"):
        from_huggingface_state(config, theirs.state_dict())
