"""The parts of a block: norms, feed-forward, embeddings, residual connections."""

from tfbook.layers.batch_norm import BatchNorm
from tfbook.layers.blocks import Block
from tfbook.layers.chunked_feed_forward import ChunkedFeedForward
from tfbook.layers.embeddings import Embedding
from tfbook.layers.feed_forward import FeedForward, squared_relu
from tfbook.layers.gated_feed_forward import GatedFeedForward, gated_width
from tfbook.layers.low_rank_feed_forward import LowRankFeedForward
from tfbook.layers.norms import LayerNorm, RMSNorm, layer_norm, rms_norm
from tfbook.layers.parallel_block import ParallelBlock
from tfbook.layers.power_norm import PowerNorm
from tfbook.layers.residuals import BranchNorm, PostNorm, PreNorm, SandwichNorm
from tfbook.layers.scale_norm import ScaleNorm

__all__ = [
    "BatchNorm",
    "Block",
    "BranchNorm",
    "ChunkedFeedForward",
    "Embedding",
    "FeedForward",
    "GatedFeedForward",
    "LayerNorm",
    "LowRankFeedForward",
    "ParallelBlock",
    "PostNorm",
    "PowerNorm",
    "PreNorm",
    "RMSNorm",
    "SandwichNorm",
    "ScaleNorm",
    "gated_width",
    "layer_norm",
    "rms_norm",
    "squared_relu",
]
