"""The position scheme that a configuration names, as the parts that act where its paper says."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tfbook.attention import Relative
from tfbook.models.config import StackConfig
from tfbook.positions import (
    ALiBi,
    ConcatenatedPositions,
    LearnedFrequencies,
    LearnedPositions,
    RotaryEmbedding,
    Sandwich,
    ShawRelative,
    SinusoidalPositions,
    T5RelativeBias,
    TransformerXLRelative,
)

MAX_DISTANCE = 16  # of Shaw et al. 2018, section 4.1


def build_joined(positions: str, d_model: int, max_length: int) -> tuple[int, nn.Module | None]:
    """Give what joins embeddings, and how wide the embeddings must be.

    Args:
        positions: the scheme; those that act inside a stack join nothing.
        d_model: width of the stack.
        max_length: longest sequence, tokens; tables hold as many positions.

    Returns:
        Width of the embedding, and the module that joins positions to it, or None.

    Example:
        >>> build_joined("learned", 12, 64)[0]
        12

    Chapter: 11.
    """
    d_position = 2 * max(1, d_model // 8)  # a quarter of the width, even
    schemes: dict[str, Callable[[], nn.Module]] = {
        "sinusoidal": lambda: SinusoidalPositions(max_length, d_model),
        "learned": lambda: LearnedPositions(max_length, d_model),
        "learned_frequencies": lambda: LearnedFrequencies(d_model),
        "concatenated": lambda: ConcatenatedPositions(
            SinusoidalPositions(max_length, d_position), d_position
        ),
    }
    width = d_model - d_position if positions == "concatenated" else d_model
    return width, schemes[positions]() if positions in schemes else None


def build_rotate(positions: str, config: StackConfig) -> nn.Module | None:
    """Give what turns queries and keys, or None.

    Args:
        positions: the scheme.
        config: of the stack.

    Returns:
        A module called with queries or keys and their positions.

    Example:
        >>> build_rotate("learned", StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2))

    Chapter: 12.
    """
    layouts = {"rotary": "halves", "rotary_interleaved": "interleaved"}
    layout = layouts.get(positions)
    return None if layout is None else RotaryEmbedding(config.d_head, layout=layout)


def build_relative(positions: str, config: StackConfig) -> Relative | None:
    """Give what makes a bias from queries, keys and positions in every layer, or None.

    Args:
        positions: the scheme.
        config: of the stack.

    Returns:
        A module called with queries, keys and the positions of both.

    Example:
        >>> build_relative("learned", StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2))

    Chapter: 12.
    """
    schemes: dict[str, Callable[[], Relative]] = {
        "shaw": lambda: ShawRelative(config.d_head, max_distance=MAX_DISTANCE),
        "transformer_xl": lambda: TransformerXLRelative(
            config.n_heads, config.d_head, config.d_model
        ),
    }
    return schemes[positions]() if positions in schemes else None


def build_position_bias(
    positions: str, config: StackConfig, *, causal: bool
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Give what makes one bias for all layers from positions alone, or None.

    Args:
        positions: the scheme.
        config: of the stack.
        causal: whether later keys are hidden; schemes for encoders look both ways.

    Returns:
        A module called with the positions of queries and of keys.

    Example:
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> build_position_bias("alibi", config, causal=False).symmetric
        True

    Chapter: 12.
    """
    n_heads = config.n_heads
    schemes: dict[str, Callable[[], nn.Module]] = {
        "alibi": lambda: ALiBi(n_heads, symmetric=not causal),
        "t5": lambda: T5RelativeBias(n_heads, bidirectional=not causal),
        "sandwich": lambda: Sandwich(n_heads, 2 * (config.d_model // 2)),
    }
    return schemes[positions]() if positions in schemes else None
