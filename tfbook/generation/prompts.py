"""Prompts as decoding needs them: one tensor, padded on the left, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_positive
from tfbook.generation.protocols import LanguageModel

#: What stands before a short prompt: no token has this id, so no processor takes it for one.
PADDING = -1


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


def read_prompts(
    model: LanguageModel, ids: Int[Tensor, "batch n"] | Sequence[Sequence[int]]
) -> Prompts:
    """Check prompts and join them to one tensor.

    Args:
        model: in evaluation mode; tells the vocabulary and the device.
        ids: ``(batch, n)``, all of one length, or lists of ids of any lengths.

    Returns:
        The prompts, on the model's device.

    Raises:
        ValueError: there is no prompt or an empty one, ids that are not integers or not of the
            vocabulary, another shape, or a model in training mode.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> read_prompts(model, [[3, 4, 5], [6]]).ids
        tensor([[ 3,  4,  5],
                [-1, -1,  6]])

    Chapter: 23.
    """
    require_evaluating("model", model)
    device = next(model.parameters()).device
    if isinstance(ids, Tensor):
        prompts = Prompts(_checked(ids).to(device, torch.int64), None)
    else:
        prompts = _joined(ids, device)
    vocab = model.config.vocab_size
    real = prompts.ids if prompts.padding is None else prompts.ids[prompts.ids != PADDING]
    low, high = (int(edge) for edge in real.aminmax())
    require(
        low >= 0 and high < vocab,
        f"ids holds {low if low < 0 else high}, but ids must lie in [0, vocab_size={vocab}); take "
        "them from the tokenizer that belongs to this model",
    )
    return prompts


def require_room(model: LanguageModel, n_prompt: int, max_new_tokens: int) -> None:
    """Raise unless prompt and new tokens fit the model.

    Args:
        model: tells its longest sequence.
        n_prompt: of the longest prompt, tokens.
        max_new_tokens: to write.

    Raises:
        ValueError: ``max_new_tokens`` is no integer or below one, or they do not fit.
    """
    require(
        isinstance(max_new_tokens, int),
        f"max_new_tokens={max_new_tokens!r} must be an integer; give a number of tokens",
    )
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


def require_token(model: LanguageModel, name: str, token: int) -> None:
    """Raise unless a special token is of the vocabulary.

    Args:
        model: tells the vocabulary.
        name: of the argument.
        token: its id.

    Raises:
        ValueError: it is not.
    """
    vocab = model.config.vocab_size
    require(
        isinstance(token, int) and 0 <= token < vocab,
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


def _joined(rows: Sequence[Sequence[int]], device: torch.device) -> Prompts:
    require(len(rows) > 0, "ids=[] holds no prompt; give at least one list of ids")
    for i, row in enumerate(rows):
        require(
            isinstance(row, Sequence) and not isinstance(row, str),
            f"ids[{i}]={row!r} must be a list of ids; for one prompt write [ids], and encode texts",
        )
        require(
            len(row) > 0,
            f"ids[{i}] is empty; begin with at least one token, such as the tokenizer's bos_id",
        )
        bad = [token for token in row if not isinstance(token, int) or isinstance(token, bool)]
        require(not bad, f"ids[{i}] holds {bad[:1]}, but must hold integers; encode the text")
    longest = max(len(row) for row in rows)
    require(all(min(row) >= 0 for row in rows), "ids holds a negative id; ids start at 0")
    padded = [[PADDING] * (longest - len(row)) + list(row) for row in rows]
    padding = torch.tensor([longest - len(row) for row in rows], device=device)
    ids = torch.tensor(padded, device=device)
    return Prompts(ids, padding if bool((padding > 0).any()) else None)
