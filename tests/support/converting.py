"""Models of Hugging Face and ours, made of each other, whole, padded and decoded in steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from parity import close, randomized
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from tfbook.models import CausalLM, from_huggingface, to_huggingface

VOCAB, N, PROMPT = 29, 13, 5
LENGTHS = (N, 10, 7)
#: Their special ids must lie in the vocabulary.
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def theirs_of(kind: type[PreTrainedModel], config: Any, dtype: torch.dtype) -> Any:
    """One of their models with weights drawn anew, what is tied still tied."""
    return randomized(kind(config), dtype)


def agree(ours: Tensor, theirs: Tensor, *, pure: bool) -> None:
    """Theirs may hold float32 steps in a float64 model."""
    if not pure:
        ours, theirs = ours.float(), theirs.float()
    close(ours, theirs)


def padding(side: str) -> Tensor:
    """True at the real tokens of a batch that is padded on one side, or not at all."""
    lengths, at = torch.tensor(LENGTHS)[:, None], torch.arange(N)
    if side == "none":
        return torch.ones(len(LENGTHS), N, dtype=torch.bool)
    return at < lengths if side == "right" else at >= N - lengths


def positions_of(real: Tensor) -> Tensor:
    """Positions that count real tokens."""
    return (real.cumsum(-1) - 1).clamp(min=0)


@torch.no_grad()
def check_causal(theirs: PreTrainedModel, *, pure: bool, cached: bool = True) -> CausalLM:
    """Ours, made of theirs, gives its logits: padded on either side, and token by token."""
    ours = from_huggingface(theirs)
    assert isinstance(ours, CausalLM)
    assert not ours.training
    ids = torch.randint(VOCAB, (len(LENGTHS), N))
    for side in ("none", "left", "right"):
        real = padding(side)
        positions = positions_of(real)
        expected = theirs(
            input_ids=ids, attention_mask=real.long(), position_ids=positions, use_cache=False
        ).logits
        got = ours(ids, mask=real[:, None, None], positions=positions)
        agree(got[real], expected[real], pure=pure)
    if cached:
        agree(cached_ours(ours, ids), cached_theirs(theirs, ids), pure=pure)
    return ours


def pieces() -> list[slice]:
    """A prompt, then single tokens."""
    return [slice(0, PROMPT), *(slice(i, i + 1) for i in range(PROMPT, N))]


def cached_ours(model: CausalLM, ids: Tensor) -> Tensor:
    """Logits of all tokens, through a cache."""
    cache = model.new_cache(len(ids), N)
    return torch.cat([model(ids[:, part], cache=cache) for part in pieces()], dim=1)


def cached_theirs(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Logits of all tokens, through a cache of theirs."""
    cache = DynamicCache(config=model.config)
    steps = [model(input_ids=ids[:, p], past_key_values=cache, use_cache=True) for p in pieces()]
    return torch.cat([step.logits for step in steps], dim=1)


@torch.no_grad()
def check_back(ours: nn.Module, theirs: PreTrainedModel, folder: Path) -> dict[str, Any]:
    """What is written of ours gives exactly theirs: from memory, and from a folder."""
    config, state = to_huggingface(ours, folder)
    ids = torch.randint(VOCAB, (2, N))
    expected = theirs(input_ids=ids)[0]
    again = type(theirs)(type(theirs.config).from_dict(config)).to(expected.dtype).eval()
    again.load_state_dict(state)
    assert torch.equal(again(input_ids=ids)[0], expected)
    loaded = type(theirs).from_pretrained(folder).eval()
    assert loaded.dtype == expected.dtype
    assert torch.equal(loaded(input_ids=ids)[0], expected)
    ours_again = from_huggingface(folder)
    for (name, a), (_, b) in zip(
        ours.named_parameters(), ours_again.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    return config


def check_saved(
    theirs: PreTrainedModel, folder: Path, run: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    """A folder that they wrote, in one file and in several, gives the same model."""
    ids = torch.randint(VOCAB, (2, N))
    with torch.no_grad():
        expected = run(from_huggingface(theirs), ids)
        for name, size in (("whole", "1GB"), ("parts", "5KB")):
            theirs.save_pretrained(folder / name, max_shard_size=size)
            assert torch.equal(run(from_huggingface(folder / name), ids), expected)
    assert len(list((folder / "parts").glob("*.safetensors"))) > 1
