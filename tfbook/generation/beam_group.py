"""One group of beams: which sequences go on, and which have ended."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tfbook.checks import require
from tfbook.generation.arguments import require_number


@dataclass(frozen=True)
class BeamRules:
    """What a group of beams follows; see :func:`generate_beams`.

    Args:
        size: beams of the group.
        max_new_tokens: most tokens to write.
        eos_ids: end tokens.
        length_penalty: exponent of the length.
        early_stopping: when to stop.

    Raises:
        ValueError: a length penalty that is not finite, or another ``early_stopping`` than the
            three.

    Chapter: 23.
    """

    size: int
    max_new_tokens: int
    eos_ids: tuple[int, ...]
    length_penalty: float
    early_stopping: bool | None

    def __post_init__(self) -> None:
        """Check what would rank wrongly in silence."""
        require_number("length_penalty", self.length_penalty)
        require(
            math.isfinite(self.length_penalty),
            f"length_penalty={self.length_penalty} must be finite; 0 ranks by probability",
        )
        require(
            self.early_stopping is None or isinstance(self.early_stopping, bool),
            f"early_stopping={self.early_stopping!r} must be True, False or None; None is what "
            "others call 'never'",
        )

    @property
    def n_candidates(self) -> int:
        """Continuations looked at: enough that ``size`` of them go on, whatever ends."""
        return self.size * max(2, 1 + len(self.eos_ids))


@dataclass(frozen=True)
class Hypotheses:
    """Sequences, the best first.

    Args:
        ids: new tokens, ``(batch, beam, n)``.
        scores: that rank them, ``(batch, beam)``; −∞ where there is no sequence.
        lengths: tokens.
        log_probs: under the model, nats.

    Example:
        >>> two = torch.tensor([[-3.0, -1.0]])
        >>> found = Hypotheses(torch.tensor([[[5], [6]]]), two, torch.ones(1, 2).long(), two)
        >>> found.best(1).ids
        tensor([[[6]]])

    Chapter: 23.
    """

    ids: Int[Tensor, "batch beam n"]
    scores: Float[Tensor, "batch beam"]
    lengths: Int[Tensor, "batch beam"]
    log_probs: Float[Tensor, "batch beam"]

    def take(self, index: Int[Tensor, "batch m"]) -> Hypotheses:
        """Choose by place.

        Args:
            index: places, ``(batch, m)``.

        Returns:
            Those.
        """
        ids = self.ids.gather(1, index[..., None].expand(-1, -1, self.ids.shape[2]))
        rest = (part.gather(1, index) for part in (self.scores, self.lengths, self.log_probs))
        return Hypotheses(ids, *rest)

    def best(self, n: int) -> Hypotheses:
        """Choose by score.

        Args:
            n: how many.

        Returns:
            The best, in order.
        """
        return self.take(self.scores.topk(n, dim=1).indices)

    def joined(self, other: Hypotheses) -> Hypotheses:
        """Put others behind these.

        Args:
            other: of the same batch.

        Returns:
            All.
        """
        return Hypotheses(
            torch.cat([self.ids, other.ids], dim=1),
            torch.cat([self.scores, other.scores], dim=1),
            torch.cat([self.lengths, other.lengths], dim=1),
            torch.cat([self.log_probs, other.log_probs], dim=1),
        )


class BeamGroup:
    """The running and the ended sequences of a group.

    Args:
        rules: that it follows.
        batch: prompts.
        pad_id: what stands behind the end.
        device: where it lives.

    Chapter: 23.
    """

    def __init__(self, rules: BeamRules, *, batch: int, pad_id: int, device: torch.device) -> None:
        self._rules = rules
        shape = (batch, rules.size)
        none = torch.full(shape, -torch.inf, device=device)
        ids = torch.full((*shape, rules.max_new_tokens), pad_id, device=device)
        lengths = torch.zeros(shape, dtype=torch.int64, device=device)
        self.ended = Hypotheses(ids, none, lengths, none)
        # All beams begin alike: only the first may be extended, or all would stay alike.
        scores = none.clone()
        scores[:, 0] = 0.0
        self._running = Hypotheses(ids, scores, lengths, scores)
        self._open = torch.ones(batch, dtype=torch.bool, device=device)
        self._eos = torch.tensor(rules.eos_ids, device=device)
        self._step = 0

    @property
    def searches(self) -> Bool[Tensor, "batch"]:
        """Whether a prompt can still gain a sequence, ``(batch,)``."""
        if self._step == self._rules.max_new_tokens:
            return torch.zeros_like(self._open)
        if self._rules.early_stopping is True:
            return self._open & ~self.ended.scores.isfinite().all(dim=1)
        return self._open

    def advance(
        self,
        gains: Float[Tensor, "batch beam vocab"],
        log_p: Float[Tensor, "batch beam vocab"],
    ) -> tuple[Int[Tensor, "batch beam"], Int[Tensor, "batch beam"]]:
        """Extend every running sequence by a token.

        Args:
            gains: what each token adds to a sequence's score.
            log_p: of the tokens under the model, nats.

        Returns:
            For each sequence that now runs, its place before and its new token.
        """
        searched = self.searches
        candidates, parent = self._candidates(gains, log_p)
        token = candidates.ids[:, :, self._step]
        self._step += 1
        ends = (token[..., None] == self._eos).any(dim=-1)
        self._end(candidates, ends | (self._step == self._rules.max_new_tokens), searched)
        going = candidates.scores.masked_fill(ends, -torch.inf).topk(self._rules.size, dim=1)
        self._running = candidates.take(going.indices)
        self._close(going.values[:, 0])
        return parent.gather(1, going.indices), token.gather(1, going.indices)

    def _candidates(self, gains: Tensor, log_p: Tensor) -> tuple[Hypotheses, Tensor]:
        vocab = gains.shape[2]
        scores = (self._running.scores[:, :, None] + gains).flatten(1)
        scores, choice = scores.topk(self._rules.n_candidates, dim=1)
        parent, token = choice // vocab, choice % vocab
        before = self._running.take(parent)
        ids = before.ids.clone()
        ids[:, :, self._step] = token
        log_probs = before.log_probs + log_p.flatten(1).gather(1, choice)
        return Hypotheses(ids, scores, before.lengths + 1, log_probs), parent

    def _end(self, candidates: Hypotheses, ends: Tensor, searched: Tensor) -> None:
        # The candidates beyond `size` are there to go on, not to end.
        may = ends & (torch.arange(ends.shape[1], device=ends.device) < self._rules.size)
        may &= searched[:, None]
        ranked = candidates.scores / self._step**self._rules.length_penalty
        ranked = ranked.masked_fill(~may, -torch.inf)
        new = Hypotheses(candidates.ids, ranked, candidates.lengths, candidates.log_probs)
        self.ended = self.ended.joined(new).best(self._rules.size)

    def _close(self, best_running: Tensor) -> None:
        """Close the prompts for which no running sequence is expected to beat the ended ones."""
        length = self._step
        if self._rules.early_stopping is None and self._rules.length_penalty > 0:
            length = self._rules.max_new_tokens
        hope = best_running / length**self._rules.length_penalty
        self._open &= hope > self.ended.scores.min(dim=1).values
