"""A recurrent encoder-decoder that looks back at its source: attention before the Transformer."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_positive
from tfbook.models.heads import lengths_mask

__all__ = ["AttendingGRU"]


class AttendingGRU(nn.Module):
    r"""A recurrent encoder-decoder whose decoder attends to every state of the encoder.

    .. math:: c_j = [\overrightarrow{h}_j ; \overleftarrow{h}_j], \qquad
              s_0 = \tanh(W_0 \overleftarrow{h}_1), \quad s_i = \mathrm{GRU}(e(y_{i-1}), s_{i-1})

    .. math:: r_i = \operatorname{attention}(s_i, c), \qquad
              \mathrm{logits}_i = W_{out} \tanh(W_r [r_i ; s_i])

    The encoder reads in both directions, as Bahdanau's; the attention acts after the decoder's
    step, as Luong's, so that all steps of a known target are scored at once. What was read is not
    fed to the next step (Luong's *input feeding*).

    Args:
        attention: reads ``(batch, n_t, d_hidden)`` queries and a ``(batch, n_s, 2 d_hidden)``
            context, and gives ``(batch, n_t, 2 d_hidden)``; such as
            ``AdditiveAttention(d_hidden, 2 * d_hidden, d_key)``.
        source_vocab_size: number of source ids.
        target_vocab_size: number of target ids.
        d_embedding: width of both embeddings.
        d_hidden: width of the decoder's state, and of the encoder's in each direction.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> from tfbook.attention import AdditiveAttention
        >>> model = AttendingGRU(AdditiveAttention(3, 6, 4), source_vocab_size=7,
        ...                      target_vocab_size=5, d_embedding=2, d_hidden=3)
        >>> source, target = torch.tensor([[3, 4, 2], [6, 2, 0]]), torch.tensor([[1], [1]])
        >>> model(source, target, source_lengths=torch.tensor([3, 2])).shape
        torch.Size([2, 1, 5])

    Source: Bahdanau et al. 2015, section 3; Luong et al. 2015, section 3. Chapter: 07.
    """

    def __init__(
        self,
        attention: nn.Module,
        *,
        source_vocab_size: int,
        target_vocab_size: int,
        d_embedding: int,
        d_hidden: int,
    ) -> None:
        super().__init__()
        sizes = dict(source_vocab_size=source_vocab_size, target_vocab_size=target_vocab_size)
        for name, size in dict(sizes, d_embedding=d_embedding, d_hidden=d_hidden).items():
            require_positive(name, size)
        self.attention = attention
        self.source_embedding = nn.Embedding(source_vocab_size, d_embedding)
        self.target_embedding = nn.Embedding(target_vocab_size, d_embedding)
        self.forward_encoder = nn.GRU(d_embedding, d_hidden, batch_first=True)
        self.backward_encoder = nn.GRU(d_embedding, d_hidden, batch_first=True)
        self.decoder = nn.GRU(d_embedding, d_hidden, batch_first=True)
        self.start = nn.Linear(d_hidden, d_hidden)
        self.read = nn.Linear(3 * d_hidden, d_hidden)
        self.output = nn.Linear(d_hidden, target_vocab_size)

    def encode(
        self,
        source_ids: Int[Tensor, "batch n_s"],
        *,
        source_lengths: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch n_s d_context"]:
        """Read the source in both directions.

        Args:
            source_ids: ids, padded at the end, ``(batch, n_s)``.
            source_lengths: tokens in each row ``(batch,)``; None means that no row is padded.

        Returns:
            One vector per source token, ``(batch, n_s, 2 d_hidden)``; those of padding mean
            nothing.

        Raises:
            ValueError: lengths that do not fit the source.
        """
        lengths_mask("source_lengths", source_ids, source_lengths)  # refuses what does not fit
        x, back = self.source_embedding(source_ids), _backwards(source_ids, source_lengths)
        ahead, _ = self.forward_encoder(x)
        behind, _ = self.backward_encoder(_reordered(x, back))
        return torch.cat([ahead, _reordered(behind, back)], dim=-1)

    def states(
        self, target_ids: Int[Tensor, "batch n_t"], context: Float[Tensor, "batch n_s d_context"]
    ) -> Float[Tensor, "batch n_t d_hidden"]:
        """Give the decoder's state at every step of a known target.

        Args:
            target_ids: target ids from the begin token on, ``(batch, n_t)``.
            context: what :meth:`encode` gave.

        Returns:
            Shape ``(batch, n_t, d_hidden)``.

        Raises:
            ValueError: ``target_ids`` has no position, or not one row for each source.
        """
        require(
            target_ids.shape[1] > 0,
            f"target_ids has shape {tuple(target_ids.shape)}, but needs at least one position; "
            "begin it with the begin token",
        )
        require(
            len(target_ids) == len(context),
            f"target_ids has batch {len(target_ids)} and context {len(context)}; encode one source "
            "per target",
        )
        first = torch.tanh(self.start(context[:, 0, self.start.in_features :]))
        states, _ = self.decoder(self.target_embedding(target_ids), first[None].contiguous())
        return states

    def forward(
        self,
        source_ids: Int[Tensor, "batch n_s"],
        target_ids: Int[Tensor, "batch n_t"],
        *,
        source_lengths: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch n_t vocab"]:
        """Give the logits of each next token when the tokens before it are given.

        Args:
            source_ids: source ids, padded at the end, ``(batch, n_s)``.
            target_ids: target ids from the begin token on, ``(batch, n_t)``.
            source_lengths: tokens in each source row ``(batch,)``; None means no padding.

        Returns:
            Logits ``(batch, n_t, vocab)``; position ``i`` predicts token ``i + 1``.

        Raises:
            ValueError: lengths that do not fit the source, or a target without a position.
        """
        states, context, mask = self._asked(source_ids, target_ids, source_lengths)
        read = self.attention(states, context, mask=mask)
        return self.output(torch.tanh(self.read(torch.cat([read, states], dim=-1))))

    def alignment(
        self,
        source_ids: Int[Tensor, "batch n_s"],
        target_ids: Int[Tensor, "batch n_t"],
        *,
        source_lengths: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch n_t n_s"]:
        """Give the attention weights: how much each step reads from each source token.

        Args:
            source_ids: source ids, padded at the end, ``(batch, n_s)``.
            target_ids: target ids from the begin token on, ``(batch, n_t)``.
            source_lengths: tokens in each source row ``(batch,)``; None means no padding.

        Returns:
            Shape ``(batch, n_t, n_s)``; row ``i`` is read to predict token ``i + 1``.

        Raises:
            ValueError: as in :meth:`forward`.
        """
        states, context, mask = self._asked(source_ids, target_ids, source_lengths)
        attention: Any = self.attention  # a module that can give its weights
        weights: Tensor = attention.weights(states, context, mask=mask)
        return weights[:, 0]

    def _asked(
        self, source_ids: Tensor, target_ids: Tensor, source_lengths: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the attention gets: the states that ask, the context, and which of it is real."""
        context = self.encode(source_ids, source_lengths=source_lengths)
        mask = lengths_mask("source_lengths", source_ids, source_lengths)
        return self.states(target_ids, context), context, mask


def _backwards(ids: Tensor, lengths: Tensor | None) -> Int[Tensor, "batch n"]:
    """For each position the one to read in its place, such that real tokens are reversed."""
    places = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    last = (ids.shape[1] if lengths is None else lengths[:, None]) - 1
    return torch.where(places <= last, last - places, places)


def _reordered(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(x.shape))
