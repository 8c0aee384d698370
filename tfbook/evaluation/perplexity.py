"""How well a language model predicts a text: per token, per character and per byte."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import is_integer, require, require_positive
from tfbook.tokenizers.encoding import as_text

Ids = Sequence[int] | Int[Tensor, " n"]
Prompt = Sequence[int] | Int[Tensor, " n_prompt"]

_TEXT = "give the text that ids stand for"


@dataclass(frozen=True, kw_only=True)
class TextScore:
    r"""What a model's predictions of one text cost, and what the text consists of.

    .. math:: \text{perplexity} = \exp\Big(\frac{\text{nats}}{n_{tokens}}\Big), \qquad
              \text{bits per byte} = \frac{\text{nats}}{\ln 2 \; n_{bytes}}

    Perplexities per token compare models that share a tokenizer. Bits per byte, and per
    character, compare any models of the same text. A perplexity beyond the largest float64 is
    given as infinity.

    Args:
        nats: negative log-probability of the whole text, in nats.
        n_tokens: tokens that were scored.
        n_characters: code points of the text.
        n_bytes: bytes of the text in UTF-8.

    Raises:
        ValueError: a count below one.

    Example:
        >>> score = TextScore(nats=8 * math.log(2), n_tokens=2, n_characters=4, n_bytes=4)
        >>> round(score.perplexity, 6), round(score.bits_per_byte, 6)
        (16.0, 2.0)

    Source: Jelinek et al. 1977 (perplexity). Chapter: 05.
    """

    nats: float
    n_tokens: int
    n_characters: int
    n_bytes: int

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in ("n_tokens", "n_characters", "n_bytes"):
            require_positive(name, getattr(self, name))

    @property
    def perplexity(self) -> float:
        """Perplexity per token."""
        return _exp(self.nats / self.n_tokens)

    @property
    def perplexity_per_character(self) -> float:
        """Perplexity per character: as if every character had been one token."""
        return _exp(self.nats / self.n_characters)

    @property
    def perplexity_per_byte(self) -> float:
        """Perplexity per byte of UTF-8."""
        return _exp(self.nats / self.n_bytes)

    @property
    def nats_per_token(self) -> float:
        """Mean loss, in nats per token."""
        return self.nats / self.n_tokens

    @property
    def bits_per_token(self) -> float:
        """Mean loss, in bits per token."""
        return self.nats / self.n_tokens / math.log(2)

    @property
    def bits_per_character(self) -> float:
        """Mean loss, in bits per character."""
        return self.nats / self.n_characters / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Mean loss, in bits per byte of UTF-8."""
        return self.nats / self.n_bytes / math.log(2)


def perplexity(
    model: Callable[[Tensor], Tensor],
    ids: Ids,
    text: str,
    *,
    prompt: Prompt,
    window: int,
    stride: int | None = None,
    batch_tokens: int = 8192,
) -> TextScore:
    r"""Score a text, each of its tokens once.

    .. math:: \text{nats} = -\sum_t \log p(w_t \mid \text{prompt}, w_{<t})

    Exact where prompt and text fit in one window. Beyond that, windows overlap and no token is
    scored with fewer than ``window - stride + 1`` tokens before it, those at the very beginning
    aside.

    Args:
        model: gives logits ``(batch, n, vocab)`` for ids ``(batch, n)``; a module is used in its
            present mode and should be in evaluation mode.
        ids: tokens of ``text``, ``(n,)``.
        text: what ``ids`` stand for; its characters and bytes are counted. Surrogates count as
            the tokenizers read them: two that make a pair are its character, and a lone one is
            U+FFFD, three bytes.
        prompt: tokens that are read before the first of ``ids`` and not scored: at least one,
            such as the begin token, or the tokens of the text before.
        window: most tokens that the model reads at a time.
        stride: tokens between the starts of neighbouring windows, at most ``window``; None means
            half a window. Small strides cost more and give every token more context.
        batch_tokens: tokens that go through the model at a time, at least one window.

    Returns:
        The score: nats of the whole text, and the counts to divide by.

    Raises:
        ValueError: no ids, no text, no prompt, ids that are not one row of integers or outside
            the model's vocabulary, a text that is no string, ``window`` or ``batch_tokens`` below
            one, ``stride`` outside ``1 … window``, one of the three that is no integer, or a loss
            that is NaN.

    Example:
        >>> uniform = lambda ids: torch.zeros(*ids.shape, 7)
        >>> score = perplexity(uniform, [3, 1, 4], "pie", prompt=[0], window=8)
        >>> round(score.perplexity, 6), score.n_tokens
        (7.0, 3)

    Source: "Perplexity of fixed-length models" in the documentation of transformers (strides).
    Chapter: 05.
    """
    require(isinstance(text, str), f"text={text!r:.40} must be a string; {_TEXT}")
    require(len(text) > 0, f"text is empty; {_TEXT}")
    text = as_text(text)
    losses = token_losses(
        model, ids, prompt=prompt, window=window, stride=stride, batch_tokens=batch_tokens
    )
    return TextScore(
        nats=losses.sum().item(),
        n_tokens=len(losses),
        n_characters=len(text),
        n_bytes=len(text.encode("utf-8")),
    )


