"""What each position scheme and each norm adds to a training step, beside other libraries'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from x_transformers.x_transformers import ScaleNorm as XTransformersScaleNorm

from benchmarks import peers
from benchmarks.training_step import PRECISIONS, Sizes, ours, stack, step_of
from tfbook.layers import BatchNorm, LayerNorm, RMSNorm, ScaleNorm
from tfbook.models import TextEncoder, TextEncoderConfig
from tfbook.models.positions import MAX_DISTANCE
from tfbook.positions import ShawRelative
from tfbook.training import cross_entropy

Make = Callable[[Sizes], nn.Module]


@dataclass(frozen=True)
class Choice:
    """One row of a table.

    Args:
        ours: makes the model with our part.
        plain: name of the row that it is compared with.
        theirs: makes the model with another library's part; None where there is none.
        peer: whose part that is.
    """

    ours: Make
    plain: str
    theirs: Make | None = None
    peer: str = "–"


class Bidirectional(nn.Module):
    """The language model with every token seeing every token: a causal one refuses some norms.

    Args:
        s: sizes.
        norm: a name of ``StackConfig``.
    """

    def __init__(self, s: Sizes, norm: str) -> None:
        super().__init__()
        encoder = stack(s, norm=norm)
        self.encoder = TextEncoder(
            TextEncoderConfig(
                vocab_size=s.vocab, encoder=encoder, max_length=s.length, positions="none"
            )
        )
        self.head = nn.Linear(s.d_model, s.vocab, bias=False)
        self.head.weight = self.encoder.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Give the logits."""
        return self.head(self.encoder(ids))


def shaw_keys(s: Sizes) -> nn.Module:
    """Our relative vectors for keys alone, which no configuration names."""
    model = ours(s, positions="none")
    for block in model.decoder.blocks:
        d_head = s.d_model // s.n_heads
        block.attention.relative = ShawRelative(d_head, max_distance=MAX_DISTANCE, values=False)
    return model


def _scheme(positions: str, theirs: Make | None = None, peer: str = "–") -> Choice:
    return Choice(partial(ours, positions=positions), "none", theirs, peer)


def _norm(
    model: Callable[..., nn.Module],
    norm: str,
    plain: str,
    kind: type[nn.Module],
    make: Callable[[int], nn.Module],
    peer: str,
) -> Choice:
    def theirs(s: Sizes) -> nn.Module:
        return peers.replace_norms(model(s, norm=norm), kind, make, s.d_model)

    return Choice(partial(model, norm=norm), plain, theirs, peer)


POSITIONS: dict[str, Choice] = {
    "none": _scheme("none"),
    "sinusoidal": _scheme("sinusoidal", peers.marian, "Marian"),
    "learned": _scheme("learned", peers.gpt2, "GPT-2"),
    "learned_frequencies": _scheme("learned_frequencies"),
    "rotary": _scheme("rotary", peers.llama_rotary, "Llama"),
    "rotary_interleaved": _scheme("rotary_interleaved", peers.gptj_rotary, "GPT-J"),
    "alibi": _scheme("alibi", peers.bloom, "Bloom"),
    "t5": _scheme("t5", peers.t5, "T5"),
    "sandwich": _scheme("sandwich"),
    "shaw": _scheme("shaw", peers.vits, "VITS"),
    "shaw, keys only": Choice(shaw_keys, "none", peers.wav2vec2_shaw, "Wav2Vec2-BERT"),
    "transformer_xl": _scheme("transformer_xl", peers.wav2vec2_transformer_xl, "Wav2Vec2-BERT"),
    "none, untied": Choice(partial(ours, positions="none", tie_output=False), "none, untied"),
    "concatenated, untied": Choice(
        partial(ours, positions="concatenated", tie_output=False), "none, untied"
    ),
}
_causal = partial(ours, positions="none")
NORMS: dict[str, Choice] = {
    "layer_norm": _norm(
        _causal, "layer_norm", "layer_norm", LayerNorm, nn.LayerNorm, "nn.LayerNorm"
    ),
    "rms_norm": _norm(_causal, "rms_norm", "layer_norm", RMSNorm, LlamaRMSNorm, "Llama"),
    "scale_norm": _norm(
        _causal, "scale_norm", "layer_norm", ScaleNorm, XTransformersScaleNorm, "x-transformers"
    ),
    "layer_norm, bidirectional": Choice(
        partial(Bidirectional, norm="layer_norm"), "layer_norm, bidirectional"
    ),
    "batch_norm, bidirectional": _norm(
        Bidirectional,
        "batch_norm",
        "layer_norm, bidirectional",
        BatchNorm,
        peers.batch_norm,
        "PatchTST",
    ),
    "power_norm, bidirectional": Choice(
        partial(Bidirectional, norm="power_norm"), "layer_norm, bidirectional"
    ),
}


def peer_case(name: str) -> str:
    """Name the case that measures another library's part in the place of ours.

    Args:
        name: of the row.

    Returns:
        The name.
    """
    return f"{name}, theirs"


def cases(choices: Mapping[str, Choice], sizes: Sizes) -> dict[str, Callable[[], float]]:
    """Give the training step of every row, ours and theirs, in float32.

    Args:
        choices: the rows by name.
        sizes: of the models and the batch.

    Returns:
        The steps by name.
    """
    makes: dict[str, Make] = {}
    for name, choice in choices.items():
        makes[name] = choice.ours
        if choice.theirs is not None:
            makes[peer_case(name)] = choice.theirs
    return {
        name: step_of(make, cross_entropy, PRECISIONS[0], sizes) for name, make in makes.items()
    }


def n_cases(choices: Mapping[str, Choice]) -> int:
    """How many :func:`cases` gives."""
    return len(choices) + sum(choice.theirs is not None for choice in choices.values())
