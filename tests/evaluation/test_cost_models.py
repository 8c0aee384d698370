"""Costs of whole models: against the models as PyTorch counts them, and published sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from measuring import flops, parameters, saved_bytes
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from tfbook.attention import MultiHeadAttention
from tfbook.evaluation import (
    Cost,
    Workload,
    attention_cost,
    causal_lm_cost,
    embedding_cost,
    encoder_decoder_cost,
    feed_forward_cost,
    linear_cost,
    norm_cost,
    stack_cost,
    text_encoder_cost,
)
from tfbook.layers import Block, GatedFeedForward, PreNorm, RMSNorm
from tfbook.models import (
    CausalLM,
    CausalLMConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    StackConfig,
    TextEncoder,
    TextEncoderConfig,
)

BATCH, N, N_CONTEXT = 2, 7, 11
WORK = Workload(n=N, batch=BATCH)


@pytest.fixture(autouse=True)
def default_device() -> None:
    """Stay on the CPU, for which the saved bytes are stated."""


def stack(**changes: Any) -> StackConfig:
    return StackConfig(**{**dict(d_model=30, n_heads=6, d_ff=41, n_layers=3), **changes})


def translation(**changes: Any) -> EncoderDecoderConfig:
    sizes = dict(source_vocab_size=29, target_vocab_size=23, encoder=stack(n_layers=2),
                 decoder=stack(), max_length=19)  # fmt: skip
    return EncoderDecoderConfig(**{**sizes, **changes})


def language(positions: str = "learned", **changes: Any) -> CausalLMConfig:
    changes = dict(placement="pre", activation="gelu") | changes
    return CausalLMConfig(
        vocab_size=31, decoder=stack(**changes), max_length=19, positions=positions
    )


def text(**changes: Any) -> TextEncoderConfig:
    return TextEncoderConfig(vocab_size=31, encoder=stack(**changes), max_length=19)


PRE = dict(placement="pre", norm="rms_norm", n_kv_heads=2, bias=False, activation="gelu")
GPT2 = CausalLMConfig(
    vocab_size=50257,
    max_length=1024,
    decoder=StackConfig(
        d_model=768, n_heads=12, d_ff=3072, n_layers=12, placement="pre", activation="gelu"
    ),
)
BERT = TextEncoderConfig(
    vocab_size=30522,
    encoder=StackConfig(d_model=768, n_heads=12, d_ff=3072, n_layers=12, activation="gelu"),
)
SMALL = {
    "translation": translation(),
    "translation, nothing shared": translation(tie_output=False, positions="learned"),
    "translation, pre-norm": translation(encoder=stack(**PRE), decoder=stack(**PRE)),
    "translation, one table": translation(target_vocab_size=29, share_embeddings=True),
    "translation, no dropout": translation(decoder=stack(dropout_p=0.0), positions="none"),
    "language": language(),
    "language, post-norm": language("sinusoidal", placement="post", activation="relu"),
    "language, grouped": language(n_kv_heads=3, dropout_p=0.0),
    "language, gated": language(feed_forward="gated", activation="silu"),
    "language, multi-query": language("none", n_kv_heads=1, norm="rms_norm", bias=False),
    "language, wide heads": language(head_width=7, n_kv_heads=2, bias=False),
    "language, some biases": language(bias=False, attention_bias=True, output_bias=True),
    "language, biases of the feed-forward layers": language(bias=False, feed_forward_bias=True),
    "text": text(),
    "text, pre-norm": text(**PRE),
    "text, one layer": text(n_layers=1, activation="gelu", dropout_p=0.0),
}
LARGE = {
    "base": EncoderDecoderConfig.base(),
    "big": EncoderDecoderConfig.big(),
    "GPT-2 small": GPT2,
    "BERT base": BERT,
}
Config = EncoderDecoderConfig | CausalLMConfig | TextEncoderConfig


def costed(config: Config, work: Workload) -> Cost:
    if isinstance(config, EncoderDecoderConfig):
        return encoder_decoder_cost(replace(work, n_context=N_CONTEXT), config)
    if isinstance(config, CausalLMConfig):
        return causal_lm_cost(work, config)
    return text_encoder_cost(work, config)


def built(config: Config, device: str | None = None) -> tuple[nn.Module, Callable[[], Tensor]]:
    """A model in training, and a call of it."""
    made = {
        EncoderDecoderConfig: EncoderDecoder,
        CausalLMConfig: CausalLM,
        TextEncoderConfig: TextEncoder,
    }[type(config)]
    with torch.device(device or torch.get_default_device()):
        model = made(config).train()
        lengths = (N_CONTEXT, N) if made is EncoderDecoder else (N,)
        ids = [torch.zeros(BATCH, n, dtype=torch.long) for n in lengths]
    return model, lambda: model(*ids)


@pytest.mark.parametrize("name", SMALL)
def test_small_models(name: str) -> None:
    config = SMALL[name]
    model, run = built(config)
    cost = costed(config, replace(WORK, fused=False))
    assert cost.parameters == parameters(model)
    assert (cost.flops, cost.training_flops) == flops(run)
    for fused in (True, False):
        kept = saved_bytes(run, model, fused=fused)
        assert costed(config, replace(WORK, fused=fused)).saved_bytes == kept
    model.double()
    kept = saved_bytes(run, model)
    assert costed(config, replace(WORK, dtype=torch.float64)).saved_bytes == kept


@pytest.mark.parametrize("name", LARGE)
def test_large_models_without_their_numbers(name: str) -> None:
    config = LARGE[name]
    model, run = built(config, "meta")
    cost = costed(config, replace(WORK, fused=False))
    assert cost.parameters == parameters(model)
    assert (cost.flops, cost.training_flops) == flops(run)
    assert cost.saved_bytes == saved_bytes(run, model, fused=False)


def test_the_base_model_run_for_real() -> None:
    config = LARGE["base"]
    model, _ = built(config, "meta")
    model.to_empty(device="cpu")  # its numbers do not matter
    ids = [torch.zeros(BATCH, n, dtype=torch.long, device="cpu") for n in (N_CONTEXT, N)]
    kept = saved_bytes(lambda: model(*ids), model)
    assert costed(config, WORK).saved_bytes == kept


def published(model: type, config: object, **options: object) -> nn.Module:
    with torch.device("meta"):
        return model(config, **options).train()  # type: ignore[call-arg]


def operations(model: nn.Module, n: int) -> int:
    ids = torch.zeros(1, n, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(ids)
    return counter.get_total_flops()


def test_gpt2_small() -> None:
    theirs = published(GPT2LMHeadModel, GPT2Config(attn_implementation="eager"))
    cost = causal_lm_cost(Workload(n=128), GPT2)
    assert cost.parameters == parameters(theirs) == 124_439_808
    assert cost.flops == pytest.approx(operations(theirs, 128), rel=0.01)


def test_bert_base() -> None:
    at = Workload(n=128)
    theirs = published(BertModel, BertConfig(attn_implementation="eager"), add_pooling_layer=False)
    segments = embedding_cost(at, vocab_size=2, d_model=768) + norm_cost(at, d_model=768)
    cost = text_encoder_cost(at, BERT) + segments
    assert cost.parameters == parameters(theirs)
    assert cost.flops == pytest.approx(operations(theirs, 128), rel=0.01)


def llama(work: Workload, *, d_model: int, d_ff: int, n_heads: int) -> Cost:
    """One block: what rotary embeddings keep is not in it."""
    return (
        attention_cost(work, d_model=d_model, n_heads=n_heads, bias=False, causal=True)
        + feed_forward_cost(
            work, d_model=d_model, d_ff=d_ff, activation="silu", gated=True, bias=False
        )
        + 2 * norm_cost(work, d_model=d_model, norm="rms_norm")
    )


def test_llama_2_7b() -> None:
    n, d = 128, 4096
    at = Workload(n=n, dtype=torch.bfloat16)
    cost = (
        embedding_cost(at, vocab_size=32000, d_model=d)
        + 32 * llama(at, d_model=d, d_ff=11008, n_heads=32)
        + norm_cost(at, d_model=d, norm="rms_norm")
        + linear_cost(at, d_in=d, d_out=32000, bias=False)
    )
    theirs = published(LlamaForCausalLM, LlamaConfig(attn_implementation="eager"))
    assert cost.parameters == parameters(theirs) == 6_738_415_616
    assert cost.flops == pytest.approx(operations(theirs, n), rel=0.01)
    # Half a megabyte a token: 2 x 32 layers x 4096 numbers x 2 bytes.
    assert cost.cache_bytes == n * 2**19


@pytest.mark.parametrize("fused", [True, False])
def test_a_block_of_llama(fused: bool) -> None:
    block = Block(
        attention=MultiHeadAttention(30, 6, bias=False),
        attention_residual=PreNorm(RMSNorm(30)),
        feed_forward=GatedFeedForward(30, 41, bias=False),
        feed_forward_residual=PreNorm(RMSNorm(30)),
    )
    x = torch.randn(BATCH, N, 30, requires_grad=True)

    def run() -> Tensor:
        return block(x, causal=True)

    cost = llama(replace(WORK, fused=fused), d_model=30, d_ff=41, n_heads=6)
    scores = 2 * BATCH * N * N * 30  # computed again by the fused kernel's backward pass
    assert cost.parameters == parameters(block)
    assert (cost.flops, cost.training_flops - fused * scores) == flops(run)
    assert cost.saved_bytes == saved_bytes(run, block, fused=fused)


def test_the_cache_is_that_of_the_models() -> None:
    config = language(n_kv_heads=3)
    assert costed(config, WORK).cache_bytes == CausalLM(config).new_cache(BATCH, N).n_bytes
    both = translation(decoder=stack(n_kv_heads=2))
    # Besides, 3 layers keep the keys and values of 2 heads of 5 features for 11 source tokens.
    context = 3 * 2 * BATCH * 2 * 5 * N_CONTEXT * 4
    own = EncoderDecoder(both).new_cache(BATCH, N).n_bytes
    assert costed(both, WORK).cache_bytes == own + context
    assert costed(text(), WORK).cache_bytes == 0


def test_steps_and_paths_by_hand() -> None:
    # Three blocks of two sublayers, and the head.
    assert costed(language(), WORK).sequential_steps == 7
    assert costed(text(), WORK).sequential_steps == 6
    # Two blocks of two; then three of three, whose first sublayer need not wait; the head.
    cost = costed(translation(), WORK)
    assert (cost.sequential_steps, cost.path_length) == (13, 1)
    longer = costed(translation(), replace(WORK, n=19))
    assert (longer.sequential_steps, longer.path_length) == (13, 1)


def test_fused_attention_saves_no_square_of_the_length() -> None:
    for fused, growth in ((True, 2.0), (False, 4.0)):
        sizes = [
            stack_cost(Workload(n=n, fused=fused), stack(), causal=True).saved_bytes
            for n in (2**14, 2**15)
        ]
        assert sizes[1] / sizes[0] == pytest.approx(growth, rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: causal_lm_cost(replace(WORK, n=20), language()), "work.n=20 is beyond.*19"),
        (lambda: text_encoder_cost(replace(WORK, n_context=3), text()), "work.n_context=3 must"),
        (lambda: encoder_decoder_cost(WORK, translation()), "work.n_context=None must be"),
        (lambda: encoder_decoder_cost(replace(WORK, n_context=20), translation()),
         "work.n_context=20 is beyond the model's max_length=19"),
        (lambda: stack_cost(WORK, stack(placement="parallel"), causal=True),
         "placement='parallel' is not counted"),
        (lambda: stack_cost(WORK, stack(feed_forward="low_rank"), causal=True),
         "feed_forward='low_rank' is not counted"),
        (lambda: stack_cost(WORK, stack(feed_forward_chunk=2), causal=True),
         "feed_forward_chunk=2 is not counted"),
        (lambda: stack_cost(WORK, stack(share_feed_forward=True), causal=True),
         "share_feed_forward=True is not counted"),
        (lambda: stack_cost(WORK, stack(window=3), causal=True), "window=3 is not counted"),
        (lambda: stack_cost(WORK, stack(output_bias=False), causal=True),
         "output_bias=False is not counted"),
        (lambda: text_encoder_cost(WORK, replace(text(), n_segments=2)), "n_segments=2 is not"),
        (lambda: text_encoder_cost(WORK, replace(text(), embedding_norm=True)),
         "embedding_norm=True is not counted"),
        (lambda: text_encoder_cost(WORK, replace(text(), pooler=True)), "pooler=True is not"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
