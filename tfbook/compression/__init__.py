"""Smaller weights for inference: bfloat16, and integers of eight bits."""

from tfbook.compression.int8 import (
    Int8Embedding,
    Int8Linear,
    dequantize_int8,
    int8_linear,
    quantize_weight,
)
from tfbook.compression.weights import cast_weights, quantize_int8, stored_bytes

__all__ = [
    "Int8Embedding",
    "Int8Linear",
    "cast_weights",
    "dequantize_int8",
    "int8_linear",
    "quantize_int8",
    "quantize_weight",
    "stored_bytes",
]
