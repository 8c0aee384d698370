"""How the next token is chosen: a frozen description, and the processors that it stands for."""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import SupportsIndex

from tfbook.checks import is_integer, require
from tfbook.generation.arguments import require_number, several
from tfbook.generation.constraints import NoRepeatNGram
from tfbook.generation.cutoffs import MinP, Temperature, TopK, TopP, Typical
from tfbook.generation.penalties import FrequencyPenalty, RepetitionPenalty
from tfbook.generation.protocols import Processor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    r"""Choose the next token: greedily by default, or at random from a reshaped distribution.

    .. math:: w \sim \operatorname{softmax}(f(\text{logits} / \tau))

    with :math:`f` the cut-offs, applied in the order top-k, top-p, min-p, typical. The penalties
    come before the temperature; they and the ban on repeated n-grams act on greedy choices too.

    ``Sampling()`` is greedy. A temperature above 0, a cut-off or a seed asks for a draw, at
    temperature 1 if none is given. ``temperature=0`` is greedy whatever else is set.

    **Seeds.** Every sequence draws from a stream of its own, so it does not depend on what else
    is in the batch. Sequence ``i`` of a batch uses the stream ``(seed, i)``; with a seed for
    each prompt, copy ``j`` of prompt ``i`` uses ``(seed[i], j)``, so a prompt with its seed gives
    the same tokens alone and in any row.

    Args:
        temperature: :math:`\tau`, dimensionless; None or 0 is greedy (see above).
        top_k: draw from the ``k`` most probable tokens.
        top_p: draw from the smallest set of tokens with at least this mass.
        min_p: draw from tokens with at least this share of the largest probability.
        typical_p: draw from the tokens nearest to the expected surprise, with this mass.
        repetition_penalty: divides positive logits of tokens seen, the prompt's included, and
            multiplies negative ones; 1 changes nothing.
        frequency_penalty: taken off the logit, nats, for each time a token was written.
        presence_penalty: taken off the logit, nats, of a token that was written.
        no_repeat_ngram: no run of this many tokens may occur twice, the prompt included.
        seed: of the draws; one for all, or one for each prompt. None draws from torch's
            global generator.

    Raises:
        ValueError: a setting outside its range, which the message names.

    Example:
        >>> Sampling().is_greedy, Sampling(temperature=0.7, top_k=50, seed=1).is_greedy
        (True, False)
        >>> Sampling(temperature=0.7, top_k=50).cutoffs()
        [Temperature(temperature=0.7), TopK(k=50)]

    Source: Holtzman et al. 2020, section 3. Chapter: 23.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    no_repeat_ngram: int | None = None
    seed: SupportsIndex | Collection[SupportsIndex] | None = None

    def __post_init__(self) -> None:
        """Check every setting, by making what it stands for."""
        if self.temperature is not None:
            require_number("temperature", self.temperature)
        require(
            self.temperature is None or 0 <= self.temperature < float("inf"),
            f"temperature={self.temperature} must be at least 0 and finite; 0 is greedy, 1 is the "
            "model's own distribution",
        )
        seeds = several(self.seed)
        require(
            self.seed is None or len(seeds) > 0,
            "seed=[] must hold one for each prompt; None draws without",
        )
        require(
            all(is_integer(seed) and operator.index(seed) >= 0 for seed in seeds),
            f"seed={self.seed!r} must be an integer of at least 0, or one such for each prompt",
        )
        self.cutoffs()
        self.penalties(prompt_length=0)

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is taken, without a draw."""
        if self.temperature is not None:
            return self.temperature == 0
        wishes = (self.top_k, self.top_p, self.min_p, self.typical_p, self.seed)
        return all(wish is None for wish in wishes)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds as a tuple; empty where there is none."""
        return tuple(operator.index(seed) for seed in several(self.seed))

    def penalties(self, *, prompt_length: int) -> list[Processor]:
        """Give what acts on the logits before anything else.

        Args:
            prompt_length: of ``ids``, padding included, tokens. Frequency and presence count
                what was written behind it.

        Returns:
            Processors, in order; none for neutral settings.

        Raises:
            ValueError: a penalty outside its range.
        """
        made: list[Processor] = []
        if self.repetition_penalty != 1.0:
            made.append(RepetitionPenalty(self.repetition_penalty))
        if self.frequency_penalty != 0.0 or self.presence_penalty != 0.0:
            penalty = FrequencyPenalty(
                self.frequency_penalty, presence=self.presence_penalty, prompt_length=prompt_length
            )
            made.append(penalty)
        if self.no_repeat_ngram is not None:
            made.append(NoRepeatNGram(self.no_repeat_ngram))
        return made

    def cutoffs(self) -> list[Processor]:
        """Give the temperature and the cut-offs.

        Returns:
            Processors, in order; none if the choice is greedy.

        Raises:
            ValueError: a cut-off outside its range.
        """
        made: list[Processor] = []
        if self.temperature and self.temperature != 1:
            made.append(Temperature(self.temperature))
        if self.top_k is not None:
            made.append(TopK(self.top_k))
        if self.top_p is not None:
            made.append(TopP(self.top_p))
        if self.min_p is not None:
            made.append(MinP(self.min_p))
        if self.typical_p is not None:
            made.append(Typical(self.typical_p))
        return [] if self.is_greedy else made
