"""Speculative decoding: a cheap guess of several tokens, checked by the model in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.checks import as_integer, require, require_positive
from tfbook.generation.arguments import require_language_model
from tfbook.generation.choosing import all_processors, require_choosing
from tfbook.generation.drafts import (
    CopyDraft,
    Distributions,
    Draft,
    Guess,
    ModelDraft,
    PromptLookup,
)
from tfbook.generation.draws import Uniforms, draw
from tfbook.generation.ends import Ends, read_ends
from tfbook.generation.prompts import PromptIds, read_prompts, require_evaluating, require_room
from tfbook.generation.protocols import Decoder, LanguageModel, Processor
from tfbook.generation.sampling import Sampling
from tfbook.generation.text_pieces import TextPieces


@dataclass(frozen=True)
class Speculation:
    """What was written, and how well the guesses served.

    Args:
        ids: new tokens, ``(1, n)``, without the prompt.
        stopped_by: the id of an end token, the stop string, or None where ``max_new_tokens``
            came first.
        text: of the new tokens, without end token and stop string; None without a tokenizer.
        n_passes: of the large model; without guesses there would be one for each token.
        n_guessed: tokens guessed.
        n_accepted: of them, those that were taken.

    Chapter: 23.
    """

    ids: Int[Tensor, "1 n"]
    stopped_by: int | str | None
    text: str | None
    n_passes: int
    n_guessed: int
    n_accepted: int


def speculate(
    model: LanguageModel,
    ids: PromptIds,
    *,
    draft: LanguageModel | PromptLookup,
    max_new_tokens: int,
    n_guesses: int = 4,
    sampling: Sampling = Sampling(),  # noqa: B008  (it is frozen)
    processors: Sequence[Processor] = (),
    eos_id: int | Sequence[int] | None = None,
    stop: Sequence[str] = (),
    tokenizer: Decoder | None = None,
) -> Speculation:
    r"""Write as :func:`generate` would, with fewer passes of the large model.

    The draft guesses tokens :math:`x_1 \dots x_\gamma` from its distributions :math:`q_i`. One
    pass of the model gives :math:`p_1 \dots p_{\gamma+1}`, and the guesses are accepted one after
    the other with probability :math:`\min(1, p_i(x_i) / q_i(x_i))`. The first that is not is
    replaced by a draw from

    .. math:: p'_i = \operatorname{norm}(\max(0,\, p_i - q_i))

    and if all are accepted, one more token is drawn from :math:`p_{\gamma+1}`. The tokens are
    distributed exactly as those of the model alone, with all processors; greedy choices are the
    same tokens (up to the rounding of a pass over several tokens). With a seed the draws are
    reproducible, but not those of :func:`generate`.

    Args:
        model: in evaluation mode.
        ids: one prompt: a list of one list of ids, a tokenizer's batch of one text, or
            ``(1, n)`` without padding; see :func:`generate`.
        draft: a smaller model with the same vocabulary, or a :class:`PromptLookup`.
        max_new_tokens: most tokens to write, the end token included.
        n_guesses: :math:`\gamma`, most tokens guessed at a time.
        sampling: how a token is chosen; the draft chooses in the same way.
        processors: functions from ``(ids, logits)`` to logits, for both models.
        eos_id: the token that ends a sequence, or several; None means none.
        stop: strings that end a sequence.
        tokenizer: decodes; needed for stop strings, and for ``text``.

    Returns:
        The new tokens, and counts.

    Raises:
        ValueError: what :func:`generate` refuses; more than one prompt; ``n_guesses`` below one;
            a draft that is no language model, of another vocabulary, in training mode or with
            too short a maximum length.
        RuntimeError: processors forbid every token, or the rotary scaling of a model depends on
            the length (``dynamic``), which no cache can serve; use :func:`generate`.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> made = speculate(model, [[3, 4, 5]], draft=model, max_new_tokens=5)
        >>> made.ids.shape, made.n_passes
        (torch.Size([1, 5]), 1)

    Source: Leviathan, Kalman and Matias 2023, algorithm 1. Chapter: 23.
    """
    n_guesses = as_integer("n_guesses", n_guesses)
    require_positive("n_guesses", n_guesses)
    max_new_tokens = as_integer("max_new_tokens", max_new_tokens)
    require_choosing(sampling, processors)
    ends = read_ends(model, eos_id=eos_id, pad_id=0, stop=stop, tokenizer=tokenizer)
    prompts = read_prompts(model, ids)
    batch, width = prompts.ids.shape
    require(
        batch == 1,
        f"ids holds {batch} prompts, but each accepts another number of guesses; give one at a "
        "time",
    )
    require_room(model, width, max_new_tokens)
    uniforms = Uniforms(sampling.seeds, n_prompts=1)
    options = dict(max_length=width + max_new_tokens, spare=n_guesses + 1)
    both = all_processors(sampling, processors, prompt_length=width)

    def distributions(of: LanguageModel) -> Distributions:
        return Distributions(of, processors=both, greedy=sampling.is_greedy, **options)

    with torch.inference_mode():
        if isinstance(draft, PromptLookup):
            guesser: Draft = CopyDraft(draft, model.config.vocab_size)
        else:
            _require_draft(model, draft, width, max_new_tokens)
            guesser = ModelDraft(distributions(draft), uniforms)
        writing = _Writing(distributions(model), guesser, uniforms, prompts.ids, ends)
        writing.run(max_new_tokens, n_guesses)
    return writing.result()


def verify(
    p: Float[Tensor, "n_plus_1 vocab"], guess: Guess, uniforms: Uniforms
) -> Int[Tensor, "m"]:
    r"""Accept guessed tokens from the left, and add one token.

    Args:
        p: the model's distributions at each guessed token, and after the last.
        guess: tokens and the distributions that they were drawn from.
        uniforms: for the decisions, of one stream.

    Returns:
        The tokens accepted, and the one that follows them, ``(1 … n + 1,)``.
    """
    for i, token in enumerate(guess.tokens):
        # u < p/q, without dividing by a q that may be small.
        if float(uniforms.next()) * float(guess.q[i, token]) >= float(p[i, token]):
            left = (p[i] - guess.q[i]).clamp(min=0)
            # Rounding may leave nothing where p and q are nearly equal.
            left = left if bool(left.any()) else p[i]
            return _with_next(guess.tokens[:i], left, uniforms)
    return _with_next(guess.tokens, p[-1], uniforms)


def _with_next(tokens: list[int], weights: Tensor, uniforms: Uniforms) -> Tensor:
    accepted = torch.tensor(tokens, dtype=torch.int64, device=weights.device)
    return torch.cat([accepted, draw(weights[None], uniforms.next())])


class _Writing:
    """The text so far, and the counts."""

    def __init__(
        self,
        target: Distributions,
        draft: Draft,
        uniforms: Uniforms,
        prompt: Tensor,
        ends: Ends,
    ) -> None:
        self._target, self._draft, self._uniforms = target, draft, uniforms
        self._ids, self._n_prompt, self._ends = prompt, prompt.shape[1], ends
        self._pieces = (
            None if ends.tokenizer is None else TextPieces(ends.tokenizer, stop=ends.stop)
        )
        self._text, self._stopped_by = "", None  # type: tuple[str, int | str | None]
        self._n_passes = self._n_guessed = self._n_accepted = 0

    def run(self, max_new_tokens: int, n_guesses: int) -> None:
        end = self._n_prompt + max_new_tokens
        while self._stopped_by is None and self._ids.shape[1] < end:
            # The check adds a token of its own.
            self._round(min(n_guesses, end - self._ids.shape[1] - 1))

    def _round(self, n: int) -> None:
        guess = self._draft.guess(self._ids, n) if n else None
        n = 0 if guess is None else len(guess.tokens)
        if guess is None or n == 0:
            p = self._target.of_next(self._ids, 1)
            new = draw(p, self._uniforms.next())
        else:
            guessed = torch.tensor([guess.tokens], device=self._ids.device)
            p = self._target.of_next(torch.cat([self._ids, guessed], dim=1), n + 1)
            new = verify(p, guess, self._uniforms)
        self._n_passes += 1
        self._n_guessed += n
        self._n_accepted += len(new) - 1
        # The newest token has been read by nobody.
        for reader in (self._target, self._draft):
            reader.keep(self._ids.shape[1] + len(new) - 1)
        self._append(new)

    def _append(self, new: Tensor) -> None:
        for i, token in enumerate(new.tolist()):
            if token in self._ends.eos_ids:
                self._stopped_by = token
            elif self._pieces is not None:
                self._text += self._pieces.push(token)
                self._stopped_by = self._pieces.stopped_by
            if self._stopped_by is not None:
                new = new[: i + 1]
                break
        self._ids = torch.cat([self._ids, new[None]], dim=1)

    def result(self) -> Speculation:
        text = None if self._pieces is None else self._text + self._pieces.flush()
        return Speculation(
            self._ids[:, self._n_prompt :].clone(),
            self._stopped_by,
            text,
            self._n_passes,
            self._n_guessed,
            self._n_accepted,
        )


def _require_draft(
    model: LanguageModel, draft: LanguageModel, width: int, max_new_tokens: int
) -> None:
    require_language_model("draft", draft, or_else=", or a PromptLookup()")
    ours, theirs = model.config.vocab_size, draft.config.vocab_size
    require(
        ours == theirs,
        f"draft has a vocabulary of {theirs} tokens and model one of {ours}, but they must be the "
        "same; use a draft of the same family, or PromptLookup()",
    )
    require_evaluating("draft", draft)
    longest = draft.config.max_length
    require(
        width + max_new_tokens <= longest,
        f"draft reads at most max_length={longest} tokens, but prompt and new tokens are "
        f"{width + max_new_tokens}; write fewer, or use a longer draft",
    )
