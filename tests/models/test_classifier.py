import pytest
import torch
from parity import FLOATS, close
from tiny import VOCAB, bert, classifier, text_encoder

from tfbook.models import SequenceClassifier

B, N = 3, 7


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_equation(dtype: torch.dtype) -> None:
    """That whole models equal Hugging Face's stands in convert/test_bert.py."""
    model, ids = classifier(dtype), torch.randint(0, VOCAB, (B, N))
    lengths, segments = torch.tensor([7, 4, 1]), torch.randint(0, 3, (B, N))
    hidden = model.encoder(ids, lengths=lengths, segments=segments)
    pooled = torch.tanh(model.encoder.pooler(hidden[:, 0]))
    expected = pooled @ model.output.weight.T + model.output.bias
    close(model(ids, lengths=lengths, segments=segments), expected)


def test_dropout_stands_before_the_output() -> None:
    model = SequenceClassifier(bert(), 5, dropout_p=0.5)
    ids = torch.randint(0, VOCAB, (1, N))
    torch.nn.init.eye_(model.output.weight)
    quiet, noisy = model.eval()(ids), model.train()(ids.expand(64, N))
    kept = noisy != 0
    assert 0.3 < kept.float().mean() < 0.7
    close(noisy[kept], (2 * quiet).expand(64, 5)[kept])


def test_padding_changes_nothing() -> None:
    model, ids = classifier(), torch.randint(0, VOCAB, (1, N))
    close(model(ids, lengths=torch.tensor([3])), model(ids[:, :3]))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"encoder\.pooler=False, but a classifier reads what"):
        SequenceClassifier(text_encoder(), 5)
    with pytest.raises(ValueError, match="n_classes=0 must be at least 1"):
        SequenceClassifier(bert(), 0)
    with pytest.raises(ValueError, match="ids reaches length 20, beyond"):
        SequenceClassifier.forward(classifier(), torch.ones(1, 20).long())
