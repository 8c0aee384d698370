"""Continue prompts with a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.attention import KVCache
from tfbook.generation.choosing import Chosen
from tfbook.generation.decoding import Decoding
from tfbook.generation.ends import read_ends
from tfbook.generation.prompts import PromptIds
from tfbook.generation.protocols import Decoder, LanguageModel, Processor
from tfbook.generation.sampling import Sampling
from tfbook.generation.starting import Choosing, Reading, start


@dataclass(frozen=True)
class Generation:
    """What was written.

    Args:
        ids: new tokens, ``(rows, n)``, without the prompt; behind the end stands padding. The
            token that ended a sequence is included. The sequences of one prompt are side by
            side.
        lengths: of the rows, tokens, ``(rows,)``.
        stopped_by: of every row: the id of an end token, the stop string, or None where
            ``max_new_tokens`` came first.
        log_probs: of the tokens under the model, before any processor, nats, ``(rows, n)``, 0
            behind the end; None unless asked for.
        processed_log_probs: the same under the distribution after all processors; for greedy
            choices, after penalties and the caller's processors.
        texts: of the rows, without end token and stop string; None without a tokenizer.

    Chapter: 23.
    """

    ids: Int[Tensor, "rows n"]
    lengths: Int[Tensor, "rows"]
    stopped_by: tuple[int | str | None, ...]
    log_probs: Float[Tensor, "rows n"] | None = None
    processed_log_probs: Float[Tensor, "rows n"] | None = None
    texts: tuple[str, ...] | None = None


def generate(
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
) -> Generation:
    r"""Write token after token, greedily unless ``sampling`` says otherwise.

    .. math:: w_t \sim p(w \mid \text{prompt}, w_{<t}) \quad\text{or}\quad
        w_t = \arg\max_w p(w \mid \text{prompt}, w_{<t})

    The logits go through the penalties of ``sampling``, then ``processors``, then the
    temperature and the cut-offs. Draws of a sequence come from a stream of its own
    (:class:`Sampling` says which), so they do not depend on what else is in the batch.

    Args:
        model: in evaluation mode.
        ids: prompts: lists of ids of any lengths; a :class:`tfbook.tokenizers.Batch`, padded on
            either side; or a tensor ``(batch, n)`` without padding, which could not be told from
            tokens.
        max_new_tokens: most tokens to write, the end token included.
        sampling: how a token is chosen.
        processors: functions from ``(ids, logits)`` to logits, with ids ``(rows, n)`` of prompt
            and new tokens (padding is negative) and float32 logits ``(rows, vocab)``.
        min_new_tokens: no end token before so many tokens.
        eos_id: the token that ends a sequence, or several; None means none.
        pad_id: what stands behind the end.
        stop: strings that end a sequence; they may begin and end inside tokens.
        tokenizer: decodes; needed for stop strings, and for ``texts``.
        n_sequences: sequences for each prompt.
        return_log_probs: give log-probabilities too.
        cache: one to use, from ``model.new_cache``: empty, or holding the first tokens of
            ``ids``, which are then not computed again. It holds keys and values and no ids, so
            other tokens in it are not noticed: leave in it what it shares with ``ids``, by
            :meth:`tfbook.attention.KVCache.crop`. Afterwards it holds all but the last token
            (with several sequences, the prompt).
        use_cache: keep keys and values between steps; off, all is computed again each step.
        chunk: tokens of the prompt that go through the model at a time; None means all.

    Returns:
        The new tokens and what is known about them.

    Raises:
        ValueError: prompts that are empty, of floats or not of the vocabulary; prompt and new
            tokens beyond the model's ``max_length``; a model in training mode, or without
            ``config`` and ``new_cache``; several greedy sequences, which would be equal; stop
            strings without tokenizer; special tokens that are not of the vocabulary; another
            number of seeds than prompts; a processor that gives no logits of the same shape; a
            cache for another number of prompts or other padding; or an argument of another type.
        RuntimeError: the cache has no room, or holds the whole prompt; processors forbid every
            token; or the model's rotary scaling depends on the length (``dynamic``), which no
            cache can serve: it needs ``use_cache=False``.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> generate(model, [[3, 4, 5], [6]], max_new_tokens=4).ids.shape
        torch.Size([2, 4])

    Source: none. Chapter: 23.
    """
    decoding = start(
        model,
        ids,
        max_new_tokens=max_new_tokens,
        choosing=Choosing(sampling, processors, min_new_tokens, n_sequences, return_log_probs),
        ends=read_ends(model, eos_id=eos_id, pad_id=pad_id, stop=stop, tokenizer=tokenizer),
        reading=Reading(cache, use_cache, chunk),
    )
    steps: list[Chosen] = []
    with torch.inference_mode():
        while not decoding.is_done:
            steps.append(decoding.step())
    return _result(decoding, steps, return_log_probs)


def _result(decoding: Decoding, steps: list[Chosen], with_log_probs: bool) -> Generation:
    # A GPU may have gone on for a few steps after the last end.
    n = int(decoding.lengths.max())
    # Clones, as tensors made in inference mode cannot be trained on.
    ids, lengths = decoding.new_ids[:, :n].clone(), decoding.lengths.clone()
    log_probs = processed = None
    if with_log_probs:
        behind = torch.arange(n, device=ids.device) >= lengths[:, None]
        log_probs = _joined([step.log_probs for step in steps[:n]], behind)
        processed = _joined([step.processed_log_probs for step in steps[:n]], behind)
    return Generation(
        ids, lengths, decoding.stopped_by(), log_probs, processed, decoding.whole_texts()
    )


def _joined(steps: list[Tensor | None], behind: Tensor) -> Tensor:
    columns = [step for step in steps if step is not None]
    return torch.stack(columns, dim=1).clone().masked_fill(behind, 0.0)
