"""GPT-NeoX: parallel blocks, a part of each head turned, weights fused head by head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from converting import VOCAB, N, check_back, check_causal, check_saved, theirs_of
from parity import FLOATS
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from tfbook.models import from_huggingface, from_huggingface_state

LINEAR = {"rope_type": "linear", "factor": 3.0, "rope_theta": 99.0, "partial_rotary_factor": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "5 heads, 4 of 10 features": {},
    "one block after the other": dict(use_parallel_residual=False),
    "3 heads, no attention biases": dict(
        num_attention_heads=3, hidden_size=24, attention_bias=False, rotary_pct=0.25
    ),
    "whole heads, tied": dict(rotary_pct=1.0, tie_word_embeddings=True),
    "scaled, tanh": dict(hidden_size=40, rope_parameters=LINEAR, hidden_act="gelu_new"),
    "epsilon": dict(layer_norm_eps=0.3),
}


def neox(dtype: torch.dtype = torch.float32, **changes: Any) -> GPTNeoXForCausalLM:
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, hidden_size=50, num_attention_heads=5, intermediate_size=17,
        num_hidden_layers=2, max_position_embeddings=N, bos_token_id=1, eos_token_id=2,
        rotary_pct=0.4001, rotary_emb_base=77.0,
    )  # fmt: skip
    return theirs_of(GPTNeoXForCausalLM, GPTNeoXConfig(**{**sizes, **changes}), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_gpt_neox_gives_the_same_logits(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = neox(dtype, **CASES[case])
    ours = check_causal(theirs, pure=False)
    assert ours.config.tie_output == theirs.config.tie_word_embeddings
    assert check_back(ours, theirs, tmp_path)["model_type"] == "gpt_neox"


def test_folders_that_they_wrote(tmp_path: Path) -> None:
    check_saved(neox(), tmp_path, lambda model, ids: model(ids))


def test_a_published_checkpoint_has_other_names() -> None:
    theirs = neox()
    tensors = dict(theirs.state_dict())
    tensors["embed_out.weight"] = tensors.pop("lm_head.weight")
    for name in ("bias", "masked_bias", "rotary_emb.inv_freq"):
        tensors[f"gpt_neox.layers.1.attention.{name}"] = torch.ones(3)
    config = theirs.config.to_dict()
    del config["rope_parameters"]
    config |= {"rotary_pct": 0.4001, "rotary_emb_base": 77.0}
    ours, ids = from_huggingface_state(config, tensors), torch.randint(VOCAB, (2, N))
    assert torch.equal(ours(ids), from_huggingface(theirs)(ids))
