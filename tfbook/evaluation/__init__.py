"""How good predictions are, what a part is worth, and what a model costs."""

from tfbook.evaluation.ablation import (
    ablate_heads,
    ablation_study,
    head_contributions,
    head_importance,
)
from tfbook.evaluation.bandwidth import (
    Machine,
    measure_machine,
    median_seconds,
    product_rate,
    read_rate,
)
from tfbook.evaluation.cost import (
    Cost,
    Workload,
    attention_cost,
    causal_lm_cost,
    convolution_cost,
    embedding_cost,
    encoder_decoder_cost,
    feed_forward_cost,
    gru_cost,
    linear_cost,
    lstm_cost,
    norm_cost,
    stack_cost,
    text_encoder_cost,
)
from tfbook.evaluation.decoding import StepWork, cache_bytes, step_work, weight_bytes
from tfbook.evaluation.error_rates import edit_distance, phoneme_error_rate, word_error_rate
from tfbook.evaluation.length import loss_by_position, windows_of
from tfbook.evaluation.perplexity import TextScore, perplexity, token_losses
from tfbook.evaluation.stems import stem_unseen

__all__ = [
    "Cost",
    "Machine",
    "StepWork",
    "TextScore",
    "Workload",
    "ablate_heads",
    "ablation_study",
    "attention_cost",
    "cache_bytes",
    "causal_lm_cost",
    "convolution_cost",
    "edit_distance",
    "embedding_cost",
    "encoder_decoder_cost",
    "feed_forward_cost",
    "gru_cost",
    "head_contributions",
    "head_importance",
    "linear_cost",
    "loss_by_position",
    "lstm_cost",
    "measure_machine",
    "median_seconds",
    "norm_cost",
    "perplexity",
    "phoneme_error_rate",
    "product_rate",
    "read_rate",
    "stack_cost",
    "stem_unseen",
    "step_work",
    "text_encoder_cost",
    "token_losses",
    "weight_bytes",
    "windows_of",
    "word_error_rate",
]
