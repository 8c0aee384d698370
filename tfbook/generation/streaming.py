"""Continue prompts one step at a time, to be shown as they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tfbook.attention import KVCache
from tfbook.generation.decoding import Decoding
from tfbook.generation.ends import read_ends
from tfbook.generation.prompts import PromptIds
from tfbook.generation.protocols import Decoder, LanguageModel, Processor
from tfbook.generation.sampling import Sampling
from tfbook.generation.starting import Choosing, Reading, start


@dataclass(frozen=True)
class Step:
    """One token of every row.

    Args:
        index: of the step, from 0.
        ids: the tokens, ``(rows,)``; padding in rows that had ended.
        ended: True in rows that have ended, with this token or before, ``(rows,)``.
        texts: what each row can show now, without end tokens and stop strings; None without a
            tokenizer.
        log_probs: of the tokens under the model, nats, ``(rows,)``; None unless asked for.

    Chapter: 23.
    """

    index: int
    ids: Int[Tensor, "rows"]
    ended: Bool[Tensor, "rows"]
    texts: tuple[str, ...] | None = None
    log_probs: Float[Tensor, "rows"] | None = None


def stream(
    model: LanguageModel,
    ids: PromptIds,
    *,
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  (it is frozen)
    processors: Sequence[Processor] = (),
    min_new_tokens: int = 0,
    eos_id: int | Sequence[int] | None = None,
    pad_id: int = 0,
    stop: Sequence[str] = (),
    tokenizer: Decoder | None = None,
    n_sequences: int = 1,
    return_log_probs: bool = False,
    cache: KVCache | None = None,
    use_cache: bool = True,
    chunk: int | None = None,
) -> Iterator[Step]:
    """Write as :func:`generate` does, and give every token as soon as it is there.

    The tokens are those of :func:`generate` with the same arguments, which are checked before
    the first step. With a tokenizer each step tells the text that can be shown: never half a
    character, and nothing of a stop string. To stop early, stop asking.

    Args:
        model: in evaluation mode.
        ids: prompts: lists of ids, a tokenizer's batch, or a tensor without padding; see
            :func:`generate`.
        max_new_tokens: most tokens to write, the end token included.
        sampling: how a token is chosen.
        processors: functions from ``(ids, logits)`` to logits.
        min_new_tokens: no end token before so many tokens.
        eos_id: the token that ends a sequence, or several; None means none.
        pad_id: what stands behind the end.
        stop: strings that end a sequence.
        tokenizer: decodes.
        n_sequences: sequences for each prompt.
        return_log_probs: give log-probabilities too.
        cache: one to use; see :func:`generate`.
        use_cache: keep keys and values between steps.
        chunk: tokens of the prompt that go through the model at a time.

    Returns:
        An iterator of steps, until all rows have ended.

    Raises:
        ValueError: see :func:`generate`.
        RuntimeError: see :func:`generate`.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> [step.index for step in stream(model, [[3, 4, 5]], max_new_tokens=3)]
        [0, 1, 2]

    Source: none. Chapter: 23.
    """
    decoding = start(
        model,
        ids,
        max_new_tokens=max_new_tokens,
        choosing=Choosing(sampling, processors, min_new_tokens, n_sequences, return_log_probs),
        ends=read_ends(model, eos_id=eos_id, pad_id=pad_id, stop=stop, tokenizer=tokenizer),
        reading=Reading(cache, use_cache, chunk),
        with_text=True,
    )
    return _steps(decoding)


def _steps(decoding: Decoding) -> Iterator[Step]:
    done = False
    while not done:
        # Entered anew each time: the mode must not leak to the code between two steps.
        with torch.inference_mode():
            chosen = decoding.step()
            done = decoding.is_done
        log_probs = chosen.log_probs
        yield Step(
            decoding.n_steps - 1,
            decoding.new_ids[:, -1].clone(),
            decoding.ended.clone(),
            tuple(decoding.texts) if decoding.pieces else None,
            None if log_probs is None else log_probs.clone(),
        )
