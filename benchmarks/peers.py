"""Position schemes and norms of Hugging Face's models, put in the place of ours.

Every function gives the model of :func:`benchmarks.training_step.ours` with one part replaced, so
that a step differs by that part alone. What their models compute once for all layers is computed
once here too. Attention itself stays ours, PyTorch's fused kernel, as in their models by default;
VITS alone has no fused form, and brings its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    PatchTSTConfig,
    T5Config,
    VitsConfig,
    Wav2Vec2BertConfig,
)
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj import modeling_gptj as gptj
from transformers.models.llama import modeling_llama as llama
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.patchtst.modeling_patchtst import PatchTSTBatchNorm
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.vits.modeling_vits import VitsAttention
from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as wav2vec2

from benchmarks.training_step import Sizes, ours
from tfbook.attention import fused_attention
from tfbook.models.positions import MAX_DISTANCE


class AddMarian(nn.Module):
    """Marian's table of sines and cosines, added as Marian does."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.embedding = MarianSinusoidalPositionalEmbedding(s.length, s.d_model)
        self.embedding.weight.data = self.embedding.create_weight()

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add the codes of the first positions."""
        return x + self.embedding(x.shape[:2])


class AddGPT2(nn.Module):
    """GPT-2's table of learned positions, added as GPT-2 does."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        sizes = dict(n_positions=s.length, n_embd=s.d_model, n_head=s.n_heads)
        ends = dict(vocab_size=1, bos_token_id=0, eos_token_id=0)
        self.wpe = GPT2Model(GPT2Config(n_layer=0, **sizes, **ends)).wpe

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add the rows of the given positions."""
        return x + self.wpe(positions[None])


class LlamaRotary:
    """Llama's rotary positions: tables once for all layers, then queries and keys together."""

    def __init__(self, s: Sizes) -> None:
        sizes = dict(hidden_size=s.d_model, num_attention_heads=s.n_heads)
        config = LlamaConfig(max_position_embeddings=s.length, **sizes)
        self.tables = llama.LlamaRotaryEmbedding(config)

    def before_layers(self, decoder: nn.Module, inputs: tuple[Tensor]) -> None:
        """Make the tables: a hook of the decoder."""
        (x,) = inputs
        self.cos, self.sin = self.tables(x, torch.arange(x.shape[1])[None])

    def attend(self, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        """Turn and attend."""
        q, k = llama.apply_rotary_pos_emb(q, k, self.cos, self.sin)
        return fused_attention(q, k, v, **options)


class GPTJRotary:
    """GPT-J's rotary positions, interleaved, from a table that is kept."""

    def __init__(self, s: Sizes) -> None:
        table = gptj.create_sinusoidal_positions(s.length, s.d_model // s.n_heads)
        self.sin, self.cos = table[None].chunk(2, dim=-1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        """Turn and attend."""
        return fused_attention(self.turn(q), self.turn(k), v, **options)

    def turn(self, x: Tensor) -> Tensor:
        """Turn queries or keys; GPT-J has the heads behind the positions."""
        sin, cos = self.sin[:, : x.shape[2]], self.cos[:, : x.shape[2]]
        return gptj.apply_rotary_pos_emb(x.transpose(1, 2), sin, cos).transpose(1, 2)


class BiasT5(nn.Module):
    """T5's bias, from the first layer's attention for all layers."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        sizes = dict(d_model=s.d_model, num_heads=s.n_heads, d_kv=s.d_model // s.n_heads)
        config = T5Config(is_decoder=True, **sizes)
        self.t5 = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
        _drop(self.t5, "q", "k", "v", "o")

    def forward(self, positions_q: Tensor, positions_k: Tensor) -> Tensor:
        """Give the bias of the scores."""
        return self.t5.compute_bias(len(positions_q), len(positions_k))


class AttendWav2Vec2(nn.Module):
    """Attention with the relative positions of one layer of Wav2Vec2-BERT.

    Args:
        s: sizes.
        codes: of the offsets, the same for all layers; None takes the learned vectors of Shaw.
    """

    def __init__(self, s: Sizes, codes: nn.Module | None) -> None:
        super().__init__()
        kind = "relative_key" if codes is None else "relative"
        self.layer = wav2vec2.Wav2Vec2BertSelfAttention(_wav2vec2_config(s, kind))
        _drop(self.layer, "linear_q", "linear_k", "linear_v", "linear_out")
        self.codes = codes

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        """Bias the scores and attend."""
        if self.codes is None:
            q, bias = wav2vec2._apply_relative_key_position_encoding(self.layer, q, k)
        else:
            codes = self.codes(q.transpose(1, 2))
            q, bias = wav2vec2._apply_relative_position_encoding(self.layer, q, k, codes)
        return fused_attention(q, k, v, **{**options, "bias": bias})


class AttentionVits(nn.Module):
    """The whole attention of VITS, with relative vectors for keys and values.

    Beyond the window it adds nothing, where ours shares the outermost vectors.

    Args:
        s: sizes.
        mask: minus infinity at later keys.
    """

    def __init__(self, s: Sizes, mask: Tensor) -> None:
        super().__init__()
        sizes = dict(hidden_size=s.d_model, num_attention_heads=s.n_heads)
        config = VitsConfig(window_size=MAX_DISTANCE, attention_dropout=0.0, **sizes)
        self.vits, self.mask = VitsAttention(config), mask

    def forward(self, x: Tensor, context: None = None, **options: Any) -> Tensor:
        """Attend to what came before."""
        batch, n, _ = x.shape
        return self.vits(x, attention_mask=self.mask[:n, :n].expand(batch, 1, n, n))[0]


def _wav2vec2_config(s: Sizes, kind: str) -> Wav2Vec2BertConfig:
    return Wav2Vec2BertConfig(
        hidden_size=s.d_model,
        num_attention_heads=s.n_heads,
        position_embeddings_type=kind,
        max_source_positions=s.length,
        left_max_position_embeddings=MAX_DISTANCE,
        right_max_position_embeddings=MAX_DISTANCE,
    )


def _drop(module: nn.Module, *names: str) -> None:
    # The projections are ours: these would only be parameters without a use.
    for name in names:
        delattr(module, name)


def marian(s: Sizes) -> nn.Module:
    """Sinusoidal positions."""
    model = ours(s, positions="none")
    model.embedding.positions = AddMarian(s)
    return model


def gpt2(s: Sizes) -> nn.Module:
    """Learned positions."""
    model = ours(s, positions="none")
    model.embedding.positions = AddGPT2(s)
    return model


def llama_rotary(s: Sizes) -> nn.Module:
    """Rotary positions, in halves."""
    model, rotary = ours(s, positions="none"), LlamaRotary(s)
    model.decoder.register_forward_pre_hook(rotary.before_layers)
    return _attending(model, lambda: rotary.attend)


def gptj_rotary(s: Sizes) -> nn.Module:
    """Rotary positions, interleaved."""
    return _attending(ours(s, positions="none"), lambda: GPTJRotary(s).attend)


def bloom(s: Sizes) -> nn.Module:
    """ALiBi."""
    model = ours(s, positions="none")
    # One row for all sequences: theirs, without padding, are equal.
    model.decoder.position_bias = lambda positions_q, positions_k: build_alibi_tensor(
        torch.ones(1, len(positions_k)), s.n_heads, torch.float32
    )
    return model


def t5(s: Sizes) -> nn.Module:
    """A learned number for every bucket of offsets."""
    model = ours(s, positions="none")
    model.decoder.position_bias = BiasT5(s)
    return model


def vits(s: Sizes) -> nn.Module:
    """Relative vectors for keys and values."""
    model, mask = ours(s, positions="none"), torch.full((s.length, s.length), -torch.inf).triu(1)
    for block in model.decoder.blocks:
        block.attention = AttentionVits(s, mask)
    return model


def wav2vec2_shaw(s: Sizes) -> nn.Module:
    """Relative vectors for keys; there are none for values."""
    return _attending(ours(s, positions="none"), lambda: AttendWav2Vec2(s, None))


def wav2vec2_transformer_xl(s: Sizes) -> nn.Module:
    """The relative scores of Transformer-XL."""
    codes = wav2vec2.Wav2Vec2BertRelPositionalEmbedding(_wav2vec2_config(s, "relative"))
    return _attending(ours(s, positions="none"), lambda: AttendWav2Vec2(s, codes))


def _attending(model: nn.Module, make: Callable[[], Callable[..., Tensor]]) -> nn.Module:
    for block in model.decoder.blocks:
        block.attention.attend = make()
    return model


def batch_norm(d_model: int) -> nn.Module:
    """Make PatchTST's batch norm."""
    return PatchTSTBatchNorm(PatchTSTConfig(d_model=d_model))


def replace_norms(
    model: nn.Module, kind: type[nn.Module], make: Callable[[int], nn.Module], d_model: int
) -> nn.Module:
    """Put another library's norm in the place of each of ours.

    Args:
        model: changed in place.
        kind: our norm.
        make: gives theirs for a width.
        d_model: the width.

    Returns:
        The model.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, make(d_model))
    return model
