"""Models of Hugging Face with random weights, ours with the same, and what their tests share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from parity import randomized
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tfbook.models import CausalLM
from tfbook.models.convert import from_huggingface

VOCAB, LONGEST, EOS, PAD = 31, 41, 2, 0
PROMPTS = [[3, 7, 11, 5, 7], [4], [13, 6, 29]]


class Letters:
    """A tokenizer of one letter a token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Give the letters."""
        return "".join(chr(ord("A") + i) for i in ids)


def ends_often(head: nn.Linear, factor: float) -> None:
    """Let the end come at varied places: its logit varies most."""
    head.weight.data *= 1.5
    head.weight.data[EOS] *= factor


@cache
def shared_pair(name: str) -> tuple[CausalLM, Any]:
    """Ours and theirs for tests that leave them as they are; see :func:`pair`."""
    return pair(name)


def pair(name: str, dtype: torch.dtype = torch.float64) -> tuple[CausalLM, Any]:
    """Ours and theirs; ``name`` is gpt2 or llama.

    In float64, so that ties and roundings decide nothing. The output is not tied to the
    embedding, or most of the text would be one token.
    """
    ends: dict[str, Any] = dict(bos_token_id=1, eos_token_id=EOS, pad_token_id=PAD)
    ends["tie_word_embeddings"] = False
    if name == "gpt2":
        sizes = dict(n_positions=LONGEST, n_embd=22, n_layer=2, n_head=2, n_inner=13)
        theirs: Any = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, **sizes, **ends))
        randomized(theirs, dtype)
        # What does not depend on the tokens would decide all of them.
        theirs.transformer.wte.weight.data *= 6
        theirs.transformer.ln_f.bias.data *= 0
    else:
        sizes = dict(hidden_size=24, intermediate_size=13, num_hidden_layers=2)
        heads = dict(num_attention_heads=6, num_key_value_heads=3)
        config = LlamaConfig(
            vocab_size=VOCAB, max_position_embeddings=LONGEST, **sizes, **heads, **ends
        )
        theirs = LlamaForCausalLM(config)
        randomized(theirs, dtype)
    ends_often(theirs.lm_head, -6.0 if name == "gpt2" else -2.5)
    ours = from_huggingface(theirs)
    assert isinstance(ours, CausalLM)
    return ours.to(dtype).eval(), theirs


def left_padded(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    """Prompts as theirs wants them."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[PAD] * (longest - len(prompt)) + prompt for prompt in prompts]
    real = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return dict(input_ids=torch.tensor(ids), attention_mask=torch.tensor(real))
