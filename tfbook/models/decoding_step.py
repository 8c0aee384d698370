"""One token through a language model, without what only longer inputs need.

A token of SmolLM2-135M is 211 products of a vector with a matrix, which read every weight once,
and hundreds of small operations between them. The products are bound by memory. The others cost
their call, and more than when they are timed alone: between two of them a product has swept the
caches. So there are fewer here, and cheaper ones:

- queries, keys and values are one product, and so are gate and up;
- queries and keys are turned together and in place, with one table of cosines for all layers;
- the heads that share keys are the queries of one head: nothing is repeated;
- keys and values go into the cache together, and its views for all layers are made at once;
- a root-mean-square norm is one call of PyTorch's layer norm;
- in bfloat16 a product with one vector takes the kernel for vectors.

The weights are the model's own. What a step does not know (other placements of the norms, biases
on the scores, hooks, wrapped layers) goes through the model's ordinary forward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.models.causal_lm import CausalLM
from tfbook.models.decoding_blocks import known_blocks
from tfbook.models.decoding_parts import Token, Turning, added, layer_step, norm_step, views
from tfbook.models.heads import require_length
from tfbook.models.joined_weights import joined_product

Step = Callable[[Tensor, KVCache], Tensor]


def decoding_step(model: nn.Module) -> Step:
    """Give the fastest function that reads a token and says what comes next.

    Make it anew for every text: it holds on to what the model is now. Weights may change in
    place; modules, hooks, types and devices may not.

    Args:
        model: called as :class:`CausalLM`.

    Returns:
        A function of ids ``(batch, n)`` and a cache that gives the logits after the last of
        them, ``(batch, 1, vocab)``: a :class:`DecodingStep` where the model allows it, and its
        ordinary forward pass where not.

    Example:
        >>> from tfbook.models import CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> decoding_step(model)(torch.tensor([[3]]), model.new_cache(1, 5)).shape
        torch.Size([1, 1, 29])

    Source: none. Chapter: 24.
    """
    if isinstance(model, CausalLM) and known_blocks(model) is not None:
        # What it keeps must serve outside of inference mode too.
        with torch.inference_mode(False):
            return DecodingStep(model)
    return lambda ids, cache: model(ids, cache=cache, last=1)


class DecodingStep:
    r"""The next token's logits from one token and the cache; equal to the model's own.

    Args:
        model: in evaluation mode; its layers come to share tables, see
            :func:`tfbook.models.joined_weights.joined_product`.

    Raises:
        ValueError: the model has blocks that a step does not know; see
            :func:`tfbook.models.decoding_blocks.known_blocks`.

    Example:
        >>> from tfbook.models import CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack)).eval()
        >>> step, token = DecodingStep(model), torch.tensor([[3]])
        >>> bool(torch.allclose(step(token, model.new_cache(1, 5)), model(token), atol=1e-6))
        True

    Source: none. Chapter: 24.
    """

    def __init__(self, model: CausalLM) -> None:
        blocks = known_blocks(model)
        if blocks is None:
            raise ValueError(
                "model has parts that a decoding step does not know, is in training mode or has "
                "hooks; use decoding_step(model), which then takes the ordinary pass"
            )
        self._model, first = model, blocks[0]
        self._layers = [layer_step(block) for block in blocks]
        self._final_norm = norm_step(model.decoder.final_norm)
        self._head = joined_product([model.head])
        attention, weight = first.attention, next(model.decoder.parameters())
        self._window, self._turning = attention.window, None
        self._sizes = (len(blocks), attention.n_kv_heads, attention.d_head)
        self._kind = (weight.dtype, weight.device)
        if first.rotate is not None:
            self._turning = Turning(first, first.rotate, weight.device)

    @torch.no_grad()
    def __call__(
        self, ids: Int[Tensor, "batch n"], cache: KVCache
    ) -> Float[Tensor, "batch 1 vocab"]:
        """Read the newest tokens.

        Args:
            ids: ``(batch, n)``; more than one token takes the ordinary pass.
            cache: of the model; advanced.

        Returns:
            Logits after the last of them, ``(batch, 1, vocab)``.

        Raises:
            ValueError: as :meth:`CausalLM.forward`.
            RuntimeError: the cache has no room.
        """
        model = self._model
        if ids.shape[-1] != 1 or not self._fits(ids, cache):
            return model(ids, cache=cache, last=1)
        require_length("ids", cache.longest_after(1), model.config.max_length)
        positions = cache.next_positions(1)
        x = model.embedding(ids, positions)[:, 0]
        turn = None if self._turning is None else self._turning.at(positions, x.dtype)
        token = Token.start(x, turn=turn, mask=added(cache.mask(1), x.dtype))
        for layer, *kept in zip(self._layers, *views(cache), strict=True):
            layer(token, *kept)
        cache.advance(1, positions=positions)
        return self._head(self._final_norm(token))[:, None]

    def _fits(self, ids: Tensor, cache: KVCache) -> bool:
        """Whether the cache is as the step expects it; the ordinary pass says what is wrong."""
        keys = cache.keys
        n_layers, batch, n_kv_heads, _, d_head = keys.shape
        return (
            ids.ndim == 2
            and cache.length < cache.max_length
            and cache.window == self._window
            and batch == ids.shape[0]
            and (n_layers, n_kv_heads, d_head) == self._sizes
            and (keys.dtype, keys.device) == self._kind
        )
