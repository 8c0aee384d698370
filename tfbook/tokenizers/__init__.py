"""Text to token ids and back."""

from tfbook.tokenizers.batching import Batch
from tfbook.tokenizers.bert_text import BertText
from tfbook.tokenizers.bpe import BPETokenizer
from tfbook.tokenizers.bpe_training import PairCounts
from tfbook.tokenizers.byte_level import GPT2_PATTERN, SMOLLM_PATTERN, byte_characters
from tfbook.tokenizers.characters import CharacterTokenizer
from tfbook.tokenizers.charsmap import Charsmap
from tfbook.tokenizers.chat import render_chat
from tfbook.tokenizers.encoding import Encoding, Tokenizer
from tfbook.tokenizers.files import load_tokenizer
from tfbook.tokenizers.gpt2_files import gpt2_tokenizer, read_tiktoken, read_vocab_and_merges
from tfbook.tokenizers.pairs import PairEncoding
from tfbook.tokenizers.rust import RustTokenizer
from tfbook.tokenizers.special_tokens import AddedToken
from tfbook.tokenizers.unigram import UnigramTokenizer
from tfbook.tokenizers.unigram_text import NFKC, UnigramText
from tfbook.tokenizers.unigram_training import likelihood_scores, sparse_scores, train_unigram
from tfbook.tokenizers.wordpiece import WordPieceTokenizer
from tfbook.tokenizers.wordpiece_training import (
    frequency_score,
    likelihood_score,
    train_wordpiece,
)

__all__ = [
    "GPT2_PATTERN",
    "NFKC",
    "SMOLLM_PATTERN",
    "AddedToken",
    "BPETokenizer",
    "Batch",
    "BertText",
    "CharacterTokenizer",
    "Charsmap",
    "Encoding",
    "PairCounts",
    "PairEncoding",
    "RustTokenizer",
    "Tokenizer",
    "UnigramText",
    "UnigramTokenizer",
    "WordPieceTokenizer",
    "byte_characters",
    "frequency_score",
    "gpt2_tokenizer",
    "likelihood_score",
    "likelihood_scores",
    "load_tokenizer",
    "read_tiktoken",
    "read_vocab_and_merges",
    "render_chat",
    "sparse_scores",
    "train_unigram",
    "train_wordpiece",
]
