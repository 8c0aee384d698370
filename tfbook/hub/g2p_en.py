"""The recurrent pronouncer of the package g2p-en."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tfbook.data import cmudict
from tfbook.data.wheels import WheelFile
from tfbook.models.recurrent import GRUEncoderDecoder
from tfbook.pronounce import Pronouncer
from tfbook.tokenizers.characters import CharacterTokenizer

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

# The order of g2p-en's output ids. Vowels carry their stress, and UW stands there without as well.
G2P_EN_PHONEMES = sorted(
    {vowel + stress for vowel in cmudict.VOWELS for stress in "012"}
    | {phoneme for phoneme in cmudict.PHONEMES if phoneme not in cmudict.VOWELS}
    | {"UW"}
)


def load_g2p_en(path: Path) -> Pronouncer[GRUEncoderDecoder]:
    """Build our model with the weights of g2p-en.

    Args:
        path: of the file ``G2P_EN``.

    Returns:
        The pronouncer.
    """
    letters = CharacterTokenizer("abcdefghijklmnopqrstuvwxyz")
    phonemes = CharacterTokenizer([*G2P_EN_PHONEMES, "<unk>"])
    with np.load(path, allow_pickle=False) as archive:
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
        card=g2p_en_card(),
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


def g2p_en_card() -> dict[str, object]:
    """Say where g2p-en comes from.

    Returns:
        Its card.
    """
    return {
        "name": "g2p-en",
        "origin": "g2p-en 2.1.0 on PyPI, by Kyubyong Park and Jongseok Kim",
        "licence": "Apache-2.0",
        "trained_on": "CMUdict with stress; its split is not published",
        "sha256": G2P_EN.sha256,
    }
