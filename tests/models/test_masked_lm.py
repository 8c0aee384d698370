import pytest
import torch
from parity import FLOATS, close
from tiny import VOCAB, bert, masked_lm, text_encoder
from torch import nn

from tfbook.models import MaskedLM, initialize_normal

B, N = 3, 7


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tied", [True, False])
def test_the_equation(tied: bool, dtype: torch.dtype) -> None:
    """That whole models equal Hugging Face's stands in convert/test_bert.py."""
    model, ids = masked_lm(dtype, tie_output=tied), torch.randint(0, VOCAB, (B, N))
    lengths, segments = torch.tensor([7, 4, 1]), torch.randint(0, 3, (B, N))
    hidden = model.encoder(ids, lengths=lengths, segments=segments)
    inner = model.norm(model.transform(hidden).relu())
    table = model.encoder.embedding.weight if tied else model.head.weight
    close(model(ids, lengths=lengths, segments=segments), inner @ table.T + model.head.bias)
    assert (model.head.weight is model.encoder.embedding.weight) == tied


def test_a_pretrained_encoder_stays_as_it_is() -> None:
    encoder = bert()
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    model = MaskedLM(encoder)
    assert model.encoder is encoder
    assert all(torch.equal(p, before[name]) for name, p in encoder.named_parameters())
    assert model.transform.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert (model.head.bias == 0).all()
    # Otherwise the whole model starts as a plain one does.
    initialize_normal(model)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_every_token_is_guessed_from_both_sides() -> None:
    model, ids = masked_lm(), torch.randint(0, VOCAB, (1, N))
    before = model(ids)
    ids[0, -1] = (ids[0, -1] + 1) % VOCAB
    assert ((model(ids) - before).abs().sum(-1) > 0).all()


def test_gradients_reach_everything_but_the_pooler() -> None:
    model = masked_lm().train()
    model(torch.randint(0, VOCAB, (B, N))).sin().sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {"encoder.pooler.weight", "encoder.pooler.bias"}


def test_bad_input() -> None:
    model = masked_lm()
    with pytest.raises(ValueError, match=r"must lie in \[0, vocab_size=31\)"):
        MaskedLM.forward(model, torch.full((1, 2), VOCAB))
    with pytest.raises(ValueError, match="tie_output=True needs an embedding as wide as the mod"):
        MaskedLM(text_encoder(positions="concatenated"))
    assert isinstance(MaskedLM(text_encoder(positions="concatenated"), tie_output=False), nn.Module)
