import dataclasses
from typing import Any

import pytest
from tiny import stack
from torch import nn

from tfbook.models import (
    CausalLMConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    MaskedLMConfig,
    RotaryConfig,
    ScalingConfig,
    SequenceClassifierConfig,
    StackConfig,
    TextEncoderConfig,
    count_parameters,
)
from tfbook.models.config.stack import require_whole_table


def by_hand(vocab: int, d: int, d_ff: int) -> int:
    """Parameters of the 2017 model: six blocks a side, biases everywhere, one shared table."""
    attention = 4 * (d * d + d)
    feed_forward = d * d_ff + d_ff + d_ff * d + d
    norm = 2 * d
    encoder = 6 * (attention + feed_forward + 2 * norm)
    decoder = 6 * (2 * attention + feed_forward + 3 * norm)
    return vocab * d + encoder + decoder


@pytest.mark.parametrize(
    ("make", "d", "d_ff", "millions"),
    [(EncoderDecoderConfig.base, 512, 2048, 63.1), (EncoderDecoderConfig.big, 1024, 4096, 214.2)],
)
def test_parameters_of_the_papers_models(make: Any, d: int, d_ff: int, millions: float) -> None:
    count = count_parameters(EncoderDecoder(make()))
    assert count == by_hand(37_000, d, d_ff)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_papers_base_count_needs_a_larger_vocabulary() -> None:
    """65M, the number of table 3, is reached with 40,800 tokens rather than 37,000."""
    assert by_hand(40_800, 512, 2048) / 1e6 == pytest.approx(65.0, abs=0.1)


def test_the_presets_are_those_of_table_3() -> None:
    base, big = EncoderDecoderConfig.base(100), EncoderDecoderConfig.big(100)
    for config, d, heads, d_ff, dropout_p in [
        (base, 512, 8, 2048, 0.1),
        (big, 1024, 16, 4096, 0.3),
    ]:
        for part in (config.encoder, config.decoder):
            assert part == StackConfig(
                d_model=d, n_heads=heads, d_ff=d_ff, n_layers=6, dropout_p=dropout_p
            )
            assert part.d_head == 64
            assert (part.placement, part.norm, part.activation) == ("post", "layer_norm", "relu")
        assert config.positions == "sinusoidal"
        assert config.share_embeddings
        assert config.tie_output
        assert config.source_vocab_size == config.target_vocab_size == 100


