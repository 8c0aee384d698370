"""What an attention asks of the parts that it is made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor


class Attend(Protocol):
    """What :class:`MultiHeadAttention` attends with: the signature of ``attention``."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        bias: Tensor | None = None,
        scale: float | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Attend; see :func:`tfbook.attention.attention`."""
        ...


#: From queries or keys of every head and their positions to the same, turned.
Rotate = Callable[[Tensor, Tensor | None], Tensor]


@runtime_checkable
class Relative(Protocol):
    """A scheme that gives a bias on the scaled scores from queries, keys and positions."""

    @property
    def adds_to_values(self) -> bool:
        """Whether it has vectors for the values too: then it is a :class:`RelativeValues`."""
        ...

    def __call__(self, q: Tensor, k: Tensor, positions_q: Tensor, positions_k: Tensor) -> Tensor:
        """Give the bias.

        Args:
            q: queries, not scaled, ``(batch, heads, n_q, d_head)``.
            k: keys, ``(batch, kv_heads, n_k, d_head)``.
            positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
            positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

        Returns:
            Broadcasts to ``(batch, heads, n_q, n_k)``, nats.
        """
        ...


@runtime_checkable
class RelativeValues(Relative, Protocol):
    """A :class:`Relative` scheme with vectors for the values."""

    def add_to_values(self, weights: Tensor, positions_q: Tensor, positions_k: Tensor) -> Tensor:
        """Give what is added to the output of every head.

        Args:
            weights: attention weights, ``(batch, heads, n_q, n_k)``.
            positions_q: of the queries, ``(n_q,)`` or ``(batch, n_q)``, tokens.
            positions_k: of the keys, ``(n_k,)`` or ``(batch, n_k)``, tokens.

        Returns:
            Shape ``(batch, heads, n_q, d_head)``.
        """
        ...
