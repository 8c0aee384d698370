"""Beam search with a decoder-only model, plain and in diverse groups."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from tfbook.checks import as_integer, require, require_divisible, require_positive
from tfbook.generation.arguments import require_number
from tfbook.generation.beam_group import BeamGroup, BeamRules, Hypotheses
from tfbook.generation.choosing import all_processors, process, require_choosing
from tfbook.generation.ends import Ends, read_ends
from tfbook.generation.next_token import NextToken
from tfbook.generation.prompts import PromptIds, Prompts, read_prompts, require_room
from tfbook.generation.protocols import LanguageModel, Processor
from tfbook.generation.sampling import Sampling


def generate_beams(
    model: LanguageModel,
    ids: PromptIds,
    *,
    max_new_tokens: int,
    n_beams: int,
    n_groups: int = 1,
    diversity_penalty: float = 0.0,
    length_penalty: float = 1.0,
    early_stopping: bool | None = False,
    sampling: Sampling = Sampling(),  # noqa: B008  (it is frozen)
    processors: Sequence[Processor] = (),
    eos_id: int | Sequence[int] | None = None,
    pad_id: int = 0,
    n_sequences: int = 1,
    use_cache: bool = True,
) -> Hypotheses:
    r"""Keep the best beginnings at every step, and rank the ends by their score.

    .. math:: s(y) = \frac{\log p(y \mid x)}{|y|^{\alpha}}

    with :math:`|y|` counting the end token. At each step the best continuations of the running
    beams are looked at: those among the first ``n_beams`` that end are put aside, and the best
    that do not end run on. When the number of tokens is reached, all that run end.

    A prompt is finished by ``early_stopping``: True, as soon as ``n_beams`` sequences have
    ended; False, when the best running beam's score at its present length is below the worst
    that ended (it might still rise, as the length does); None, only when no running beam can
    come to beat the worst that ended, whatever its further tokens.

    **Groups.** The beams are divided into groups, which take their tokens one after the other.
    A token with which beams of earlier groups run on at this step costs ``diversity_penalty``
    for each of them:

    .. math:: s_t^g(w) = \log p(w) - \lambda \sum_{h < g} \sum_b [y_t^{h,b} = w]

    The costs stay in the score that ranks the sequences, as in the programs in use;
    ``log_probs`` is without them. Each group ends for itself, and costs nothing from then on.

    Args:
        model: in evaluation mode.
        ids: prompts: lists of ids, a tokenizer's batch, or a tensor without padding; see
            :func:`generate`.
        max_new_tokens: most tokens to write, the end token included.
        n_beams: sequences kept, over all groups.
        n_groups: of beams; 1 is plain beam search.
        diversity_penalty: :math:`\lambda`, nats.
        length_penalty: :math:`\alpha`; 0 ranks by probability, larger prefers long sequences.
        early_stopping: when a prompt is finished, see above.
        sampling: only its penalties; beams do not draw.
        processors: functions from ``(ids, log-probabilities)`` to new ones, which are not
            normalised again.
        eos_id: the token that ends a sequence, or several; None means none.
        pad_id: what stands behind the end.
        n_sequences: to return for each prompt.
        use_cache: keep keys and values between steps.

    Returns:
        The best sequences, ``(batch, n_sequences, n)``.

    Raises:
        ValueError: what :func:`generate` refuses; a ``sampling`` that draws; ``n_beams`` that the
            groups do not divide or the vocabulary is too small for; more sequences than beams;
            a diversity penalty that is negative, or without groups; a length penalty that is not
            finite; or another ``early_stopping`` than the three.
        RuntimeError: processors forbid every token, or the model's rotary scaling depends on the
            length (``dynamic``), which needs ``use_cache=False``.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> generate_beams(
        ...     model, [[3, 4], [5]], max_new_tokens=4, n_beams=3, n_sequences=2).scores.shape
        torch.Size([2, 2])

    Source: Graves 2012, section 3; Vijayakumar et al. 2018, algorithm 1 (groups). Chapter: 23.
    """
    n_beams, n_groups = as_integer("n_beams", n_beams), as_integer("n_groups", n_groups)
    n_sequences = as_integer("n_sequences", n_sequences)
    max_new_tokens = as_integer("max_new_tokens", max_new_tokens)
    _require_beams(n_beams, n_groups, n_sequences, diversity_penalty)
    require_choosing(sampling, processors)
    require(
        sampling.is_greedy,
        f"sampling={sampling} draws, and beams do not; leave out temperature, cut-offs and seed, "
        "or use generate",
    )
    ends = read_ends(model, eos_id=eos_id, pad_id=pad_id, stop=(), tokenizer=None)
    prompts = read_prompts(model, ids)
    width = prompts.ids.shape[1]
    require_room(model, width, max_new_tokens)
    rules = BeamRules(
        n_beams // n_groups, max_new_tokens, ends.eos_ids, length_penalty, early_stopping
    )
    vocab = model.config.vocab_size
    require(
        rules.n_candidates <= vocab,
        f"n_beams={n_beams} in n_groups={n_groups} look at {rules.n_candidates} tokens, more than "
        f"the vocabulary's {vocab}; use fewer beams",
    )
    with torch.inference_mode():
        search = _Search(
            NextToken(model, prompts, max_length=width + max_new_tokens, use_cache=use_cache),
            prompts,
            all_processors(sampling, processors, prompt_length=width),
            rules,
            ends,
            n_groups=n_groups,
            diversity_penalty=diversity_penalty,
        )
        found = search.run().best(n_sequences)
    return _trimmed(found)


class _Search:
    """The groups, and the model that they share."""

    def __init__(
        self,
        next_token: NextToken,
        prompts: Prompts,
        processors: Sequence[Processor],
        rules: BeamRules,
        ends: Ends,
        *,
        n_groups: int,
        diversity_penalty: float,
    ) -> None:
        self._next_token, self._processors = next_token, processors
        self._diversity_penalty = diversity_penalty
        self._batch, device = len(prompts.ids), prompts.ids.device
        self._groups = [
            BeamGroup(rules, batch=self._batch, pad_id=ends.pad_id, device=device)
            for _ in range(n_groups)
        ]
        self._n_beams = n_groups * rules.size
        self._ids = prompts.ids.repeat_interleave(self._n_beams, dim=0)
        self._first_rows = torch.arange(self._batch, device=device)[:, None] * self._n_beams

    def run(self) -> Hypotheses:
        logits = self._next_token.first(copies=self._n_beams)
        while True:
            rows, tokens = self._advance(logits.float().log_softmax(dim=-1))
            if not any(bool(group.searches.any()) for group in self._groups):
                break
            self._ids = torch.cat([self._ids[rows], tokens[:, None]], dim=1)
            self._next_token.reorder(rows)
            logits = self._next_token.after(self._ids)
        found = self._groups[0].ended
        for group in self._groups[1:]:
            found = found.joined(group.ended)
        return found

    def _advance(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        gains = process(self._ids, log_p, self._processors)
        pattern = "(b g k) v -> g b k v"
        sizes = dict(b=self._batch, g=len(self._groups))
        taken = log_p.new_zeros(self._batch, log_p.shape[1])
        parents: list[Tensor] = []
        tokens: list[Tensor] = []
        for group, of_gains, of_log_p in zip(
            self._groups,
            rearrange(gains, pattern, **sizes),
            rearrange(log_p, pattern, **sizes),
            strict=True,
        ):
            cost = self._diversity_penalty * taken
            searched = group.searches[:, None].expand(-1, of_gains.shape[1])
            parent, token = group.advance(of_gains - cost[:, None], of_log_p)
            taken.scatter_add_(1, token, searched.to(taken.dtype))
            parents.append(parent + sum(part.shape[1] for part in parents))
            tokens.append(token)
        rows = torch.cat(parents, dim=1) + self._first_rows
        return rows.flatten(), torch.cat(tokens, dim=1).flatten()


def _trimmed(found: Hypotheses) -> Hypotheses:
    """Without columns of padding only; clones, as inference tensors cannot be trained on."""
    n = int(found.lengths.max())
    return Hypotheses(
        found.ids[:, :, :n].clone(),
        found.scores.clone(),
        found.lengths.clone(),
        found.log_probs.clone(),
    )


def _require_beams(n_beams: int, n_groups: int, n_sequences: int, penalty: float) -> None:
    require_divisible("n_beams", n_beams, "n_groups", n_groups)
    require_positive("n_sequences", n_sequences)
    require(
        n_sequences <= n_beams,
        f"n_sequences={n_sequences} must be at most n_beams={n_beams}; search with more beams",
    )
    require_number("diversity_penalty", penalty)
    require(
        0 <= penalty < float("inf"),
        f"diversity_penalty={penalty} must be at least 0 and finite; 0 turns it off",
    )
    require(
        penalty == 0 or n_groups > 1,
        f"diversity_penalty={penalty} acts between groups, and n_groups=1; use more groups",
    )
