"""What layers and models cost, from their sizes alone: nothing is built or run."""

from tfbook.evaluation.cost.layers import (
    attention_cost,
    embedding_cost,
    feed_forward_cost,
    linear_cost,
    norm_cost,
)
from tfbook.evaluation.cost.models import (
    causal_lm_cost,
    encoder_decoder_cost,
    stack_cost,
    text_encoder_cost,
)
from tfbook.evaluation.cost.record import Cost, Workload
from tfbook.evaluation.cost.sequences import convolution_cost, gru_cost, lstm_cost

__all__ = [
    "Cost",
    "Workload",
    "attention_cost",
    "causal_lm_cost",
    "convolution_cost",
    "embedding_cost",
    "encoder_decoder_cost",
    "feed_forward_cost",
    "gru_cost",
    "linear_cost",
    "lstm_cost",
    "norm_cost",
    "stack_cost",
    "text_encoder_cost",
]
