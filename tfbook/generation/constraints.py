"""Processors that forbid tokens, or force them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import is_integer, require, require_positive


@dataclass(frozen=True)
class BannedTokens:
    r"""Never write certain tokens.

    .. math:: z_w \leftarrow -\infty \quad\text{for } w \in \text{tokens}

    Args:
        tokens: their ids.

    Raises:
        ValueError: there is none, or one is negative.

    Example:
        >>> BannedTokens([1])(torch.zeros(1, 0).long(), torch.tensor([[1.0, 2.0]]))
        tensor([[1., -inf]])

    Source: none. Chapter: 23.
    """

    tokens: Sequence[int]

    def __post_init__(self) -> None:
        """Check the ids."""
        _require_ids("tokens", self.tokens)

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Forbid them.

        Args:
            ids: not read.
            logits: of the next token.

        Returns:
            New logits.

        Raises:
            ValueError: a token is not of the vocabulary.
        """
        _require_known("tokens", self.tokens, logits)
        return logits.index_fill(
            1, torch.tensor(list(self.tokens), device=logits.device), -torch.inf
        )


@dataclass(frozen=True)
class BannedSequences:
    r"""Never complete certain sequences of tokens.

    .. math:: z_{b_m} \leftarrow -\infty \quad\text{where ids end with } b_1 \dots b_{m-1}

    Args:
        sequences: lists of ids. The prompt counts: what it begins is not completed.

    Raises:
        ValueError: there is none, one is empty, or an id is negative.

    Example:
        >>> banned = BannedSequences([[0, 1]])
        >>> banned(torch.tensor([[0], [1]]), torch.zeros(2, 2))
        tensor([[0., -inf],
                [0., 0.]])

    Source: none. Chapter: 23.
    """

    sequences: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        """Check the ids."""
        require(
            len(self.sequences) > 0, "sequences=[] must hold at least one; leave it out instead"
        )
        for sequence in self.sequences:
            _require_ids("sequences", sequence)

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Forbid their last tokens where the others stand already.

        Args:
            ids: of the tokens so far.
            logits: of the next token.

        Returns:
            New logits.

        Raises:
            ValueError: a token is not of the vocabulary.
        """
        logits = logits.clone()
        for sequence in self.sequences:
            _require_known("sequences", sequence, logits)
            *before, last = sequence
            if len(before) > ids.shape[1]:
                continue
            end = ids[:, ids.shape[1] - len(before) :]
            begun = (end == torch.tensor(before, device=ids.device, dtype=ids.dtype)).all(dim=1)
            logits[:, last] = logits[:, last].masked_fill(begun, -torch.inf)
        return logits


@dataclass(frozen=True)
class ForcedTokens:
    r"""Write given tokens at given places.

    .. math:: z_w \leftarrow -\infty \quad\text{for } w \ne \text{tokens}[t]

    The chosen logit stays as it is: if another processor forbids it, no token is left, an error.

    Args:
        tokens: from the place among the new tokens, counted from 0, to the id. A prefix is
            ``dict(enumerate(prefix))``.
        prompt_length: of the prompt, padding included, tokens.

    Raises:
        ValueError: there is none, or a number is negative.

    Example:
        >>> forced = ForcedTokens({0: 1}, prompt_length=2)
        >>> forced(torch.tensor([[5, 6]]), torch.zeros(1, 3))
        tensor([[-inf, 0., -inf]])

    Source: none. Chapter: 23.
    """

    tokens: Mapping[int, int]
    prompt_length: int

    def __post_init__(self) -> None:
        """Check the ids and places."""
        _require_ids("tokens", list(self.tokens.values()))
        _require_ids("places of tokens", list(self.tokens))
        _require_length(self.prompt_length)

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Forbid all others at such a place.

        Args:
            ids: of the tokens so far; only their number is read.
            logits: of the next token.

        Returns:
            New logits.

        Raises:
            ValueError: a token is not of the vocabulary.
        """
        token = self.tokens.get(ids.shape[1] - self.prompt_length)
        if token is None:
            return logits
        _require_known("tokens", [token], logits)
        forced = torch.full_like(logits, -torch.inf)
        forced[:, token] = logits[:, token]
        return forced


