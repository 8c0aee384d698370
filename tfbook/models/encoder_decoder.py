"""The Transformer of 2017: an encoder, a decoder that reads it, embeddings and a head."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tfbook.attention import KVCache
from tfbook.checks import require
from tfbook.models.config import EncoderDecoderConfig
from tfbook.models.heads import build_embedding, build_head, lengths_mask, require_length
from tfbook.models.initialization import initialize_xavier
from tfbook.models.stacks import build_decoder, build_encoder


class EncoderDecoder(nn.Module):
    r"""Read a source, write a target.

    .. math:: m = \operatorname{encoder}(E_s(\text{source})), \qquad
              \text{logits}_t = W\, \operatorname{decoder}(E_t(\text{target}_{\le t}),\ m)

    ``logits[:, t]`` predicts the token *after* ``target[:, t]``: shift the targets by one.

    Args:
        config: sizes and choices.

    Raises:
        ValueError: see :class:`EncoderDecoderConfig`.

    Example:
        >>> from tfbook.models import StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = EncoderDecoder(EncoderDecoderConfig(
        ...     source_vocab_size=29, target_vocab_size=42, encoder=stack, decoder=stack))
        >>> source, target = torch.tensor([[3, 4, 5]]), torch.tensor([[1, 7]])
        >>> model(source, target).shape
        torch.Size([1, 2, 42])

    Source: Vaswani et al. 2017. Chapter: 15.
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = build_embedding(
            config.source_vocab_size,
            config.encoder.d_model,
            positions=config.positions,
            max_length=config.max_length,
            scaled=True,
            dropout_p=config.encoder.dropout_p,
        )
        self.target_embedding = (
            self.source_embedding
            if config.share_embeddings
            else build_embedding(
                config.target_vocab_size,
                config.decoder.d_model,
                positions=config.positions,
                max_length=config.max_length,
                scaled=True,
                dropout_p=config.decoder.dropout_p,
            )
        )
        self.encoder = build_encoder(config.encoder, positions=config.positions)
        self.decoder = build_decoder(
            config.decoder, positions=config.positions, cross_attention=True
        )
        self.head = build_head(
            self.target_embedding, config.decoder.d_model, tied=config.tie_output
        )
        initialize_xavier(self)
        if config.tie_output:  # the head is the embedding: keep the embedding's initialisation
            nn.init.normal_(self.head.weight, std=config.decoder.d_model**-0.5)

    def forward(
        self,
        source: Int[Tensor, "batch n_s"],
        target: Int[Tensor, "batch n_t"],
        *,
        source_lengths: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch n_t vocab"]:
        """Give the logits of the next target token at every position (training).

        Args:
            source: token ids, ``(batch, n_s)``, padded at the end.
            target: token ids, ``(batch, n_t)``, beginning with the start token. Padding at
                the end needs no mask: no real position sees it.
            source_lengths: real tokens of each source; None means all.

        Returns:
            Shape ``(batch, n_t, target_vocab_size)``.

        Raises:
            ValueError: ids outside the vocabulary, sequences beyond ``max_length``, or lengths
                that do not fit the source.
        """
        memory = self.encode(source, source_lengths=source_lengths)
        mask = self.source_mask(source, source_lengths)
        return self.decode(target, memory, memory_mask=mask)

    def encode(
        self,
        source: Int[Tensor, "batch n_s"],
        *,
        source_lengths: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch n_s d_model"]:
        """Read the source.

        Args:
            source: token ids, ``(batch, n_s)``.
            source_lengths: real tokens of each source; None means all.

        Returns:
            The memory, ``(batch, n_s, d_model)``.

        Raises:
            ValueError: ids outside the vocabulary, a source beyond ``max_length``, or lengths that
                do not fit the source.
        """
        require_length("source", source.shape[-1], self.config.max_length)
        x = self.source_embedding(source)
        return self.encoder(x, mask=self.source_mask(source, source_lengths))

    def decode(
        self,
        target: Int[Tensor, "batch n_t"],
        memory: Float[Tensor, "batch n_s d_model"],
        *,
        memory_mask: Bool[Tensor, "batch 1 1 n_s"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch n_t vocab"]:
        """Give the logits of the next token after every target token.

        Args:
            target: token ids, ``(batch, n_t)``; with a cache, those that are new.
            memory: what :meth:`encode` gave.
            memory_mask: what :meth:`source_mask` gave.
            cache: keys and values of earlier tokens, from :meth:`new_cache`; advanced.

        Returns:
            Shape ``(batch, n_t, target_vocab_size)``.

        Raises:
            ValueError: ids outside the vocabulary, a target beyond ``max_length``, or a memory or
                mask of other sequences.
            RuntimeError: the cache has no room.
        """
        start = 0 if cache is None else cache.length
        require_length("target", start + target.shape[-1], self.config.max_length)
        _require_memory(target, memory, memory_mask)
        positions = torch.arange(start, start + target.shape[-1], device=target.device)
        x = self.target_embedding(target, positions)
        x = self.decoder(x, memory, positions=positions, cache=cache, context_mask=memory_mask)
        return self.head(x)

    def source_mask(
        self, source: Int[Tensor, "batch n_s"], source_lengths: Int[Tensor, "batch"] | None
    ) -> Bool[Tensor, "batch 1 1 n_s"] | None:
        """Give the mask that hides the source's padding; None where there is none.

        Args:
            source: token ids, ``(batch, n_s)``.
            source_lengths: real tokens of each source; None means all.

        Returns:
            Shape ``(batch, 1, 1, n_s)``, or None.

        Raises:
            ValueError: not one length per source, or a length outside ``[0, n_s]``.
        """
        return lengths_mask("source_lengths", source, source_lengths)

    def new_cache(self, batch: int, max_length: int) -> KVCache:
        """Allocate a cache for decoding.

        Args:
            batch: sequences.
            max_length: target tokens, the start token included.

        Returns:
            An empty cache on the model's device.
        """
        stack, weight = self.config.decoder, self.target_embedding.weight
        return KVCache(
            n_layers=stack.n_layers,
            batch=batch,
            n_kv_heads=stack.kv_heads,
            max_length=max_length,
            d_head=stack.d_head,
            dtype=weight.dtype,
            device=weight.device,
        )


def _require_memory(target: Tensor, memory: Tensor, memory_mask: Tensor | None) -> None:
    # One memory, or one row of the mask, would broadcast to every target.
    batch, n = memory.shape[:2]
    require(
        target.shape[0] == batch,
        f"target has batch {target.shape[0]} and memory {batch}; encode one source per target",
    )
    require(
        memory_mask is None or memory_mask.shape == (batch, 1, 1, n),
        f"memory_mask has shape {None if memory_mask is None else tuple(memory_mask.shape)}, but "
        f"the memory needs ({batch}, 1, 1, {n}); pass what source_mask gave",
    )
