"""Position encodings. Every scheme takes explicit position indices."""

from tfbook.positions.absolute import (
    ConcatenatedPositions,
    LearnedFrequencies,
    LearnedPositions,
    SinusoidalPositions,
    sinusoidal_table,
)
from tfbook.positions.biases import ALiBi, Sandwich, T5RelativeBias, alibi_slopes, t5_buckets
from tfbook.positions.graphs import laplacian_encoding
from tfbook.positions.images import AxialRotaryEmbedding, grid_positions, sinusoidal_table_2d
from tfbook.positions.relative import ShawRelative, TransformerXLRelative
from tfbook.positions.rotary import (
    RotaryEmbedding,
    apply_rotary,
    apply_rotary_complex,
    convert_rotary_layout,
)
from tfbook.positions.rotary_scaling import (
    DynamicNTKScaling,
    LinearScaling,
    Llama3Scaling,
    RotaryScaling,
    YaRNScaling,
)

__all__ = [
    "ALiBi",
    "AxialRotaryEmbedding",
    "ConcatenatedPositions",
    "DynamicNTKScaling",
    "LearnedFrequencies",
    "LearnedPositions",
    "LinearScaling",
    "Llama3Scaling",
    "RotaryEmbedding",
    "RotaryScaling",
    "Sandwich",
    "ShawRelative",
    "SinusoidalPositions",
    "T5RelativeBias",
    "TransformerXLRelative",
    "YaRNScaling",
    "alibi_slopes",
    "apply_rotary",
    "apply_rotary_complex",
    "convert_rotary_layout",
    "grid_positions",
    "laplacian_encoding",
    "sinusoidal_table",
    "sinusoidal_table_2d",
    "t5_buckets",
]
