"""Weights between this package's models and those of other libraries."""

from tfbook.models.convert.huggingface import (
    from_huggingface,
    from_huggingface_state,
    to_huggingface,
)
from tfbook.models.convert.pytorch import to_torch

__all__ = ["from_huggingface", "from_huggingface_state", "to_huggingface", "to_torch"]
