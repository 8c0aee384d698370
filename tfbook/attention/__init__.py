"""Attention: the function, its masks, the multi-head module and the cache."""

from tfbook.attention.additive import AdditiveAttention
from tfbook.attention.additive_scoring import additive_scores, chunked_additive_scores
from tfbook.attention.cache import ContextCache, KVCache, LayerCache
from tfbook.attention.masks import (
    causal_mask,
    combine_masks,
    padding_mask,
    prefix_mask,
    sliding_window_mask,
)
from tfbook.attention.multi_head import MultiHeadAttention
from tfbook.attention.multiplicative import LocationAttention, MultiplicativeAttention
from tfbook.attention.protocols import Attend, Relative, RelativeValues
from tfbook.attention.recording import record_weights
from tfbook.attention.replacing import find_attentions, replace_attend
from tfbook.attention.scaled_dot_product import attention, attention_weights, fused_attention
from tfbook.attention.softmax import masked_softmax

__all__ = [
    "AdditiveAttention",
    "Attend",
    "ContextCache",
    "KVCache",
    "LayerCache",
    "LocationAttention",
    "MultiHeadAttention",
    "MultiplicativeAttention",
    "Relative",
    "RelativeValues",
    "additive_scores",
    "attention",
    "attention_weights",
    "causal_mask",
    "chunked_additive_scores",
    "combine_masks",
    "find_attentions",
    "fused_attention",
    "masked_softmax",
    "padding_mask",
    "prefix_mask",
    "record_weights",
    "replace_attend",
    "sliding_window_mask",
]
