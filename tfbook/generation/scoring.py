"""Log-probabilities of given continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import require
from tfbook.generation.prompts import read_prompts, require_room
from tfbook.generation.protocols import LanguageModel


@dataclass(frozen=True)
class Scores:
    """How probable continuations are.

    Args:
        log_probs: of every token given all before it, nats, ``(batch, n)``; 0 behind the end.
        lengths: of the continuations, tokens, ``(batch,)``.
        totals: of the continuations, nats, ``(batch,)``.

    Chapter: 23.
    """

    log_probs: Float[Tensor, "batch n"]
    lengths: Int[Tensor, "batch"]
    totals: Float[Tensor, "batch"]


@torch.no_grad()
def score(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
) -> Scores:
    r"""Give the log-probability of each continuation of each prompt, in one pass.

    .. math:: \log p(y \mid x) = \sum_t \log p(y_t \mid x, y_{<t})

    Args:
        model: in evaluation mode.
        prompts: lists of ids.
        continuations: a list of ids for each prompt.

    Returns:
        The log-probabilities, float32.

    Raises:
        ValueError: prompts or continuations that are empty, differ in number, are not of the
            vocabulary or too long for the model, or a model in training mode.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> score(model, [[3, 4], [5]], [[6], [7, 8]]).lengths
        tensor([1, 2])

    Source: none. Chapter: 23.
    """
    require(
        len(prompts) == len(continuations),
        f"there are {len(prompts)} prompts and {len(continuations)} continuations; give one for "
        "each prompt, and repeat a prompt that has several",
    )
    for i, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
        require(
            len(prompt) > 0 and len(continuation) > 0,
            f"prompts[{i}] has {len(prompt)} tokens and continuations[{i}] has "
            f"{len(continuation)}; both need at least one",
        )
    whole = [[*p, *c] for p, c in zip(prompts, continuations, strict=True)]
    joined = read_prompts(model, whole)
    longest = max(len(continuation) for continuation in continuations)
    require_room(model, joined.ids.shape[1] - longest, longest)
    # The padding is on the left, so all continuations end in the same column.
    log_p = joined.last_logits(model, longest + 1)[:, :-1].float().log_softmax(dim=-1)
    targets = joined.ids[:, -longest:].clamp(min=0)
    of_targets = rearrange(log_p.gather(2, targets[..., None]), "b n 1 -> b n")
    return _to_the_left(of_targets, [len(continuation) for continuation in continuations])


def _to_the_left(log_p: Tensor, lengths: list[int]) -> Scores:
    n = log_p.shape[1]
    moved = log_p.new_zeros(log_p.shape)
    for row, length in enumerate(lengths):
        moved[row, :length] = log_p[row, n - length :]
    return Scores(moved, torch.tensor(lengths, device=log_p.device), moved.sum(dim=1))
