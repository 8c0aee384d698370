"""Arguments of a generation, checked and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tfbook.attention import KVCache
from tfbook.checks import as_integer, require, require_positive
from tfbook.generation.choosing import Choice, all_processors, require_choosing
from tfbook.generation.constraints import MinimumLength
from tfbook.generation.decoding import Decoding
from tfbook.generation.draws import Uniforms
from tfbook.generation.ends import Ends
from tfbook.generation.next_token import NextToken
from tfbook.generation.prompts import PromptIds, read_prompts, require_room
from tfbook.generation.protocols import LanguageModel, Processor
from tfbook.generation.sampling import Sampling


@dataclass(frozen=True)
class Choosing:
    """How tokens are chosen; see :func:`generate`.

    Args:
        sampling: greedy or drawn.
        processors: the caller's.
        min_new_tokens: no end token before so many.
        n_sequences: for each prompt.
        with_log_probs: whether steps tell them.

    Raises:
        ValueError: something else than a :class:`Sampling`, a list of functions or integers.

    Chapter: 23.
    """

    sampling: Sampling
    processors: Sequence[Processor]
    min_new_tokens: int
    n_sequences: int
    with_log_probs: bool

    def __post_init__(self) -> None:
        """Check what was passed, and make NumPy's integers Python's."""
        require_choosing(self.sampling, self.processors)
        for name in ("min_new_tokens", "n_sequences"):
            object.__setattr__(self, name, as_integer(name, getattr(self, name)))


@dataclass(frozen=True)
class Reading:
    """How the model reads; see :func:`generate`.

    Args:
        cache: the caller's, or None.
        use_cache: whether there is one at all.
        chunk: tokens of the prompt at a time.

    Raises:
        ValueError: something else than a cache or an integer.

    Chapter: 23.
    """

    cache: KVCache | None
    use_cache: bool
    chunk: int | None

    def __post_init__(self) -> None:
        """Check what was passed, and make NumPy's integers Python's."""
        require(
            self.cache is None or isinstance(self.cache, KVCache),
            f"cache is of type {type(self.cache).__name__}, but must be a KVCache; make it with "
            "model.new_cache, or leave it out",
        )
        if self.chunk is not None:
            object.__setattr__(self, "chunk", as_integer("chunk", self.chunk))


def start(
    model: LanguageModel,
    ids: PromptIds,
    *,
    max_new_tokens: int,
    choosing: Choosing,
    ends: Ends,
    reading: Reading,
    with_text: bool = False,
) -> Decoding:
    """Set up a generation.

    Args:
        model: in evaluation mode.
        ids: the prompts.
        max_new_tokens: most tokens to write.
        choosing: of tokens.
        ends: of sequences.
        reading: of the prompts.
        with_text: whether steps tell the text.

    Returns:
        The state before the first step.

    Raises:
        ValueError: see :func:`generate`.
    """
    prompts = read_prompts(model, ids)
    width, copies = prompts.ids.shape[1], choosing.n_sequences
    max_new_tokens = as_integer("max_new_tokens", max_new_tokens)
    require_room(model, width, max_new_tokens)
    require_positive("n_sequences", copies)
    sampling = choosing.sampling
    require(
        copies == 1 or not sampling.is_greedy,
        f"n_sequences={copies} greedy sequences of a prompt would be equal; give sampling a "
        "temperature, or use generate_beams",
    )
    processors = [*choosing.processors, *_minimum(choosing, max_new_tokens, ends, width)]
    choice = Choice(
        all_processors(sampling, processors, prompt_length=width),
        uniforms=None
        if sampling.is_greedy
        else Uniforms(sampling.seeds, n_prompts=len(prompts.ids), copies=copies),
        with_log_probs=choosing.with_log_probs,
    )
    with torch.inference_mode():
        next_token = NextToken(
            model,
            prompts,
            max_length=width + max_new_tokens,
            use_cache=reading.use_cache,
            cache=reading.cache,
            chunk=reading.chunk,
        )
        return Decoding(
            next_token,
            prompts.ids.repeat_interleave(copies, dim=0),
            copies=copies,
            choice=choice,
            ends=ends,
            max_new_tokens=max_new_tokens,
            with_text=with_text,
        )


def _minimum(
    choosing: Choosing, max_new_tokens: int, ends: Ends, prompt_length: int
) -> list[Processor]:
    n = choosing.min_new_tokens
    if n == 0:
        return []
    require(
        0 < n <= max_new_tokens,
        f"min_new_tokens={n} must lie in [0, max_new_tokens={max_new_tokens}]; raise the one or "
        "lower the other",
    )
    require(
        bool(ends.eos_ids),
        f"min_new_tokens={n} forbids end tokens, and there is no eos_id; give one, or leave it out",
    )
    return [MinimumLength(n, ends.eos_ids, prompt_length=prompt_length)]
