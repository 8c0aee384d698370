"""What all architectures share: names in errors, dtypes, memory, and models that have no name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from converting import IDS, VOCAB, N, theirs_of
from parity import randomized
from tiny import bert, causal_lm, encoder_decoder, stack, text_encoder
from torch import Tensor
from torch.nn import Identity, Parameter, Sequential
from transformers import (
    GPT2Config,
    GPT2Model,
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralModel,
    PretrainedConfig,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from tfbook.compression import quantize_int8
from tfbook.models import (
    CausalLM,
    CausalLMConfig,
    SentenceEncoder,
    StackConfig,
    from_huggingface,
    from_huggingface_state,
    to_huggingface,
)
from tfbook.models.checkpoints import require_whole


def llama(**changes: Any) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=18, intermediate_size=17, num_hidden_layers=1,
        num_attention_heads=3, max_position_embeddings=N, **{**IDS, **changes},
    )  # fmt: skip
    return theirs_of(LlamaForCausalLM, config, torch.float32)


def test_an_unknown_architecture_is_named() -> None:
    config = T5Config(
        vocab_size=VOCAB, d_model=6, d_ff=5, d_kv=3, num_heads=2, num_layers=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="model_type='t5', which is unknown here; use 'bert', 'gp"):
        from_huggingface(T5ForConditionalGeneration(config))
    with pytest.raises(ValueError, match="config has model_type=None, which is unknown here"):
        from_huggingface(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("given", [None, 5, {"model.norm.weight": torch.ones(2)}])
def test_neither_a_model_nor_a_folder(given: Any) -> None:
    with pytest.raises(ValueError, match="must be a model of transformers, or a folder with confi"):
        from_huggingface(given)


BARE: list[tuple[type[PreTrainedModel], type[PretrainedConfig], str]] = [
    (LlamaModel, LlamaConfig, "LlamaForCausalLM"),
    (MistralModel, MistralConfig, "MistralForCausalLM"),
    (GPTNeoXModel, GPTNeoXConfig, "GPTNeoXForCausalLM"),
    (GPT2Model, GPT2Config, "GPT2LMHeadModel"),
]


@pytest.mark.parametrize(("kind", "config", "instead"), BARE)
def test_a_model_without_its_output_layer(
    kind: type[PreTrainedModel], config: type[PretrainedConfig], instead: str, tmp_path: Path
) -> None:
    """Where the config ties one it is the embedding; elsewhere the message says what to take."""
    sizes: dict[str, Any] = dict(
        vocab_size=VOCAB, hidden_size=24, intermediate_size=17, num_hidden_layers=1,
        num_attention_heads=3, num_key_value_heads=3, max_position_embeddings=N,
    )  # fmt: skip
    tied = theirs_of(kind, config(**sizes, **IDS, tie_word_embeddings=True), torch.float32)
    assert isinstance(from_huggingface(tied), CausalLM)
    theirs = theirs_of(kind, config(**sizes, **IDS, tie_word_embeddings=False), torch.float32)
    message = rf"{kind.__name__} has no output layer \(lm_head.weight is m.*; convert {instead}$"
    with pytest.raises(ValueError, match=message):
        from_huggingface(theirs)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        from_huggingface(tmp_path)
    message = rf"^the checkpoint has no output layer .*; convert {instead}$"
    with pytest.raises(ValueError, match=message):
        from_huggingface_state(
            theirs.config.to_dict() | {"architectures": None}, theirs.state_dict()
        )


Change = tuple[dict[str, Tensor | None], str]
BAD_TENSORS: list[Change] = [
    ({"model.norm.weight": None}, r"missing \['model.norm.weight'\], superfluous nothing"),
    ({"model.extra": torch.ones(2)}, r"missing nothing, superfluous \['model.extra'\]"),
    (
        {"model.norm.weight": None, "model.layers.1.mlp.up_proj.weight": torch.ones(17, 18)},
        r"\['model.norm.weight'\], superfluous \['model.layers.1.mlp.up_proj.weight'\]",
    ),
    (
        {"model.layers.0.mlp.up_proj.weight": torch.ones(18, 17)},
        r"there: model.layers.0.mlp.up_proj.weight has shape \(18, 17\) .*floats of shape \(17, 18",
    ),
    ({"model.norm.weight": torch.ones(18, dtype=torch.int8)}, "has .* dtype torch.int8"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD_TENSORS)
def test_bad_tensors_are_named(change: dict[str, Tensor | None], message: str) -> None:
    theirs = llama()
    tensors = {**theirs.state_dict(), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(ValueError, match=message):
        from_huggingface_state(theirs.config.to_dict(), tensors, origin="there")


def test_an_untied_output_of_a_tied_config() -> None:
    theirs = llama(tie_word_embeddings=True)
    tensors = {**theirs.state_dict(), "lm_head.weight": torch.ones(VOCAB, 18)}
    with pytest.raises(ValueError, match=r"lm_head\.weight is not model\.embed_tokens\.weight"):
        from_huggingface_state(theirs.config.to_dict(), tensors)


def test_the_dtype_is_that_of_the_weights() -> None:
    theirs = llama().to(torch.bfloat16)
    assert {p.dtype for p in from_huggingface(theirs).parameters()} == {torch.bfloat16}
    tensors = {**theirs.state_dict(), "model.norm.weight": torch.ones(18)}
    mixed = from_huggingface_state(theirs.config.to_dict(), tensors)
    assert {p.dtype for p in mixed.parameters()} == {torch.float32}


def test_a_model_that_was_given_shares_no_memory() -> None:
    theirs = llama(tie_word_embeddings=True)
    ours = from_huggingface(theirs)
    before = [p.clone() for p in theirs.parameters()]
    for parameter in ours.parameters():
        parameter.data.zero_()
    assert all(torch.equal(p, q) for p, q in zip(theirs.parameters(), before, strict=True))
    assert ours.head.weight is ours.embedding.weight


def test_tensors_that_were_given_are_kept() -> None:
    theirs = llama()
    tensors = theirs.state_dict()
    ours = from_huggingface_state(theirs.config.to_dict(), tensors)
    assert ours.head.weight.data_ptr() == tensors["lm_head.weight"].data_ptr()


def test_a_model_can_be_trained_after_it_came() -> None:
    ours = from_huggingface(llama(tie_word_embeddings=True))
    ours(torch.randint(VOCAB, (2, N))).sin().sum().backward()
    assert all(p.grad is not None for p in ours.parameters())


@torch.no_grad()
def test_choices_written_otherwise_are_the_same_model(tmp_path: Path) -> None:
    """Defaults of ours and explicit numbers of theirs."""
    decoder = stack(
        placement="pre", norm="rms_norm", bias=False, feed_forward="gated", activation="silu",
        d_model=20, n_heads=2, dropout_p=0.3,
    )  # fmt: skip
    ours = causal_lm(decoder=decoder, positions="rotary_interleaved")
    with pytest.raises(ValueError, match="llama is nearest, but needs other positions='rotary'"):
        to_huggingface(ours)
    ours = causal_lm(decoder=decoder, positions="rotary")
    to_huggingface(ours, tmp_path / "new" / "folder")
    ids = torch.randint(31, (2, N))
    again = from_huggingface(tmp_path / "new" / "folder")
    assert torch.equal(again(ids), ours(ids))
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "new" / "folder")
    assert (theirs(input_ids=ids).logits - ours(ids)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: causal_lm(scaled_embeddings=True), r"gpt2 is nearest, .*scaled_embeddings=False"),
        (lambda: causal_lm(decoder=stack(head_width=5)), "model has parts that no known architec"),
        (lambda: causal_lm(output_bias=True), "but needs other output_bias=False"),
        (
            lambda: causal_lm(decoder=stack(placement="pre", feed_forward_chunk=2)),
            "but needs other .*decoder.feed_forward_chunk=None",
        ),
        (text_encoder, "bert is nearest, but needs other "),
    ],
)
def test_models_that_they_do_not_have(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_huggingface(make())


@pytest.mark.parametrize(
    "make", [encoder_decoder, lambda: SentenceEncoder(text_encoder())], ids=["two stacks", "head"]
)
def test_kinds_that_they_do_not_have(make: Any) -> None:
    with pytest.raises(ValueError, match="cannot be written; use a CausalLM, TextEncoder, Masked"):
        to_huggingface(make())


def small(*, tied: bool) -> CausalLM:
    """A GPT-2."""
    return causal_lm(decoder=stack(placement="pre", activation="gelu"), tie_output=tied)


QUANTIZED = [lambda: small(tied=True), lambda: small(tied=False), lambda: bert(encoder=GELU)]
GELU = stack(activation="gelu")


@pytest.mark.parametrize("make", QUANTIZED, ids=["tied", "untied", "bert"])
def test_weights_of_eight_bits_are_not_written(make: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weights of eight bits, .*load it with weights='float32"):
        to_huggingface(quantize_int8(make()), tmp_path)
    with pytest.raises(ValueError, match=r"^model has weights of eight bits"):
        require_whole(quantize_int8(make()))
    assert not list(tmp_path.iterdir())


def tie(model: CausalLM) -> None:
    model.head.weight = model.embedding.weight


def cut(model: CausalLM) -> None:
    model.head.weight = Parameter(model.embedding.weight.detach().clone())


def take_out(model: CausalLM) -> None:
    model.head = Identity()


def wrap(model: CausalLM) -> None:
    """As adapters do."""
    attention = model.decoder.blocks[1].attention
    attention.w_q = Sequential(attention.w_q)


Q = "decoder.blocks.1.attention.w_q"
CHANGED = [
    (tie, False, r"missing \['head.weight'\], superfluous nothing"),
    (cut, True, r"missing nothing, superfluous \['head.weight'\]"),
    (take_out, False, r"missing \['head.weight'\], superfluous nothing"),
    (wrap, True, rf"missing \['{Q}.bias', '{Q}.weight'\], superfluous \['{Q}.0.bias', '{Q}.0.we"),
]


@pytest.mark.parametrize(("change", "tied", "message"), CHANGED)
def test_no_weight_is_lost(change: Any, tied: bool, message: str, tmp_path: Path) -> None:
    model = small(tied=tied)
    assert to_huggingface(model)[0]["model_type"] == "gpt2"
    change(model)
    for write in (require_whole, lambda model: to_huggingface(model, tmp_path)):
        with pytest.raises(ValueError, match=f"^model does not hold the tensors that .*{message}"):
            write(model)
    assert not list(tmp_path.iterdir())


def test_what_was_in_a_folder_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = from_huggingface(llama())
    to_huggingface(ours, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space left on device"):
        to_huggingface(ours, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_large_model_is_not_drawn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its own tensors are ever in memory: nothing is initialised that they replace."""
    config = CausalLMConfig(
        vocab_size=3, decoder=StackConfig(d_model=4, n_heads=2, d_ff=5, n_layers=1, placement="pre")
    )
    ours = randomized(CausalLM(config))
    settings, tensors = to_huggingface(ours)
    state = torch.random.get_rng_state()
    # To draw where there is no memory takes PyTorch a second, the first time.
    monkeypatch.setattr("torch.nn.init.normal_", None)
    from_huggingface_state(settings, tensors)
    assert torch.equal(torch.random.get_rng_state(), state)
