"""Log-probabilities of given continuations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import require
from tfbook.generation.prompts import PromptIds, id_lists, read_prompts, require_room
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
    prompts: PromptIds,
    continuations: PromptIds,
) -> Scores:
    r"""Give the log-probability of each continuation of each prompt, in one pass.

    .. math:: \log p(y \mid x) = \sum_t \log p(y_t \mid x, y_{<t})

    Args:
        model: in evaluation mode.
        prompts: lists of ids, a tokenizer's batch, or a tensor without padding; see
            :func:`generate`.
        continuations: one for each prompt, in the same forms.

    Returns:
        The log-probabilities, float32.

    Raises:
        ValueError: prompts or continuations that are empty, differ in number, hold no integers,
            are not of the vocabulary or too long for the model; no language model, or one in
            training mode.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> score(model, [[3, 4], [5]], [[6], [7, 8]]).lengths
        tensor([1, 2])

    Source: none. Chapter: 23.
    """
    before, after = id_lists("prompts", prompts), id_lists("continuations", continuations)
    require(
        len(before) == len(after),
        f"there are {len(before)} prompts and {len(after)} continuations; give one for each "
        "prompt, and repeat a prompt that has several",
    )
    for i, (prompt, continuation) in enumerate(zip(before, after, strict=True)):
        require(
            len(prompt) > 0 and len(continuation) > 0,
            f"prompts[{i}] has {len(prompt)} tokens and continuations[{i}] has "
            f"{len(continuation)}; both need at least one",
        )
    joined = read_prompts(model, [[*p, *c] for p, c in zip(before, after, strict=True)])
    longest = max(len(continuation) for continuation in after)
    require_room(model, joined.ids.shape[1] - longest, longest)
    # The padding is on the left, so all continuations end in the same column.
    log_p = joined.last_logits(model, longest + 1)[:, :-1].float().log_softmax(dim=-1)
    targets = joined.ids[:, -longest:].clamp(min=0)
    of_targets = rearrange(log_p.gather(2, targets[..., None]), "b n 1 -> b n")
    return _to_the_left(of_targets, [len(continuation) for continuation in after])


def _to_the_left(log_p: Tensor, lengths: list[int]) -> Scores:
    n = log_p.shape[1]
    moved = log_p.new_zeros(log_p.shape)
    for row, length in enumerate(lengths):
        moved[row, :length] = log_p[row, n - length :]
    return Scores(moved, torch.tensor(lengths, device=log_p.device), moved.sum(dim=1))
