"""SmolLM2 as it is loaded: its logits against transformers, its text, each kind of weights."""

from __future__ import annotations

import copy

import gguf_files
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfbook import hub
from tfbook.compression import Int8Linear, stored_bytes
from tfbook.data import king_james
from tfbook.generation import generate
from tfbook.hub import Pretrained
from tfbook.hub.gguf import read_gguf
from tfbook.hub.llama_gguf import LlamaTensors, llama_config
from tfbook.hub.pretrained import with_weights
from tfbook.models import CausalLM
from tfbook.tokenizers import BPETokenizer

NAME = "smollm2-135m-instruct"
SmolLM2 = Pretrained[CausalLM, BPETokenizer]


@pytest.fixture(scope="module")
def smollm2() -> SmolLM2:
    return hub.load(NAME)


@pytest.fixture(scope="module")
def ids(smollm2: SmolLM2) -> Tensor:
    """512 tokens of text."""
    text = king_james.load("validation")[0]
    return torch.tensor([smollm2.tokenizer.encode(text)[:512]])


@pytest.fixture(scope="module")
def logits(smollm2: SmolLM2, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return smollm2.model(ids)


def cross_entropy(logits: Tensor, ids: Tensor) -> float:
    """Nats per token."""
    return F.cross_entropy(logits[0, :-1].float(), ids[0, 1:]).item()


class ExactAngles(nn.Module):
    """Cosines and sines of angles in float64; transformers rounds frequencies and angles first."""

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        frequencies = 100_000.0 ** -(torch.arange(0, 64, 2, dtype=torch.float64) / 64)
        angles = position_ids.double()[..., None] * frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def test_logits_equal_those_of_transformers(ids: Tensor, logits: Tensor) -> None:
    values, stored = read_gguf(hub.fetch(hub.SMOLLM2))
    config = llama_config(values, stored)
    theirs = gguf_files.transformers_llama(config, dict(LlamaTensors(stored, config)))
    with torch.no_grad():
        rounded = theirs(ids).logits
        theirs.model.rotary_emb = ExactAngles()
        exact = theirs(ids).logits
    assert ids.shape == (1, 512)
    assert exact.abs().max() > 20
    assert (logits - exact).abs().max() < 1e-4
    # Angles in float32 move logits of up to 40 by as much as 1.6e-4.
    assert (logits - rounded).abs().max() < 3e-4


def test_it_answers(smollm2: SmolLM2) -> None:
    tokenizer = smollm2.tokenizer
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.encode(tokenizer.apply_chat_template(chat))
    answer = generate(
        smollm2.model,
        [prompt],
        max_new_tokens=24,
        eos_id=tokenizer.eos_id,
        tokenizer=tokenizer,
    )
    assert answer.texts == ("The capital of France is Paris.",)
    assert answer.stopped_by == (tokenizer.token_to_id("<|im_end|>"),)


def test_tokenizer_and_card(smollm2: SmolLM2) -> None:
    tokenizer, card = smollm2.tokenizer, smollm2.card
    assert tokenizer.vocab_size == smollm2.model.config.vocab_size == 49_152
    assert len(tokenizer.merges) == 48_900
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id) == (1, 2, 2, 0)
    for key in ("name", "origin", "licence", "carried_by", "sha256", "hash_checked", "weights"):
        assert card[key]
    assert (card["licence"], card["weights"]) == ("Apache-2.0", "float32")
    assert not smollm2.model.training


def test_bfloat16(smollm2: SmolLM2, ids: Tensor, logits: Tensor) -> None:
    half = with_weights(copy.deepcopy(smollm2.model), "bfloat16", "cpu")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert stored_bytes(half) == stored_bytes(smollm2.model) / 2
    with torch.no_grad():
        changed = half(ids)
    assert abs(cross_entropy(changed, ids) - cross_entropy(logits, ids)) < 0.02


def test_int8(smollm2: SmolLM2, ids: Tensor, logits: Tensor) -> None:
    small = with_weights(copy.deepcopy(smollm2.model), "int8", "cpu")
    assert sum(isinstance(module, Int8Linear) for module in small.modules()) == 211
    # A byte for each of 134 million weights, their scales, and the norms.
    assert stored_bytes(small) < 0.26 * stored_bytes(smollm2.model)
    with torch.no_grad():
        changed = small(ids)
    assert changed.dtype == torch.bfloat16
    assert abs(cross_entropy(changed, ids) - cross_entropy(logits, ids)) < 0.05
    same = (changed.argmax(-1) == logits.argmax(-1)).float().mean()
    assert same > 0.93


def test_unknown_weights() -> None:
    with pytest.raises(ValueError, match="weights='int4' is unknown; use 'float32', 'bfloat16' or"):
        hub.load(NAME, weights="int4")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="weights='int4' is unknown; use 'float32', 'bfloat16' or"):
        with_weights(nn.ReLU(), "int4", "cpu")