def test_a_tied_table_counts_once() -> None:
    tied = nn.ModuleList([nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)])
    assert count_parameters(tied) == 30
    tied[1].weight = tied[0].weight
    assert count_parameters(tied) == 15
    tied[0].weight.requires_grad_(False)
    assert count_parameters(tied) == 0


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        stack().d_model = 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(d_model=21), "d_model=21 must be divisible by n_heads=2"),
        (dict(n_heads=0), "n_heads=0 must be at least 1"),
        (dict(n_kv_heads=3), "n_heads=2 must be divisible by n_kv_heads=3; use 1 or 2"),
        (dict(d_ff=0), "d_ff=0 must be at least 1"),
        (dict(n_layers=0), "n_layers=0 must be at least 1"),
        (dict(dropout_p=1.0), r"dropout_p=1.0 must be in \[0, 1\)"),
        (dict(norm="batch"), "norm='batch' is unknown; use 'layer_norm', 'rms_norm', "),
        (dict(placement="mid"), "placement='mid' is unknown; use 'pre', 'post', "),
        (dict(activation="tanh"), "activation='tanh' is unknown; use 'relu', 'gelu', "),
        (dict(head_width=0), "head_width=0 must be at least 1"),
        (dict(window=0), "window=0 must be at least 1"),
        (dict(norm_eps=-1e-5), "norm_eps=-1e-05 must be at least 0"),
        (dict(rotary=RotaryConfig(d_rotary=12)), "turns more features than a head of width 11 h"),
    ],
)
def test_bad_stacks(changes: dict[str, Any], message: str) -> None:
    sizes = dict(d_model=22, n_heads=2, d_ff=13, n_layers=2)
    with pytest.raises(ValueError, match=message):
        StackConfig(**{**sizes, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(source_vocab_size=0), "source_vocab_size=0 must be at least 1"),
        (dict(target_vocab_size=0), "target_vocab_size=0 must be at least 1"),
        (dict(max_length=0), "max_length=0 must be at least 1"),
        (dict(positions="gps"), "positions='gps' is unknown; use 'sinusoidal', 'learned'"),
        (dict(decoder=stack(d_model=24)), "encoder.d_model=22 must equal decoder.d_model=24"),
        (dict(share_embeddings=True), "share_embeddings=True needs one vocabulary, but source_v"),
    ],
)
def test_bad_encoder_decoders(changes: dict[str, Any], message: str) -> None:
    good = dict(source_vocab_size=5, target_vocab_size=7, encoder=stack(), decoder=stack())
    with pytest.raises(ValueError, match=message):
        EncoderDecoderConfig(**{**good, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(vocab_size=0), "vocab_size=0 must be at least 1"),
        (dict(max_length=-1), "max_length=-1 must be at least 1"),
        (dict(positions=""), "positions='' is unknown"),
    ],
)
def test_bad_models_of_one_stack(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CausalLMConfig(**{"vocab_size": 5, "decoder": stack(), **changes})
    with pytest.raises(ValueError, match=message):
        TextEncoderConfig(**{"vocab_size": 5, "encoder": stack(), **changes})


@pytest.mark.parametrize("part", ["feed_forward_rank", "feed_forward_chunk"])
def test_bad_feed_forward_sizes(part: str) -> None:
    with pytest.raises(ValueError, match=f"{part}=0 must be at least 1"):
        StackConfig(d_model=4, n_heads=2, d_ff=3, n_layers=1, **{part: 0})


def test_concatenated_positions_need_a_head_of_their_own() -> None:
    stack = StackConfig(d_model=8, n_heads=2, d_ff=3, n_layers=1)
    with pytest.raises(ValueError, match="tie_output=True needs an embedding as wide as the mod"):
        CausalLMConfig(vocab_size=5, decoder=stack, positions="concatenated")
    with pytest.raises(ValueError, match="tie_output=True needs an embedding as wide as the mod"):
        EncoderDecoderConfig(
            source_vocab_size=5,
            target_vocab_size=5,
            encoder=stack,
            decoder=stack,
            positions="concatenated",
        )


def test_what_is_not_said_follows_from_what_is() -> None:
    assert stack().d_head == 11
    assert stack(head_width=7).d_head == 7
    assert stack(d_model=21, head_width=7).d_head == 7  # which need not divide
    assert stack().biases == (True, True, True)
    assert stack(bias=False).biases == (False, False, False)
    assert stack(bias=False, output_bias=True).biases == (False, True, False)
    assert stack(attention_bias=False, feed_forward_bias=False).biases == (False, True, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(kind="ntk"), "kind='ntk' is unknown; use 'linear', 'dynamic', 'yarn' or 'llama3'"),
        (dict(factor=0.5), "factor=0.5 must be at least 1; it is new length over old"),
        (dict(original_length=0), "original_length=0 must be at least 1"),
    ],
)
def test_bad_scalings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScalingConfig(**{"kind": "linear", "factor": 2.0, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(base=1.0), "base=1.0 must be above 1; the usual is 10000"),
        (dict(d_rotary=3), "d_rotary=3 must be even and at least 2: features are turned in pairs"),
        (dict(d_rotary=0), "d_rotary=0 must be even and at least 2"),
    ],
)
def test_bad_rotary_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotaryConfig(**changes)


def test_a_narrow_table_is_no_output_layer() -> None:
    require_whole_table("concatenated", False)
    require_whole_table("learned", True)
    with pytest.raises(ValueError, match="positions='concatenated' leaves part of the width"):
        require_whole_table("concatenated", True)


def test_bad_heads() -> None:
    encoder = TextEncoderConfig(vocab_size=5, encoder=stack(), positions="concatenated")
    with pytest.raises(ValueError, match="tie_output=True needs an embedding as wide as the mod"):
        MaskedLMConfig(encoder=encoder)
    with pytest.raises(ValueError, match="n_segments=-1 must be at least 0; BERT has 2"):
        TextEncoderConfig(vocab_size=5, encoder=stack(), n_segments=-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(n_classes=0), "n_classes=0 must be at least 1"),
        (dict(dropout_p=1.0), r"dropout_p=1.0 must be in \[0, 1\)"),
        (dict(encoder=TextEncoderConfig(vocab_size=5, encoder=stack())), "encoder.pooler=False, "),
    ],
)
def test_bad_classifiers(changes: dict[str, Any], message: str) -> None:
    encoder = TextEncoderConfig(vocab_size=5, encoder=stack(), pooler=True)
    with pytest.raises(ValueError, match=message):
        SequenceClassifierConfig(**{"encoder": encoder, "n_classes": 2, **changes})
