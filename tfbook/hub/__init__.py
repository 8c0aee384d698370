"""Pretrained models by name, and the files that they and the book need."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, overload

import torch

from tfbook.checks import require, require_choice
from tfbook.data import cmudict, king_james
from tfbook.data.wheels import WheelFile, cache_dir, cache_path, fetch, fetch_together
from tfbook.hub.g2p_en import G2P_EN, g2p_en_card, load_g2p_en
from tfbook.hub.minilm import MINILM, MINILM_CARD, MINILM_VOCABULARY, load_minilm
from tfbook.hub.own import OWN_MODELS, load_own, own_card
from tfbook.hub.pretrained import WEIGHTS, Pretrained, Weights, require_device
from tfbook.hub.smollm2 import SMOLLM2, SMOLLM2_CARD, load_smollm2
from tfbook.models.causal_lm import CausalLM
from tfbook.models.encoder_decoder import EncoderDecoder
from tfbook.models.recurrent import GRUEncoderDecoder
from tfbook.models.sentence_encoder import SentenceEncoder
from tfbook.pronounce import Pronouncer, load_pronouncer
from tfbook.tokenizers import BPETokenizer, CharacterTokenizer
from tfbook.tokenizers.gpt2_files import GPT2_RANKS
from tfbook.tokenizers.wordpiece import WordPieceTokenizer

__all__ = [
    "BOOK_FILES",
    "Pretrained",
    "WheelFile",
    "cache_dir",
    "cache_path",
    "cards",
    "fetch",
    "fetch_all",
    "fetch_together",
    "load",
]

BOOK_FILES = (
    cmudict.SOURCE,
    G2P_EN,
    king_james.SOURCE,
    MINILM,
    MINILM_VOCABULARY,
    SMOLLM2,
    GPT2_RANKS,
)

PRETRAINED = Path(__file__).parents[1] / "pretrained"

PRONOUNCERS = ("g2p", "g2p-en")
NAMES = (*PRONOUNCERS, "minilm", "smollm2-135m-instruct", *(own.name for own in OWN_MODELS))


def fetch_all() -> list[Path]:
    """Fetch every file that the book needs, so that all later runs work without a network.

    Returns:
        The verified local paths, in the order of ``BOOK_FILES``.

    Raises:
        RuntimeError: a file cannot be fetched. Those before it are kept.

    Example:
        >>> for path in fetch_all():
        ...     print(path.name)
        cmudict.dict
        checkpoint20.npz
        plain_text_readers_bible.py
        model.safetensors
        vocab.txt
        SmolLM2-135M-Instruct.Q4_1.gguf
        gpt2.tiktoken
    """
    paths: list[Path] = []
    for _, files in groupby(BOOK_FILES, key=lambda file: file.requirement):
        paths += fetch_together(list(files))
    return paths


def cards() -> list[dict[str, Any]]:
    """Give the cards of all models that :func:`load` knows, without loading or fetching any.

    Returns:
        For each model its name, origin, licence and more, and its ``size``: bytes of the
        download, or of the file in this package.

    Raises:
        OSError: a file is missing from the package.

    Example:
        >>> [card["name"] for card in cards()][:4]
        ['g2p', 'g2p-en', 'minilm', 'smollm2-135m-instruct']

    Chapter: 05.
    """
    g2p = json.loads((PRETRAINED / "g2p.json").read_bytes())["card"]
    own = [own_card(o) | {"size": (PRETRAINED / o.weights).stat().st_size} for o in OWN_MODELS]
    return [
        g2p | {"size": (PRETRAINED / "g2p.safetensors").stat().st_size},
        g2p_en_card() | {"size": G2P_EN.download_size},
        MINILM_CARD | {"size": MINILM.download_size},
        SMOLLM2_CARD | {"size": SMOLLM2.download_size},
        *own,
    ]


@overload
def load(name: Literal["g2p"]) -> Pronouncer[EncoderDecoder]: ...
@overload
def load(name: Literal["g2p-en"]) -> Pronouncer[GRUEncoderDecoder]: ...
@overload
def load(
    name: Literal["minilm"], *, weights: Weights = ..., device: torch.device | str = ...
) -> Pretrained[SentenceEncoder, WordPieceTokenizer]: ...
@overload
def load(
    name: Literal["smollm2-135m-instruct"],
    *,
    weights: Weights = ...,
    device: torch.device | str = ...,
) -> Pretrained[CausalLM, BPETokenizer]: ...
@overload
def load(
    name: Literal["king-james"], *, weights: Weights = ..., device: torch.device | str = ...
) -> Pretrained[CausalLM, BPETokenizer]: ...
@overload
def load(
    name: Literal["king-james-characters"],
    *,
    weights: Weights = ...,
    device: torch.device | str = ...,
) -> Pretrained[CausalLM, CharacterTokenizer]: ...
@overload
def load(name: str, *, weights: Weights = ..., device: torch.device | str = ...) -> Any: ...
def load(name: str, *, weights: Weights = "float32", device: torch.device | str = "cpu") -> Any:
    """Load a pretrained model with its tokenizer.

    - ``"g2p"``: the Transformer of chapter 15, which this package carries. It gives phonemes
      without stress.
    - ``"g2p-en"``: the recurrent model of the package ``g2p-en`` by Park and Kim, fetched once.
      Its phonemes carry stress digits; ``tfbook.data.cmudict.remove_stress`` drops them. It was
      trained on CMUdict with a split that is not published: most of our test words were probably
      among its own.
    - ``"minilm"``: all-MiniLM-L6-v2, which turns a sentence of up to 256 tokens into a unit vector
      of 384 numbers. Fetched once, 84 MB.
    - ``"smollm2-135m-instruct"``: SmolLM2-135M-Instruct, a language model that answers. Its weights
      are stored in four bits; ``float32`` gives exactly the numbers that those stand for.
      Fetched once, 93 MB.
    - ``"king-james"`` and ``"king-james-characters"``: small language models of chapter 5, on the
      King James Bible, of subwords and of characters, which this package carries.

    Args:
        name: the model's name.
        weights: of all but the pronouncers: ``float32``; ``bfloat16``, half as large; or
            ``int8``, a quarter: integers in the linear layers, and bfloat16 elsewhere.
        device: where they go.

    Returns:
        For a pronouncer, the model in evaluation mode, in float32 on the CPU, the tokenizers of
        its letters and of its phonemes, the limits of input and output, and a card that says
        where the model comes from. For the others, model, tokenizer and card.

    Raises:
        ValueError: no model has this name, the weights are of no known kind, the device cannot
            be used, a pronouncer is asked for other weights or another device than it has, or a
            file is damaged.
        FileNotFoundError: a file is missing from the package.
        RuntimeError: a file cannot be fetched.

    Example:
        >>> pronouncer = load("g2p-en")
        >>> sum(parameter.numel() for parameter in pronouncer.model.parameters())
        834890
        >>> pronouncer.card["licence"]
        'Apache-2.0'
        >>> minilm = load("minilm")
        >>> batch = minilm.tokenizer.encode_batch(["eat", "meal", "physics"])
        >>> vectors = minilm.model(batch.ids, lengths=batch.lengths)
        >>> [round(cosine, 2) for cosine in (vectors[0] @ vectors.T).tolist()]
        [1.0, 0.74, 0.16]

    Chapter: 15.
    """
    require_choice("name", name, NAMES)
    require_choice("weights", weights, WEIGHTS)
    require_device(device)
    if name in PRONOUNCERS:
        require(
            weights == "float32" and str(device) == "cpu",
            f"weights={weights!r} and device={str(device)!r} are for the other models; load "
            f"{name!r} without them, and move its model",
        )
        if name == "g2p":
            return load_pronouncer(PRETRAINED / "g2p.json")
        return load_g2p_en(fetch(G2P_EN))
    if name == "minilm":
        paths = fetch_together([MINILM, MINILM_VOCABULARY])
        return load_minilm(*paths, weights=weights, device=device)
    if name == "smollm2-135m-instruct":
        return load_smollm2(fetch(SMOLLM2), weights=weights, device=device)
    own = next(own for own in OWN_MODELS if own.name == name)
    return load_own(own, PRETRAINED, weights=weights, device=device)
