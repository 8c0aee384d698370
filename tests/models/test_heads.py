import pytest
import torch
from torch import Tensor, nn

from tfbook.layers import Embedding
from tfbook.models.heads import build_embedding, build_head, lengths_mask, require_length
from tfbook.positions import LearnedPositions, SinusoidalPositions


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [("sinusoidal", SinusoidalPositions), ("learned", LearnedPositions), ("none", type(None))],
)
def test_the_scheme_of_the_configuration(scheme: str, kind: type[nn.Module]) -> None:
    embedding = build_embedding(11, 6, positions=scheme, max_length=7, scaled=False, dropout_p=0.25)
    assert isinstance(embedding.positions, kind)
    assert (embedding.scale, embedding.dropout_p) == (1.0, 0.25)


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_may_be_the_embedding(tied: bool) -> None:
    embedding = Embedding(11, 6)
    head = build_head(embedding, 6, tied=tied)
    assert head.weight.shape == (11, 6)
    assert head.bias is None
    assert (head.weight is embedding.weight) == tied


def test_the_head_may_have_a_bias() -> None:
    assert build_head(Embedding(11, 6), 6, tied=True, bias=True).bias.shape == (11,)


def test_lengths_become_a_mask() -> None:
    ids = torch.zeros(2, 3, dtype=torch.int64)
    assert lengths_mask("lengths", ids, None) is None
    mask = lengths_mask("lengths", ids, torch.tensor([1, 3]))
    assert mask[:, 0, 0].tolist() == [[True, False, False], [True, True, True]]


def test_a_sequence_fits_the_table() -> None:
    require_length("ids", 7, 7)
    with pytest.raises(
        ValueError, match="source reaches length 8, beyond the model's max_length=7"
    ):
        require_length("source", 8, 7)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([3]), r"n_tokens has shape \(1,\), but the ids have shape \(2, 3\)"),
        (torch.tensor([1, 2, 3]), "give one length per sequence"),
        (torch.tensor([1, 4]), r"\[1, 4\] must lie in \[0, 3\]"),
        (torch.tensor([1.0, 2.0]), "dtype torch.float32, but must be integers"),
    ],
)
def test_bad_lengths(lengths: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lengths_mask("n_tokens", torch.zeros(2, 3, dtype=torch.int64), lengths)
