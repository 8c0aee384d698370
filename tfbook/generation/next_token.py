"""The logits of the next token: from the cache, or by computing all again."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.checks import require, require_positive, require_state
from tfbook.generation.prompts import Prompts
from tfbook.generation.protocols import LanguageModel
from tfbook.models.decoding_step import decoding_step


class NextToken:
    """Feed a model the prompt once, and then what was written.

    Args:
        model: in evaluation mode.
        prompts: what it continues.
        max_length: of prompt and new tokens, padding included: the room in the cache.
        use_cache: keep keys and values between steps; off, all is computed again each step.
        cache: one that may hold the first tokens of the prompts already, which is not checked:
            it holds keys and no ids. None makes one.
        chunk: tokens of the prompt that go through the model at a time; None means all.

    Raises:
        ValueError: a chunk below one, a cache together with ``use_cache=False``, or a cache of
            another batch or padding.
        RuntimeError: the cache has no room, or holds the whole prompt already.

    Chapter: 23.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        *,
        max_length: int,
        use_cache: bool = True,
        cache: KVCache | None = None,
        chunk: int | None = None,
    ) -> None:
        self._model, self._prompts, self._chunk = model, prompts, chunk
        if chunk is not None:
            require_positive("chunk", chunk)
        require(
            use_cache or cache is None,
            "use_cache=False computes everything again, and a cache was passed; leave one out",
        )
        if cache is not None:
            _require_fitting(cache, prompts, max_length)
        elif use_cache:
            cache = model.new_cache(len(prompts.ids), max_length, padding=prompts.padding)
        self.cache = cache
        self._padding = prompts.padding
        self._step = decoding_step(cast(nn.Module, model))

    def first(self, *, copies: int = 1) -> Float[Tensor, "rows vocab"]:
        """Read the prompts.

        Args:
            copies: sequences that will continue each prompt; they stand side by side.

        Returns:
            Logits of the first new token, ``(batch · copies, vocab)``.
        """
        ids = self._prompts.ids
        if self.cache is None:
            logits = self._all_again(ids)
        else:
            known = self.cache.length
            # What stands in padding is hidden from all others; any id will do.
            new = ids[:, known:].clamp(min=0)
            for piece in new.split(self._chunk or new.shape[1], dim=1):
                logits = self._step(piece, self.cache)[:, -1]
        if copies == 1:
            return logits
        if self.cache is not None:
            self.cache = self.cache.repeat(copies)
        elif self._padding is not None:
            self._padding = self._padding.repeat_interleave(copies)
        return logits.repeat_interleave(copies, dim=0)

    def after(self, ids: Int[Tensor, "rows n"]) -> Float[Tensor, "rows vocab"]:
        """Read the newest token.

        Args:
            ids: all so far, prompt included.

        Returns:
            Logits of the next token.
        """
        if self.cache is None:
            return self._all_again(ids)
        return self._step(ids[:, -1:], self.cache)[:, -1]

    def reorder(self, rows: Int[Tensor, "rows"]) -> None:
        """Let row ``i`` continue row ``rows[i]``.

        Args:
            rows: an index for every row; rows only change places within one prompt.
        """
        if self.cache is not None:
            self.cache.reorder(rows)

    def _all_again(self, ids: Tensor) -> Tensor:
        return Prompts(ids, self._padding).last_logits(self._model, 1)[:, -1]


def _require_fitting(cache: KVCache, prompts: Prompts, max_length: int) -> None:
    batch, n = prompts.ids.shape
    require(
        cache.batch == batch,
        f"cache was made for {cache.batch} rows, but there are {batch} prompts; make it with "
        f"model.new_cache({batch}, {max_length})",
    )
    wanted = [0] * batch if prompts.padding is None else prompts.padding.tolist()
    there = [0] * batch if cache.padding is None else cache.padding.tolist()
    require(
        wanted == there,
        f"cache has padding={there}, but the prompts need {wanted}; make it with "
        "model.new_cache(..., padding=...)",
    )
    require_state(
        max_length <= cache.max_length,
        f"cache has room for max_length={cache.max_length} tokens, but prompt and new tokens are "
        f"{max_length}; make it larger, or write fewer tokens",
    )
    require_state(
        cache.length < n,
        f"cache holds {cache.length} tokens, but the prompts have only {n}, and the last must be "
        f"new; pass all ids from the first on, or cache.crop({n - 1}) first",
    )
