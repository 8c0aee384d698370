"""A decoder-only language model."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.checks import require
from tfbook.models.config import CausalLMConfig
from tfbook.models.heads import build_embedding, build_head, require_length
from tfbook.models.initialization import initialize_normal
from tfbook.models.stacks import build_decoder


class CausalLM(nn.Module):
    r"""Predict every next token from the tokens before it.

    .. math:: \text{logits}_t = W\, \operatorname{decoder}(E(w_{\le t}))

    Args:
        config: sizes and choices.

    Raises:
        ValueError: see :class:`CausalLMConfig`.

    Example:
        >>> from tfbook.models import StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack))
        >>> model(torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3, 29])

    Source: Radford et al. 2019. Chapter: 15.
    """

    def __init__(self, config: CausalLMConfig) -> None:
        super().__init__()
        self.config = config
        stack = config.decoder
        self.embedding = build_embedding(
            config.vocab_size,
            stack.d_model,
            positions=config.positions,
            max_length=config.max_length,
            scaled=config.scaled_embeddings,
            dropout_p=stack.dropout_p,
        )
        self.decoder = build_decoder(stack, positions=config.positions, cross_attention=False)
        self.head = build_head(
            self.embedding, stack.d_model, tied=config.tie_output, bias=config.output_bias
        )
        initialize_normal(self, n_residual=2 * stack.n_layers)

    def forward(
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
            ids: ``(batch, n)``; with a cache, those that are new.
            mask: besides causality, True where a query may attend.
            positions: ``(n,)`` or ``(batch, n)``; None means those that follow the cache.
            cache: keys and values of earlier tokens, from :meth:`new_cache`; advanced.
            last: give logits of so many tokens at the end only; None means all. The head is
                most of the work for a small model with a large vocabulary.

        Returns:
            Shape ``(batch, n, vocab_size)``, or ``(batch, last, vocab_size)``.

        Raises:
            ValueError: ids outside the vocabulary, a sequence beyond ``max_length``, or ``last``
                outside ``[1, n]``.
            RuntimeError: the cache has no room.
        """
        n = ids.shape[-1]
        require(
            last is None or 1 <= last <= n,
            f"last={last} must lie in [1, {n}], the number of ids; leave it out for all",
        )
        if positions is None:
            longest = n if cache is None else cache.longest_after(n)
            require_length("ids", longest, self.config.max_length)
            positions = (
                torch.arange(n, device=ids.device) if cache is None else cache.next_positions(n)
            )
        x = self.embedding(ids, positions)
        x = self.decoder(x, mask=mask, positions=positions, cache=cache)
        # Rows of a slice with gaps would each get a copy of a table that needs no gradient.
        return self.head(x if last is None else x[:, n - last :].contiguous())

    def new_cache(
        self,
        batch: int,
        max_length: int,
        *,
        padding: Int[Tensor, "batch"] | None = None,
        spare: int = 0,
    ) -> KVCache:
        """Allocate a cache for decoding.

        Args:
            batch: sequences.
            max_length: tokens, prompt and padding included.
            padding: filler tokens on the left of each row, ``(batch,)``; None means none. The
                cache hides them and counts positions without them.
            spare: for a model with a window, tokens that ``crop`` may take back.

        Returns:
            An empty cache on the model's device; bounded where the model has a window.

        Raises:
            ValueError: as :class:`tfbook.attention.KVCache`.
        """
        # Not the embedding's type: its table may be of integers.
        stack, weight = self.config.decoder, next(self.decoder.parameters())
        return KVCache(
            n_layers=stack.n_layers,
            batch=batch,
            n_kv_heads=stack.kv_heads,
            max_length=max_length,
            d_head=stack.d_head,
            dtype=weight.dtype,
            device=weight.device,
            window=stack.window,
            spare=0 if stack.window is None else spare,
            padding=padding,
        )
