"""What the models share at their two ends: embeddings from a configuration, and the head."""

from __future__ import annotations

from jaxtyping import Bool, Int
from torch import Tensor, nn

from tfbook.attention import padding_mask
from tfbook.checks import require
from tfbook.layers import Embedding
from tfbook.models.positions import build_joined


def build_embedding(
    vocab_size: int,
    d_model: int,
    *,
    positions: str,
    max_length: int,
    scaled: bool,
    dropout_p: float,
    norm: nn.Module | None = None,
    n_segments: int = 0,
) -> Embedding:
    """Build an embedding with the position scheme that a configuration names.

    Args:
        vocab_size: tokens in the vocabulary.
        d_model: width.
        positions: one of ``POSITIONS``; those that act inside a stack join nothing here.
        max_length: longest sequence, tokens.
        scaled: multiply by √d_model.
        dropout_p: probability of dropping a feature in training.
        norm: of the embeddings; None leaves it out.
        n_segments: kinds of segments with a vector each.

    Returns:
        A new embedding.
    """
    width, joined = build_joined(positions, d_model, max_length)
    return Embedding(
        vocab_size,
        width,
        positions=joined,
        scaled=scaled,
        dropout_p=dropout_p,
        norm=norm,
        n_segments=n_segments,
    )


def build_head(embedding: Embedding, d_model: int, *, tied: bool, bias: bool = False) -> nn.Linear:
    r"""Build the output layer: :math:`\text{logits} = x W^\top + b`, with :math:`W = E` when tied.

    Args:
        embedding: of the target vocabulary.
        d_model: width of what the layer reads.
        tied: whether the two share their table.
        bias: whether there is a ``b``.

    Returns:
        A linear map.
    """
    vocab_size = embedding.weight.shape[0]
    head = nn.Linear(d_model, vocab_size, bias=bias)
    if tied:
        head.weight = embedding.weight
    return head


def require_length(name: str, n: int, max_length: int) -> None:
    """Raise unless a sequence fits the position table.

    Args:
        name: of the argument.
        n: its last position plus one, tokens.
        max_length: of the model.

    Raises:
        ValueError: it does not fit.
    """
    require(
        n <= max_length,
        f"{name} reaches length {n}, beyond the model's max_length={max_length}; shorten it, or "
        "build the model with a larger max_length",
    )


def lengths_mask(
    name: str, ids: Int[Tensor, "batch n"], lengths: Int[Tensor, "batch"] | None
) -> Bool[Tensor, "batch 1 1 n"] | None:
    """Give the mask that hides the padding of token ids; None where there is none.

    Args:
        name: of ``lengths``, for the message.
        ids: ``(batch, n)``.
        lengths: real tokens of each sequence; None means all.

    Returns:
        Shape ``(batch, 1, 1, n)``, or None.

    Raises:
        ValueError: not one length per sequence, or a length outside ``[0, n]``.
    """
    if lengths is None:
        return None
    # A single length would broadcast to every sequence.
    require(
        lengths.shape == ids.shape[:1],
        f"{name} has shape {tuple(lengths.shape)}, but the ids have shape {tuple(ids.shape)}; give "
        "one length per sequence",
    )
    return padding_mask(lengths, ids.shape[-1])
