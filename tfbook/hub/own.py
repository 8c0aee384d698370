"""Language models that this book trained: their weights and tokenizers lie in the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tfbook.files import sha256_file
from tfbook.hub.pretrained import Pretrained, Weights, with_weights
from tfbook.models.causal_lm import CausalLM
from tfbook.models.checkpoints import load_model
from tfbook.tokenizers import BPETokenizer, CharacterTokenizer
from tfbook.tokenizers.characters import FORMAT as CHARACTERS

OwnTokenizer = BPETokenizer | CharacterTokenizer


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """A language model that a recipe of this book trained.

    Args:
        name: by which ``tfbook.hub.load`` knows it.
        weights: the file of ``tfbook.models.save_model``, below ``tfbook/pretrained``.
        tokenizer: the tokenizer's JSON, there as well.
        recipe: the folder that trained it, below ``recipes``.
        trained_on: the data, in words.
        licence: of the weights.
    """

    name: str
    weights: str
    tokenizer: str
    recipe: str
    trained_on: str
    licence: str = "MIT"


# A recipe that ships a language model adds it here, and its name to the overloads of `load`.
OWN_MODELS: tuple[OwnModel, ...] = (
    OwnModel(
        name="king-james",
        weights="king_james/bpe.safetensors",
        tokenizer="king_james/bpe-tokenizer.json",
        recipe="king_james_lm",
        trained_on="the King James Bible, 1,024 BPE tokens, nine tenths of the text",
        licence="MIT; trained on text in the public domain",
    ),
    OwnModel(
        name="king-james-characters",
        weights="king_james/characters.safetensors",
        tokenizer="king_james/characters-tokenizer.json",
        recipe="king_james_lm",
        trained_on="the King James Bible, characters, nine tenths of the text",
        licence="MIT; trained on text in the public domain",
    ),
)


def load_own(
    own: OwnModel,
    folder: Path,
    *,
    weights: Weights = "float32",
    device: torch.device | str = "cpu",
) -> Pretrained[CausalLM, OwnTokenizer]:
    """Load a language model that a recipe shipped.

    Args:
        own: which.
        folder: that its files are below.
        weights: ``float32``, ``bfloat16`` or ``int8``.
        device: where the model goes.

    Returns:
        Model, tokenizer and card.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or the two do not belong together.
    """
    weights_path, tokenizer_path = folder / own.weights, folder / own.tokenizer
    for path in (weights_path, tokenizer_path):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; install the package again")
    tokenizer = _tokenizer(tokenizer_path)
    model = load_model(weights_path)
    if not isinstance(model, CausalLM) or model.config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"{weights_path} holds no language model for the {tokenizer.vocab_size} tokens of "
            f"{tokenizer_path.name}; install the package again"
        )
    return Pretrained(
        model=with_weights(model, weights, device),
        tokenizer=tokenizer,
        card={**own_card(own), "sha256": sha256_file(weights_path), "weights": weights},
    )


def own_card(own: OwnModel) -> dict[str, Any]:
    """Say where a language model of this book comes from.

    Args:
        own: which.

    Returns:
        Its card.
    """
    return {
        "name": own.name,
        "origin": f"trained by recipes/{own.recipe} of this book",
        "licence": own.licence,
        "carried_by": "tfbook itself",
        "hash_checked": "at every load, against the hash of its content in the file's header",
        "trained_on": own.trained_on,
    }


def _tokenizer(path: Path) -> OwnTokenizer:
    text = path.read_text("utf-8")
    if f'"{CHARACTERS}"' in text[:200]:
        return CharacterTokenizer.from_json(text)
    return BPETokenizer.from_json(text)
