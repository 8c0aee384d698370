"""What decoding asks of a model, of a tokenizer and of a processor of logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention import KVCache

#: From the ids so far ``(rows, n)`` and the logits of the next token ``(rows, vocab)`` to new
#: logits. Padding is marked by negative ids.
Processor = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class Sizes(Protocol):
    """The part of a model's configuration that decoding reads.

    Chapter: 23.
    """

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary."""

    @property
    def max_length(self) -> int:
        """Longest sequence, tokens."""


@runtime_checkable
class LanguageModel(Protocol):
    """A model that predicts every next token: :class:`CausalLM`, or anything called like it.

    Chapter: 23.
    """

    training: bool

    @property
    def config(self) -> Sizes:
        """Its sizes."""

    def __call__(
        self,
        ids: Int[Tensor, "batch n"],
        *,
        mask: Bool[Tensor, "..."] | None = None,
        positions: Int[Tensor, "*batch n"] | None = None,
        cache: KVCache | None = None,
        last: int | None = None,
    ) -> Float[Tensor, "batch m vocab"]:
        """Give the logits of the next token after every token.

        Args:
            ids: those that are new, ``(batch, n)``.
            mask: True where a query may attend.
            positions: of the new tokens.
            cache: of the tokens before them.
            last: how many tokens at the end get logits; None means all.

        Returns:
            Shape ``(batch, n, vocab)``, or ``(batch, last, vocab)``.
        """

    def new_cache(
        self,
        batch: int,
        max_length: int,
        *,
        padding: Int[Tensor, "batch"] | None = None,
        spare: int = 0,
    ) -> KVCache:
        """Allocate a cache.

        Args:
            batch: sequences.
            max_length: tokens, prompt and padding included.
            padding: filler tokens on the left of each row.
            spare: tokens beyond a window that ``crop`` may take back.

        Returns:
            An empty cache on the model's device.
        """

    def parameters(self) -> Iterator[nn.Parameter]:
        """Give its weights, of which the first tells the device."""


@runtime_checkable
class Decoder(Protocol):
    """The part of a tokenizer that turns ids into text.

    Chapter: 23.
    """

    def decode(self, ids: Sequence[int], /) -> str | Sequence[str]:
        """Give the text of token ids, or its symbols, which are joined.

        Args:
            ids: of the tokens.

        Returns:
            Their text.
        """
