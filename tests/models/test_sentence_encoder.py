import pytest
import torch
from parity import FLOATS, close
from tiny import VOCAB, bert, text_encoder

from tfbook.models import SentenceEncoder

B, N = 3, 7
LENGTHS = [7, 4, 1]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_mean_over_real_tokens_scaled_to_one(dtype: torch.dtype) -> None:
    """That MiniLM's embeddings equal Hugging Face's stands in convert/test_bert.py."""
    encoder = bert(dtype)
    model, ids = SentenceEncoder(encoder), torch.randint(0, VOCAB, (B, N))
    segments = torch.randint(0, 3, (B, N))
    got = model(ids, lengths=torch.tensor(LENGTHS), segments=segments)
    for row, n in enumerate(LENGTHS):
        alone = encoder(ids[row : row + 1, :n], segments=segments[row : row + 1, :n])
        mean = alone[0].mean(0)
        close(got[row], mean / mean.square().sum().sqrt())
        close(model(ids[row : row + 1, :n], segments=segments[row : row + 1, :n])[0], got[row])


def test_an_empty_text_gives_zeros() -> None:
    vectors = SentenceEncoder(text_encoder())(torch.ones(2, 3).long(), lengths=torch.tensor([0, 3]))
    assert (vectors[0] == 0).all()
    assert vectors[1].norm().item() == pytest.approx(1.0)


def test_bad_input() -> None:
    model = SentenceEncoder(text_encoder())
    with pytest.raises(ValueError, match="ids reaches length 20, beyond"):
        SentenceEncoder.forward(model, torch.ones(1, 20).long())
