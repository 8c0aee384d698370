"""Prompts as decoding needs them: one tensor, padded on the left, checked."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from tfbook.checks import is_integer, require, require_positive
from tfbook.generation.arguments import require_language_model
from tfbook.generation.protocols import LanguageModel
from tfbook.tokenizers.batching import Batch

#: What stands before a short prompt: no token has this id, so no processor takes it for one.
PADDING = -1

#: Several prompts. Only a batch of a tokenizer tells its padding.
PromptIds = (
    Batch
    | Integer[Tensor, "batch _n"]
    | Integer[np.ndarray, "batch _n"]
    | Sequence[Iterable[SupportsIndex]]
)


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts.

    Args:
        ids: ``(batch, n)``; ``PADDING`` on the left of short rows.
        padding: filler tokens of each row, ``(batch,)``; None where there are none.

    Chapter: 23.
    """

    ids: Int[Tensor, "batch n"]
    padding: Int[Tensor, "batch"] | None

    def last_logits(self, model: LanguageModel, last: int) -> Float[Tensor, "batch last vocab"]:
        """Give the logits after the last tokens, without a cache.

        Args:
            model: that predicts.
            last: how many tokens at the end.

        Returns:
            Shape ``(batch, last, vocab)``.
        """
        if self.padding is None:
            return model(self.ids, last=last)
        places = torch.arange(self.ids.shape[1], device=self.ids.device) - self.padding[:, None]
        # What stands in padding is hidden from all others; any id will do.
        return model(
            self.ids.clamp(min=0),
            mask=(places >= 0)[:, None, None],
            positions=places.clamp(min=0),
            last=last,
        )


def read_prompts(model: LanguageModel, ids: PromptIds) -> Prompts:
    """Check prompts and join them to one tensor.

    Args:
        model: in evaluation mode; tells the vocabulary and the device.
        ids: ``(batch, n)``, all of one length; lists of ids of any lengths; or a tokenizer's
            :class:`tfbook.tokenizers.Batch`, padded on either side.

    Returns:
        The prompts, on the model's device.

    Raises:
        ValueError: there is no prompt or an empty one, ids that are not integers or not of the
            vocabulary, another shape, no language model, or one in training mode.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> read_prompts(model, [[3, 4, 5], [6]]).ids
        tensor([[ 3,  4,  5],
                [-1, -1,  6]])

    Chapter: 23.
    """
    require_language_model("model", model)
    require_evaluating("model", model)
    device = next(model.parameters()).device
    if isinstance(ids, Tensor):
        prompts = Prompts(_checked(ids).to(device, torch.int64), None)
    else:
        prompts = _joined(id_lists("ids", ids), device)
    vocab = model.config.vocab_size
    real = prompts.ids if prompts.padding is None else prompts.ids[prompts.ids != PADDING]
    low, high = (int(edge) for edge in real.aminmax())
    require(
        low >= 0 and high < vocab,
        f"ids holds {low if low < 0 else high}, but ids must lie in [0, vocab_size={vocab}); take "
        "them from the tokenizer that belongs to this model",
    )
    return prompts


def id_lists(name: str, ids: PromptIds) -> list[list[int]]:
    """Give prompts as lists, without padding.

    Args:
        name: of the argument.
        ids: its value.

    Returns:
        The ids of each prompt, perhaps none.

    Raises:
        ValueError: they are no lists of integers.
    """
    rows: object = ids
    if isinstance(ids, Batch):
        rows = [row[real] for row, real in zip(ids.ids, ids.mask, strict=True)]
    elif isinstance(ids, Tensor | np.ndarray):
        rows = ids.tolist()
    if not isinstance(rows, Sequence):
        raise ValueError(
            f"{name}={ids!r} is no list of {'prompts' if name == 'ids' else name}; give lists of "
            "ids, a tensor (batch, n) or a tokenizer's Batch"
        )
    return [_row(f"{name}[{i}]", row) for i, row in enumerate(rows)]


def require_room(model: LanguageModel, n_prompt: int, max_new_tokens: int) -> None:
    """Raise unless prompt and new tokens fit the model.

    Args:
        model: tells its longest sequence.
        n_prompt: of the longest prompt, tokens.
        max_new_tokens: to write.

    Raises:
        ValueError: ``max_new_tokens`` is below one, or they do not fit.
    """
    require_positive("max_new_tokens", max_new_tokens)
    longest = model.config.max_length
    require(
        n_prompt + max_new_tokens <= longest,
        f"a prompt of {n_prompt} tokens and max_new_tokens={max_new_tokens} go beyond the model's "
        f"max_length={longest}; shorten the prompt, or write at most "
        f"{max(0, longest - n_prompt)} tokens",
    )


def require_evaluating(name: str, model: LanguageModel | nn.Module) -> None:
    """Raise while a model is in training mode.

    Args:
        name: of the argument.
        model: any module.

    Raises:
        ValueError: it is.
    """
    require(
        not model.training,
        f"{name} is in training mode, so dropout would make the result random; call {name}.eval()",
    )


def require_token(model: LanguageModel, name: str, token: SupportsIndex) -> None:
    """Raise unless a special token is of the vocabulary.

    Args:
        model: tells the vocabulary.
        name: of the argument.
        token: its id.

    Raises:
        ValueError: it is not, or is the token's text.
    """
    require(
        not isinstance(token, str),
        f"{name}={token!r} is text, but must be a token's id; use tokenizer.{name} or "
        f"tokenizer.token_to_id({token!r})",
    )
    vocab = model.config.vocab_size
    require(
        is_integer(token) and 0 <= operator.index(token) < vocab,
        f"{name}={token!r} must lie in [0, vocab_size={vocab}); take it from the tokenizer that "
        "belongs to this model",
    )


def _checked(ids: Tensor) -> Tensor:
    require(
        not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool),
        f"ids has dtype {ids.dtype}, but must hold integers; encode the text, or convert with "
        "ids.long()",
    )
    require(
        ids.ndim == 2,
        f"ids has shape {tuple(ids.shape)}, but must be (batch, n); add the batch axis with "
        "ids[None]",
    )
    require(
        ids.numel() > 0,
        f"ids has shape {tuple(ids.shape)} and so no token; begin with at least one, such as the "
        "tokenizer's bos_id",
    )
    return ids


def _joined(rows: list[list[int]], device: torch.device) -> Prompts:
    require(len(rows) > 0, "ids=[] holds no prompt; give at least one list of ids")
    for i, row in enumerate(rows):
        require(
            len(row) > 0,
            f"ids[{i}] is empty; begin with at least one token, such as the tokenizer's bos_id",
        )
    longest = max(len(row) for row in rows)
    require(all(min(row) >= 0 for row in rows), "ids holds a negative id; ids start at 0")
    padded = [[PADDING] * (longest - len(row)) + row for row in rows]
    padding = torch.tensor([longest - len(row) for row in rows], device=device)
    ids = torch.tensor(padded, device=device)
    return Prompts(ids, padding if bool((padding > 0).any()) else None)


def _row(name: str, given: object) -> list[int]:
    row = given.tolist() if isinstance(given, Tensor | np.ndarray) else given
    if not isinstance(row, Sequence) or isinstance(row, str):
        raise ValueError(
            f"{name}={row!r} must be a list of ids; for one prompt write [ids], and encode texts"
        )
    # Most are Python's own, and there may be many.
    bad = [token for token in row if type(token) is not int and not is_integer(token)]
    require(not bad, f"{name} holds {bad[:1]}, but must hold integers; encode the text")
    return [operator.index(token) for token in row]
