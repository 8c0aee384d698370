"""GPT-2: learned positions, transposed and fused weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from converting import VOCAB, N, check_back, check_causal, check_saved, theirs_of
from parity import FLOATS
from transformers import GPT2Config, GPT2LMHeadModel

from tfbook.models import from_huggingface, from_huggingface_state

CASES: dict[str, dict[str, Any]] = {
    "5 heads": {},
    "3 heads, untied": dict(n_head=3, n_embd=21, tie_word_embeddings=False),
    "four times the width": dict(n_inner=None),
    "epsilon, exact gelu": dict(layer_norm_epsilon=0.3, activation_function="gelu"),
}


def gpt2(dtype: torch.dtype = torch.float32, **changes: Any) -> GPT2LMHeadModel:
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, n_embd=35, n_head=5, n_layer=2, n_inner=17, n_positions=N,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return theirs_of(GPT2LMHeadModel, GPT2Config(**{**sizes, **changes}), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_gpt2_gives_the_same_logits(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = gpt2(dtype, **CASES[case])
    ours = check_causal(theirs, pure=True)
    assert ours.config.tie_output == theirs.config.tie_word_embeddings
    assert ours.config.max_length == N
    assert check_back(ours, theirs, tmp_path)["model_type"] == "gpt2"


def test_folders_that_they_wrote(tmp_path: Path) -> None:
    check_saved(gpt2(), tmp_path, lambda model, ids: model(ids))


def test_a_published_checkpoint_has_no_prefix_and_keeps_its_masks() -> None:
    theirs = gpt2()
    tensors = {
        name.removeprefix("transformer."): t
        for name, t in theirs.state_dict().items()
        if name != "lm_head.weight"
    }
    tensors["h.0.attn.bias"] = torch.ones(1, 1, N, N).tril()
    tensors["h.1.attn.masked_bias"] = torch.tensor(-1e4)
    config = theirs.config.to_dict() | {"architectures": ["GPT2LMHeadModel"]}
    ours, ids = from_huggingface_state(config, tensors), torch.randint(VOCAB, (2, N))
    assert torch.equal(ours(ids), from_huggingface(theirs)(ids))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True, which"),
        ({"scale_attn_weights": False}, "config has scale_attn_weights=False, which no part of"),
        ({"add_cross_attention": True}, "config has add_cross_attention=True, which no part of"),
        ({"activation_function": "mish"}, "config has activation_function='mish', which is not"),
    ],
)
def test_settings_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    theirs = gpt2()
    with pytest.raises(ValueError, match=message):
        from_huggingface_state({**theirs.config.to_dict(), **changes}, theirs.state_dict())
