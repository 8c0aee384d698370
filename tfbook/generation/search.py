"""Greedy and beam search for the encoder-decoder, batched, with cached keys and values."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from tfbook.attention import KVCache
from tfbook.checks import require, require_positive
from tfbook.generation.prompts import require_evaluating
from tfbook.models.encoder_decoder import EncoderDecoder


@torch.no_grad()
def greedy(
    model: EncoderDecoder,
    source: Int[Tensor, "batch n_s"],
    *,
    source_lengths: Int[Tensor, "batch"] | None = None,
    bos_id: int,
    eos_id: int,
    pad_id: int = 0,
    max_length: int,
    use_cache: bool = True,
) -> Int[Tensor, "batch n"]:
    r"""Take the most probable token at every step, until every sequence has ended.

    .. math:: y_t = \arg\max_w p(w \mid y_{<t}, \text{source})

    Args:
        model: in evaluation mode.
        source: token ids, ``(batch, n_s)``.
        source_lengths: real tokens of each source; None means all.
        bos_id: the token that starts a target.
        eos_id: the token that ends it.
        pad_id: what follows the end.
        max_length: most tokens to write, the end token included.
        use_cache: keep keys and values between steps; off, all is computed again each step.

    Returns:
        Token ids, ``(batch, n)`` with ``n ≤ max_length``, without the start token.

    Raises:
        ValueError: ``max_length`` is below one or beyond the model's, a special token is not of
            the vocabulary, or the model is in training mode.

    Example:
        >>> from tfbook.models import EncoderDecoderConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = EncoderDecoder(EncoderDecoderConfig(
        ...     source_vocab_size=29, target_vocab_size=42, encoder=stack, decoder=stack)).eval()
        >>> greedy(model, torch.tensor([[3, 4]]), bos_id=1, eos_id=2, max_length=5).shape[0]
        1

    Source: none. Chapter: 15.
    """
    _require_ready(model, max_length, bos_id=bos_id, eos_id=eos_id, pad_id=pad_id)
    scorer = _NextToken(model, source, source_lengths, 1, max_length, use_cache)
    batch = source.shape[0]
    target = torch.full((batch, 1), bos_id, device=source.device)
    ended = torch.zeros(batch, dtype=torch.bool, device=source.device)
    for _ in range(max_length):
        token = scorer.logits(target).argmax(dim=-1).masked_fill(ended, pad_id)
        target = torch.cat([target, token[:, None]], dim=1)
        ended |= token == eos_id
        if bool(ended.all()):
            break
    return target[:, 1:]


@torch.no_grad()
def beam_search(
    model: EncoderDecoder,
    source: Int[Tensor, "batch n_s"],
    *,
    source_lengths: Int[Tensor, "batch"] | None = None,
    bos_id: int,
    eos_id: int,
    pad_id: int = 0,
    max_length: int,
    beam_size: int = 4,
    length_penalty: float = 0.0,
    use_cache: bool = True,
) -> tuple[Int[Tensor, "batch beam n"], Float[Tensor, "batch beam"]]:
    r"""Keep the ``beam_size`` best beginnings at every step; rank the ends by their score.

    .. math:: s(y) = \frac{\log p(y \mid \text{source})}{((5 + |y|) / 6)^{\alpha}}

    with :math:`|y|` counting the end token. A sequence that ended keeps its place among the
    beams and is not extended, so candidates that end early are compared with those that go on.

    Args:
        model: in evaluation mode.
        source: token ids, ``(batch, n_s)``.
        source_lengths: real tokens of each source; None means all.
        bos_id: the token that starts a target.
        eos_id: the token that ends it.
        pad_id: what follows the end.
        max_length: most tokens to write, the end token included.
        beam_size: sequences kept.
        length_penalty: :math:`\alpha`; 0 ranks by probability alone.
        use_cache: keep keys and values between steps; off, all is computed again each step.

    Returns:
        Token ids ``(batch, beam, n)``, best first, and their scores ``(batch, beam)``.

    Raises:
        ValueError: a size below one, ``beam_size`` above the vocabulary, ``max_length`` beyond
            the model's, a special token that is not of the vocabulary, or the model is in
            training mode.

    Example:
        >>> from tfbook.models import EncoderDecoderConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = EncoderDecoder(EncoderDecoderConfig(
        ...     source_vocab_size=29, target_vocab_size=42, encoder=stack, decoder=stack)).eval()
        >>> ids, scores = beam_search(
        ...     model, torch.tensor([[3, 4]]), bos_id=1, eos_id=2, max_length=5, beam_size=3)
        >>> scores.shape
        torch.Size([1, 3])

    Source: Wu et al. 2016, section 7 (length penalty). Chapter: 15.
    """
    _require_ready(model, max_length, bos_id=bos_id, eos_id=eos_id, pad_id=pad_id)
    require_positive("beam_size", beam_size)
    vocab = model.config.target_vocab_size
    require(
        beam_size <= vocab,
        f"beam_size={beam_size} must be at most the vocabulary's {vocab}; use fewer beams",
    )
    scorer = _NextToken(model, source, source_lengths, beam_size, max_length, use_cache)
    batch = source.shape[0]
    target = torch.full((batch * beam_size, 1), bos_id, device=source.device)
    # All beams begin alike: only the first may be extended, or all would stay alike.
    total = torch.full((batch, beam_size), -torch.inf, device=source.device)
    total[:, 0] = 0.0
    lengths = torch.zeros(batch, beam_size, device=source.device)
    ended = torch.zeros(batch, beam_size, dtype=torch.bool, device=source.device)
    for _ in range(max_length):
        log_p = scorer.logits(target).float().log_softmax(dim=-1)
        log_p = rearrange(log_p, "(b k) v -> b k v", k=beam_size)
        log_p = _only_padding_after_end(log_p, ended, pad_id)
        total, choice = (total[:, :, None] + log_p).flatten(1).topk(beam_size)
        parent, token = choice // vocab, choice % vocab
        ended, lengths = ended.gather(1, parent), lengths.gather(1, parent)
        lengths = lengths + ~ended
        ended = ended | (token == eos_id)
        rows = (parent + torch.arange(batch, device=source.device)[:, None] * beam_size).flatten()
        target = torch.cat([target[rows], token.reshape(-1, 1)], dim=1)
        scorer.reorder(rows)
        if bool(ended.all()):
            break
    scores, order = (total / ((5 + lengths) / 6) ** length_penalty).sort(descending=True)
    ids = rearrange(target[:, 1:], "(b k) n -> b k n", k=beam_size)
    return ids.gather(1, repeat(order, "b k -> b k n", n=ids.shape[2])), scores


class _NextToken:
    """Logits of the next token, with the cache or by computing all again."""

    def __init__(
        self,
        model: EncoderDecoder,
        source: Tensor,
        source_lengths: Tensor | None,
        copies: int,
        max_length: int,
        use_cache: bool,
    ) -> None:
        self._model = model
        memory = model.encode(source, source_lengths=source_lengths)
        mask = model.source_mask(source, source_lengths)
        self._memory = memory.repeat_interleave(copies, dim=0)
        self._mask = None if mask is None else mask.repeat_interleave(copies, dim=0)
        self._cache: KVCache | None = None
        if use_cache:
            self._cache = model.new_cache(self._memory.shape[0], max_length)

    def logits(self, target: Tensor) -> Tensor:
        new = target if self._cache is None else target[:, self._cache.length :]
        logits = self._model.decode(new, self._memory, memory_mask=self._mask, cache=self._cache)
        return logits[:, -1]

    def reorder(self, rows: Tensor) -> None:
        if self._cache is not None:
            self._cache.reorder(rows)


def _only_padding_after_end(log_p: Tensor, ended: Tensor, pad_id: int) -> Tensor:
    """An ended beam has one continuation, padding, which costs nothing."""
    log_p = log_p.masked_fill(ended[:, :, None], -torch.inf)
    log_p[:, :, pad_id] = log_p[:, :, pad_id].masked_fill(ended, 0.0)
    return log_p


def _require_ready(model: EncoderDecoder, max_length: int, **special_ids: int) -> None:
    require_positive("max_length", max_length)
    require(
        max_length <= model.config.max_length,
        f"max_length={max_length} must be at most the model's max_length="
        f"{model.config.max_length}; write less, or build the model with a larger table",
    )
    require_evaluating("model", model)
    vocab = model.config.target_vocab_size
    for name, token in special_ids.items():
        require(
            0 <= token < vocab,
            f"{name}={token} must lie in [0, target_vocab_size={vocab}); take it from the "
            "tokenizer that belongs to this model",
        )
