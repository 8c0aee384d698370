"""Decoding: from a model's logits to a sequence."""

from tfbook.generation.beam_group import Hypotheses
from tfbook.generation.constraints import (
    BannedSequences,
    BannedTokens,
    ForcedTokens,
    MinimumLength,
    NoRepeatNGram,
)
from tfbook.generation.cutoffs import MinP, Temperature, TopK, TopP, Typical
from tfbook.generation.decoder_beams import generate_beams
from tfbook.generation.drafts import PromptLookup
from tfbook.generation.generate import Generation, generate
from tfbook.generation.penalties import FrequencyPenalty, RepetitionPenalty
from tfbook.generation.protocols import Decoder, LanguageModel, Processor
from tfbook.generation.sampling import Sampling
from tfbook.generation.scoring import Scores, score
from tfbook.generation.search import beam_search, greedy
from tfbook.generation.speculative import Speculation, speculate
from tfbook.generation.streaming import Step, stream
from tfbook.generation.text_pieces import TextPieces

__all__ = [
    "BannedSequences",
    "BannedTokens",
    "Decoder",
    "ForcedTokens",
    "FrequencyPenalty",
    "Generation",
    "Hypotheses",
    "LanguageModel",
    "MinP",
    "MinimumLength",
    "NoRepeatNGram",
    "Processor",
    "PromptLookup",
    "RepetitionPenalty",
    "Sampling",
    "Scores",
    "Speculation",
    "Step",
    "Temperature",
    "TextPieces",
    "TopK",
    "TopP",
    "Typical",
    "beam_search",
    "generate",
    "generate_beams",
    "greedy",
    "score",
    "speculate",
    "stream",
]
