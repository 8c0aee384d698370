"""The book's own language models: weights, tokenizer and card from the files of a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tfbook import hub
from tfbook.hub.own import OWN_MODELS, OwnModel, load_own
from tfbook.models import CausalLM, CausalLMConfig, StackConfig, TextEncoder, TextEncoderConfig
from tfbook.models.checkpoints import save_model
from tfbook.tokenizers import BPETokenizer, CharacterTokenizer

OWN = OwnModel(
    name="tiny",
    weights="tiny/words.safetensors",
    tokenizer="tiny/words-tokenizer.json",
    recipe="tiny",
    trained_on="nothing",
)
STACK = StackConfig(d_model=12, n_heads=3, d_ff=24, n_layers=1, placement="pre")
TOKENIZERS = [CharacterTokenizer("abc"), BPETokenizer.train(["a cab"], vocab_size=258)]


def ship(
    folder: Path, tokenizer: CharacterTokenizer | BPETokenizer, vocab_size: int | None = None
) -> CausalLM:
    """Write what a recipe writes."""
    config = CausalLMConfig(vocab_size=vocab_size or tokenizer.vocab_size, decoder=STACK)
    model = CausalLM(config).eval()
    (folder / "tiny").mkdir(exist_ok=True)
    save_model(folder / OWN.weights, model)
    (folder / OWN.tokenizer).write_text(tokenizer.to_json(), "utf-8")
    return model


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["characters", "bpe"])
def test_what_a_recipe_shipped(
    tokenizer: CharacterTokenizer | BPETokenizer, tmp_path: Path
) -> None:
    model = ship(tmp_path, tokenizer)
    loaded = load_own(OWN, tmp_path)
    ids = torch.tensor([loaded.tokenizer.encode("cab")])
    assert ids.tolist() == [tokenizer.encode("cab")]
    assert torch.equal(loaded.model(ids), model(ids))
    assert loaded.card["origin"] == "trained by recipes/tiny of this book"
    assert len(loaded.card["sha256"]) == 64
    small = load_own(OWN, tmp_path, weights="int8")
    assert small.model(ids).dtype == torch.bfloat16
    assert small.card["weights"] == "int8"


def test_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ship(tmp_path, TOKENIZERS[0])
    monkeypatch.setattr(hub, "PRETRAINED", tmp_path)
    monkeypatch.setattr(hub, "OWN_MODELS", (OWN,))
    monkeypatch.setattr(hub, "NAMES", (*hub.NAMES, "tiny"))
    assert hub.load("tiny").card["name"] == "tiny"


def test_missing_files(tmp_path: Path) -> None:
    ship(tmp_path, TOKENIZERS[0])
    for name in (OWN.tokenizer, OWN.weights):
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=r"is missing; install the package again"):
            load_own(OWN, tmp_path)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    ship(tmp_path, TOKENIZERS[0], vocab_size=17)
    with pytest.raises(ValueError, match=r"holds no language model for the \d+ tokens of"):
        load_own(OWN, tmp_path)
    vocab_size = TOKENIZERS[0].vocab_size
    encoder = TextEncoder(TextEncoderConfig(vocab_size=vocab_size, encoder=STACK))
    save_model(tmp_path / OWN.weights, encoder)
    with pytest.raises(ValueError, match="holds no language model"):
        load_own(OWN, tmp_path)


@pytest.mark.parametrize("own", OWN_MODELS, ids=lambda own: own.name)
def test_every_shipped_model_loads(own: OwnModel) -> None:
    loaded = load_own(own, hub.PRETRAINED)
    assert (hub.PRETRAINED / own.weights).stat().st_size < 8e6
    assert loaded.model(torch.tensor([[1, 2]])).shape[-1] == loaded.tokenizer.vocab_size