@torch.no_grad()
def token_losses(
    model: Callable[[Tensor], Tensor],
    ids: Ids,
    *,
    prompt: Prompt,
    window: int,
    stride: int | None = None,
    batch_tokens: int = 8192,
) -> Float[Tensor, " n"]:
    r"""Give the loss of every token of a text, each scored once.

    .. math:: \ell_t = -\log p(w_t \mid \text{prompt}, w_{<t})

    Args:
        model: see :func:`perplexity`.
        ids: tokens to score, ``(n,)``.
        prompt: tokens that are read before and not scored, at least one; what does not fit in a
            window is dropped at its beginning.
        window: most tokens that the model reads at a time.
        stride: tokens between the starts of neighbouring windows; None means half a window.
        batch_tokens: tokens that go through the model at a time, at least one window.

    Returns:
        Nats, shape ``(n,)``, float64 on the CPU.

    Raises:
        ValueError: see :func:`perplexity`.

    Example:
        >>> uniform = lambda ids: torch.zeros(*ids.shape, 2)
        >>> token_losses(uniform, [1, 0], prompt=[0], window=1, stride=1)
        tensor([0.6931, 0.6931], dtype=torch.float64)

    Source: see :func:`perplexity`. Chapter: 05.
    """
    stride = _checked_stride(window, stride, batch_tokens)
    before, after = _row("prompt", prompt)[-window:], _row("ids", ids)
    row = torch.cat([before, after]).to(_device(model))
    n_read = min(window, len(row) - 1)
    # A window ends before each of these targets; the last may reach less far than a stride.
    ends = [*range(n_read, len(row) - 1, stride), len(row) - 1]
    scored = [ends[0] - len(before) + 1, *(b - a for a, b in itertools.pairwise(ends))]
    losses = []
    for some, counts in _batches(ends, scored, max(1, batch_tokens // n_read)):
        read = torch.stack([row[end - n_read : end] for end in some])
        targets = torch.stack([row[end - n_read + 1 : end + 1] for end in some])
        keep = max(counts)
        found = _losses(model(read)[:, -keep:], targets[:, -keep:])
        losses += [row_losses[keep - n :] for row_losses, n in zip(found, counts, strict=True)]
    return torch.cat(losses)


def _batches(
    ends: Sequence[int], scored: Sequence[int], size: int
) -> list[tuple[Sequence[int], Sequence[int]]]:
    starts = range(0, len(ends), size)
    return [(ends[start : start + size], scored[start : start + size]) for start in starts]


def _losses(
    logits: Float[Tensor, "batch n vocab"], targets: Int[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    vocab_size = logits.shape[-1]
    largest, smallest = int(targets.max()), int(targets.min())
    require(
        smallest >= 0 and largest < vocab_size,
        f"ids={smallest}…{largest} must lie in [0, vocab={vocab_size}); encode with the model's "
        "own tokenizer",
    )
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    losses = -log_p.gather(-1, targets[..., None])[..., 0].double().cpu()
    n_missing = int(losses.isnan().sum())
    require(
        n_missing == 0,
        f"{n_missing} of {losses.numel()} losses are NaN; look for NaN or infinity in the model's "
        "logits, and in its parameters",
    )
    return losses


def _exp(nats: float) -> float:
    """Exponential that overflows to infinity, as PyTorch's does."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def _row(name: str, ids: Sequence[int] | Tensor) -> Int[Tensor, " n"]:
    if isinstance(ids, Tensor):
        row = ids
    else:
        try:
            row = torch.tensor([index(token) for token in ids], dtype=torch.int64)
        except (TypeError, ValueError) as error:  # ValueError: a number of more than 64 bits
            raise ValueError(
                f"{name}={ids!r:.40} must be one row of integers; encode the text, and score one "
                "text at a time"
            ) from error
    require(
        row.ndim == 1 and not row.is_floating_point() and row.dtype != torch.bool,
        f"{name} has shape {tuple(row.shape)} and dtype {row.dtype}, but must be one row of "
        "integers; score one text at a time",
    )
    way_out = {
        "prompt": "give the begin token, or the tokens of the text before: a model that has read "
        "nothing predicts nothing",
        "ids": "give the tokens of the text",
    }
    require(len(row) > 0, f"{name} is empty, but must hold at least one token; {way_out[name]}")
    return row.to("cpu", torch.int64)


def _checked_stride(window: int, stride: int | None, batch_tokens: int) -> int:
    """The stride, half a window where none is given."""
    sizes = {"window": window, "batch_tokens": batch_tokens}
    for name, size in {**sizes, "stride": 1 if stride is None else stride}.items():
        require(
            is_integer(size),
            f"{name}={size!r} must be an integer; give a number of tokens",
        )
    for name, size in sizes.items():
        require_positive(name, size)
    stride = max(1, window // 2) if stride is None else stride
    require(
        1 <= stride <= window,
        f"stride={stride} must lie in [1, window={window}]; a longer one would leave tokens out",
    )
    return stride


def _device(model: Callable[[Tensor], Tensor]) -> torch.device:
    parameters = getattr(model, "parameters", lambda: iter(()))
    first = next(iter(parameters()), None)
    return torch.device("cpu") if first is None else first.device
