"""The position scheme that a configuration names, as the parts that act where its paper says."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tfbook.attention import Relative
from tfbook.models.config import RotaryConfig, ScalingConfig, StackConfig
from tfbook.positions import (
    ALiBi,
    ConcatenatedPositions,
    DynamicNTKScaling,
    LearnedFrequencies,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    RotaryEmbedding,
    RotaryScaling,
    Sandwich,
    ShawRelative,
    SinusoidalPositions,
    T5RelativeBias,
    TransformerXLRelative,
    YaRNScaling,
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
    layout, rotary = layouts.get(positions), config.rotary or RotaryConfig()
    if layout is None:
        return None
    return RotaryEmbedding(
        config.d_head,
        base=rotary.base,
        d_rotary=rotary.d_rotary,
        layout=layout,
        scaling=None if rotary.scaling is None else build_scaling(rotary.scaling),
    )


def build_scaling(config: ScalingConfig) -> RotaryScaling:
    """Build what changes the frequencies of rotary positions.

    Args:
        config: its kind and numbers.

    Returns:
        The ``scaling`` of a ``RotaryEmbedding``.

    Example:
        >>> build_scaling(ScalingConfig(kind="linear", factor=4.0))
        LinearScaling(factor=4.0)

    Chapter: 12.
    """
    factor, length = config.factor, config.original_length
    kinds: dict[str, Callable[[], RotaryScaling]] = {
        "linear": lambda: LinearScaling(factor),
        "dynamic": lambda: DynamicNTKScaling(factor, length),
        "yarn": lambda: YaRNScaling(
            factor,
            length,
            beta_fast=config.beta_fast,
            beta_slow=config.beta_slow,
            attention_factor=config.attention_factor,
            truncate=config.truncate,
        ),
        "llama3": lambda: Llama3Scaling(
            factor,
            low_freq_factor=config.low_freq_factor,
            high_freq_factor=config.high_freq_factor,
            original_length=length,
        ),
    }
    return kinds[config.kind]()


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