@dataclass(frozen=True)
class NoRepeatNGram:
    r"""Write no run of ``n`` tokens a second time.

    .. math:: z_w \leftarrow -\infty \quad\text{where } (\text{last } n - 1 \text{ ids}, w)
        \text{ occurs in ids}

    Args:
        n: tokens of a run; 1 lets every token occur once.

    Raises:
        ValueError: it is below one.

    Example:
        >>> NoRepeatNGram(2)(torch.tensor([[0, 1, 0]]), torch.zeros(1, 2))
        tensor([[0., -inf]])

    Source: Paulus, Xiong and Socher 2018, section 2.5 (of trigrams). Chapter: 23.
    """

    n: int

    def __post_init__(self) -> None:
        """Check the range."""
        require(
            is_integer(self.n) and self.n >= 1,
            f"no_repeat_ngram={self.n!r} must be an integer of at least 1; None forbids nothing",
        )

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Forbid what would complete a run that stands already.

        Args:
            ids: of the tokens so far; negative ones are padding.
            logits: of the next token.

        Returns:
            New logits.
        """
        length, vocab = ids.shape[1], logits.shape[-1]
        if length < self.n:
            return logits
        end = ids[:, None, length - self.n + 1 :]
        runs = ids.unfold(1, self.n, 1)
        again = (runs[..., :-1] == end).all(dim=-1) & (runs[..., -1] >= 0)
        banned = torch.zeros(len(ids), vocab + 1, dtype=torch.bool, device=logits.device)
        banned.scatter_(1, torch.where(again, runs[..., -1], vocab), True)
        return logits.masked_fill(banned[:, :vocab], -torch.inf)


@dataclass(frozen=True)
class MinimumLength:
    r"""Do not end before a number of tokens is written.

    .. math:: z_{\text{end}} \leftarrow -\infty \quad\text{while } t < n

    Args:
        n: tokens to write before an end token may come.
        end_ids: of the end tokens.
        prompt_length: of the prompt, padding included, tokens.

    Raises:
        ValueError: ``n`` is below one, there is no end token, or a number is negative.

    Example:
        >>> minimum = MinimumLength(1, [0], prompt_length=2)
        >>> minimum(torch.tensor([[5, 6]]), torch.zeros(1, 3))
        tensor([[-inf, 0., 0.]])

    Source: none. Chapter: 23.
    """

    n: int
    end_ids: Sequence[int]
    prompt_length: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        require_positive("n", self.n)
        _require_ids("end_ids", self.end_ids)
        _require_length(self.prompt_length)

    def __call__(
        self, ids: Int[Tensor, "rows n"], logits: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """Forbid the end tokens at first.

        Args:
            ids: of the tokens so far; only their number is read.
            logits: of the next token.

        Returns:
            New logits.

        Raises:
            ValueError: an end token is not of the vocabulary.
        """
        if ids.shape[1] - self.prompt_length >= self.n:
            return logits
        return BannedTokens(self.end_ids)(ids, logits)


def _require_ids(name: str, ids: Sequence[int]) -> None:
    require(len(ids) > 0, f"{name} is empty, but must hold at least one; leave it out instead")
    bad = [i for i in ids if not is_integer(i) or i < 0]
    require(not bad, f"{name} holds {bad[:1]}, but must hold integers of at least 0; encode first")


def _require_known(name: str, ids: Sequence[int], logits: Tensor) -> None:
    vocab = logits.shape[-1]
    require(
        max(ids) < vocab,
        f"{name} holds {max(ids)}, but ids must lie in [0, vocab_size={vocab}); take them from "
        "the tokenizer that belongs to this model",
    )


def _require_length(prompt_length: int) -> None:
    require(
        prompt_length >= 0,
        f"prompt_length={prompt_length} must be at least 0; give the width of the prompt",
    )
