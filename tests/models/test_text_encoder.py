import pytest
import torch
from parity import close
from tiny import VOCAB, bert, stack, text_encoder
from transformers import BertConfig, BertModel

from tfbook.models import TextEncoder, TextEncoderConfig

B, N = 3, 7
LENGTHS = [7, 4, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_post_norm_stack_is_berts_encoder(dtype: torch.dtype) -> None:
    """BERT adds a norm behind its embeddings; its encoder is ours."""
    ours = text_encoder(dtype, encoder=stack(activation="gelu"))
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=22,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=13,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=19,
        layer_norm_eps=1e-5,
    )
    theirs = BertModel(config, add_pooling_layer=False).to(dtype).eval()
    for block, layer in zip(ours.encoder.blocks, theirs.encoder.layer, strict=True):
        attention = layer.attention
        for our, their in [
            (block.attention.w_q, attention.self.query),
            (block.attention.w_k, attention.self.key),
            (block.attention.w_v, attention.self.value),
            (block.attention.w_o, attention.output.dense),
            (block.attention_residual.norm, attention.output.LayerNorm),
            (block.feed_forward.w_up, layer.intermediate.dense),
            (block.feed_forward.w_down, layer.output.dense),
            (block.feed_forward_residual.norm, layer.output.LayerNorm),
        ]:
            their.load_state_dict(our.state_dict())
    x, lengths = torch.randn(B, N, 22, dtype=dtype), torch.tensor(LENGTHS)
    visible = torch.arange(N)[None] < lengths[:, None]
    hidden = theirs.encoder(x, attention_mask=visible[:, None, None]).last_hidden_state
    close(ours.encoder(x, mask=visible[:, None, None])[visible], hidden[visible])


def test_padding_changes_nothing() -> None:
    model = text_encoder()
    ids, lengths = torch.randint(0, VOCAB, (B, N)), torch.tensor(LENGTHS)
    together = model(ids, lengths=lengths)
    pooled = model.pool(ids, lengths=lengths)
    for row, n in enumerate(LENGTHS):
        alone = model(ids[row : row + 1, :n])
        close(together[row, :n], alone[0])
        close(pooled[row], alone[0].mean(dim=0))
        close(model.pool(ids[row : row + 1, :n])[0], pooled[row])


def test_every_token_sees_every_token() -> None:
    model = text_encoder()
    ids = torch.randint(0, VOCAB, (1, N))
    before = model(ids)
    ids[0, -1] = (ids[0, -1] + 1) % VOCAB
    assert ((model(ids) - before).abs().sum(-1) > 0).all()


def test_an_empty_text_pools_to_zeros() -> None:
    model = text_encoder()
    pooled = model.pool(torch.zeros(2, N).long(), lengths=torch.tensor([0, 3]))
    assert (pooled[0] == 0).all()
    assert (pooled[1] != 0).any()


def test_bad_sizes() -> None:
    config = TextEncoderConfig(
        vocab_size=5, encoder=stack(d_model=33, n_heads=3), positions="sinusoidal"
    )
    with pytest.raises(ValueError, match="d_model=33 must be even"):
        TextEncoder(config)


def test_the_pooler_reads_the_first_token() -> None:
    model, ids, lengths = bert(), torch.randint(0, VOCAB, (B, N)), torch.tensor(LENGTHS)
    segments = torch.randint(0, 3, (B, N))
    hidden = model(ids, lengths=lengths, segments=segments)
    close(model.first(ids, lengths=lengths, segments=segments), model.pooler(hidden[:, 0]).tanh())
    mean = torch.stack([row[:n].mean(0) for row, n in zip(hidden, LENGTHS, strict=True)])
    close(model.pool(ids, lengths=lengths, segments=segments), mean)
    with pytest.raises(ValueError, match="pooler=False: this model has no layer for the first"):
        text_encoder().first(ids)


@pytest.mark.parametrize("call", ["forward", "pool", "first"])
def test_bad_input(call: str) -> None:
    model = bert()
    run = getattr(TextEncoder, call)
    ids = torch.zeros(B, N).long()
    with pytest.raises(ValueError, match=r"must lie in \[0, vocab_size=31\)"):
        run(model, ids + VOCAB)
    with pytest.raises(ValueError, match="ids reaches length 20, beyond"):
        run(model, torch.zeros(B, 20).long())
    with pytest.raises(ValueError, match=r"lengths has shape \(1,\), but the ids have shape"):
        run(model, ids, lengths=torch.tensor([3]))
    with pytest.raises(ValueError, match=r"segments has shape \(3, 6\) and dtype"):
        run(model, ids, segments=ids[:, 1:])
    with pytest.raises(ValueError, match=r"lengths=\[8, 1, 1\] must lie in \[0, 7\]"):
        run(model, ids, lengths=torch.tensor([8, 1, 1]))
