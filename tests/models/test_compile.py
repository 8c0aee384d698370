"""What people compile is one graph, without a break, and computes the same."""

import pytest
import torch
from parity import close, randomized
from tiny import (
    SOURCE_VOCAB,
    TARGET_VOCAB,
    VOCAB,
    causal_lm,
    classifier,
    encoder_decoder,
    masked_lm,
    stack,
    text_encoder,
)

from tfbook.attention import MultiHeadAttention, padding_mask
from tfbook.models import SentenceEncoder, build_decoder, build_encoder
from tfbook.training import cross_entropy


@pytest.mark.slow
@pytest.mark.unchecked_shapes
def test_everything_compiles_to_one_graph() -> None:
    x, context = torch.randn(2, 5, 22), torch.randn(2, 7, 22)
    lengths = torch.tensor([4, 7])
    mask = padding_mask(lengths, 7)
    ids = torch.randint(0, VOCAB, (2, 5))
    source = torch.randint(0, SOURCE_VOCAB, (2, 7))
    target = torch.randint(0, TARGET_VOCAB, (2, 5))
    mha = randomized(MultiHeadAttention(22, 2, n_kv_heads=1))
    decoder = randomized(build_decoder(stack(), cross_attention=True))
    encoder = randomized(build_encoder(stack(placement="pre")))
    for module, arguments, options in [
        (mha, (x,), {"causal": True}),
        (mha, (x, context), {"mask": mask}),
        (decoder.blocks[0], (x, context), {"causal": True, "context_mask": mask}),
        (encoder, (context,), {"mask": mask}),
        (decoder, (x, context), {"context_mask": mask}),
        (causal_lm(), (ids,), {}),
        (text_encoder(), (ids,), {"lengths": torch.tensor([2, 5])}),
        (masked_lm(), (ids,), {"lengths": torch.tensor([2, 5]), "segments": ids % 3}),
        (classifier(), (ids,), {"segments": ids % 3}),
        (SentenceEncoder(text_encoder()), (ids,), {"lengths": torch.tensor([2, 5])}),
        (encoder_decoder(), (source, target), {"source_lengths": lengths}),
        (cross_entropy, (torch.randn(2, 5, VOCAB), ids), {"label_smoothing": 0.1}),
    ]:
        torch.compiler.reset()
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        close(compiled(*arguments, **options), module(*arguments, **options))
