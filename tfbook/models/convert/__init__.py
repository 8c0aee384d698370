"""Weights between this package's models and those of other libraries."""

from tfbook.models.convert.huggingface import (
    from_huggingface,
    from_huggingface_state,
    to_huggingface,
)
from tfbook.models.convert.pytorch import to_torch
from tfbook.models.convert.special_ids import SpecialIds

__all__ = [
    "SpecialIds",
    "from_huggingface",
    "from_huggingface_state",
    "to_huggingface",
    "to_torch",
]
