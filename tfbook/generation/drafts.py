"""Guesses of the next tokens: by a smaller model, or copied from the text so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require_positive
from tfbook.generation.choosing import process
from tfbook.generation.draws import Uniforms, draw
from tfbook.generation.protocols import LanguageModel, Processor
from tfbook.models.decoding_step import decoding_step


@dataclass(frozen=True)
class Guess:
    """Tokens that may come next.

    Args:
        tokens: their ids, perhaps none.
        q: the distributions that they were drawn from, ``(n, vocab)``.

    Chapter: 23.
    """

    tokens: list[int]
    q: Float[Tensor, "n vocab"]


class Draft(Protocol):
    """Something that guesses the next tokens.

    Chapter: 23.
    """

    def guess(self, ids: Int[Tensor, "1 n"], n: int) -> Guess:
        """Guess.

        Args:
            ids: all so far.
            n: most tokens.

        Returns:
            The guess.
        """

    def keep(self, length: int) -> None:
        """Forget what was read beyond a length.

        Args:
            length: tokens of the text that stay as they are.
        """


class Distributions:
    """The distributions that a model's tokens are drawn from, with a cache that can go back.

    Args:
        model: in evaluation mode.
        max_length: room in the cache, tokens.
        spare: tokens that are taken back at most.
        processors: all, in order.
        greedy: whether all mass goes to the most probable token.

    Chapter: 23.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_length: int,
        spare: int,
        processors: Sequence[Processor],
        greedy: bool,
    ) -> None:
        self._model, self._processors, self._greedy = model, processors, greedy
        self._cache = model.new_cache(1, max_length, spare=spare)
        self._step = decoding_step(cast(nn.Module, model))

    def of_next(self, ids: Int[Tensor, "1 n"], last: int) -> Float[Tensor, "last vocab"]:
        """Give those of the tokens that follow the last ones.

        Args:
            ids: all so far; those that are not in the cache are read.
            last: how many distributions: after the last token, the one before it, and so on.

        Returns:
            Probabilities, the last row for the token that follows all.
        """
        new = ids[:, self._cache.length :]
        if last == 1:
            logits = self._step(new, self._cache)[0].float()
        else:
            logits = self._model(new, cache=self._cache, last=last)[0].float()
        end = ids.shape[1]
        rows = [
            process(ids[:, : end - last + 1 + i], logits[i : i + 1], self._processors)
            for i in range(last)
        ]
        scores = torch.cat(rows)
        if self._greedy:
            return F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).float()
        return scores.softmax(dim=-1)

    def keep(self, length: int) -> None:
        """Forget what was read beyond a length.

        Args:
            length: tokens that stay.
        """
        self._cache.crop(min(length, self._cache.length))


class ModelDraft:
    """Let a smaller model write the guess.

    Args:
        distributions: of that model, with the same processors as the large one's.
        uniforms: for its draws.

    Chapter: 23.
    """

    def __init__(self, distributions: Distributions, uniforms: Uniforms) -> None:
        self._distributions, self._uniforms = distributions, uniforms

    def guess(self, ids: Int[Tensor, "1 n"], n: int) -> Guess:
        """Write the next tokens.

        Args:
            ids: all so far.
            n: how many.

        Returns:
            The guess.
        """
        tokens, q = [], []
        for _ in range(n):
            q.append(self._distributions.of_next(ids, 1))
            token = draw(q[-1], self._uniforms.next())
            ids = torch.cat([ids, token[:, None]], dim=1)
            tokens.append(int(token))
        return Guess(tokens, torch.cat(q))

    def keep(self, length: int) -> None:
        """Forget what was read beyond a length.

        Args:
            length: tokens that stay.
        """
        self._distributions.keep(length)


@dataclass(frozen=True)
class PromptLookup:
    """Guess that what followed the last tokens before will follow them again.

    The longest end of the text, of at most ``longest`` tokens, is looked for earlier in the
    text; of several places the latest counts. The guess is certain (probability 1), which the
    check accounts for.

    Args:
        longest: tokens of the end that is looked for.

    Raises:
        ValueError: it is below one.

    Example:
        >>> ids = torch.tensor([[5, 6, 7, 8, 5, 6]])
        >>> PromptLookup().find(ids[0].tolist(), 3)
        [7, 8, 5]

    Source: Saxena 2023, "Prompt Lookup Decoding"; Yang et al. 2023, section 3. Chapter: 23.
    """

    longest: int = 3

    def __post_init__(self) -> None:
        """Check the length."""
        require_positive("longest", self.longest)

    def find(self, ids: Sequence[int], n: int) -> list[int]:
        """Look for what followed the end of the text before.

        Args:
            ids: the text.
            n: most tokens.

        Returns:
            Tokens, perhaps none.
        """
        for size in range(min(self.longest, len(ids) - 1), 0, -1):
            end = list(ids[-size:])
            for start in range(len(ids) - size - 1, -1, -1):
                if list(ids[start : start + size]) == end:
                    return list(ids[start + size : start + size + n])
        return []


class CopyDraft:
    """Guess by :class:`PromptLookup`.

    Args:
        lookup: that finds the tokens.
        vocab_size: of the model.

    Chapter: 23.
    """

    def __init__(self, lookup: PromptLookup, vocab_size: int) -> None:
        self._lookup, self._vocab_size = lookup, vocab_size

    def guess(self, ids: Int[Tensor, "1 n"], n: int) -> Guess:
        """Copy the next tokens.

        Args:
            ids: all so far.
            n: most tokens.

        Returns:
            The guess.
        """
        tokens = self._lookup.find(rearrange(ids, "1 n -> n").tolist(), n)
        places = torch.tensor(tokens, dtype=torch.int64, device=ids.device)
        return Guess(tokens, F.one_hot(places, self._vocab_size).float())

    def keep(self, length: int) -> None:
        """Nothing was read."""
