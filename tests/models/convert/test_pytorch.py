import pytest
import torch
from parity import close
from tiny import SOURCE_VOCAB, TARGET_VOCAB, encoder_decoder, stack

from tfbook.attention import causal_mask
from tfbook.models import to_torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_the_torch_model_gives_what_ours_gives(placement: str, dtype: torch.dtype) -> None:
    stacks = dict(
        encoder=stack(placement=placement), decoder=stack(placement=placement, n_layers=3)
    )
    ours = encoder_decoder(dtype, **stacks)
    source = torch.randint(0, SOURCE_VOCAB, (3, 7))
    target = torch.randint(0, TARGET_VOCAB, (3, 5))
    theirs = to_torch(ours).train()  # dropout 0; evaluation may take another kernel
    hidden = theirs(
        ours.source_embedding(source),
        ours.target_embedding(target),
        tgt_mask=~causal_mask(5),
    )
    close(ours(source, target), ours.head(hidden))


def test_what_torch_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"encoder=.* has parts that nn.Transformer lacks"):
        to_torch(encoder_decoder(encoder=stack(norm="rms_norm")))
    with pytest.raises(ValueError, match=r"decoder=.* has parts that nn.Transformer lacks"):
        to_torch(encoder_decoder(decoder=stack(n_kv_heads=1)))
    with pytest.raises(ValueError, match=r"differ, but nn.Transformer has one size for both"):
        to_torch(encoder_decoder(decoder=stack(d_ff=17)))
