"""One training step of the same language model in four libraries."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel
from x_transformers import Decoder, TransformerWrapper

from tfbook.models import CausalLM, CausalLMConfig, StackConfig
from tfbook.training import cross_entropy


@dataclass(frozen=True)
class Sizes:
    """Of the model and the batch."""

    vocab: int = 4096
    d_model: int = 256
    n_heads: int = 4
    n_layers: int = 4
    length: int = 256
    batch: int = 8


class TorchModel(nn.Module):
    """``nn.TransformerEncoder`` with embeddings, learned positions and a tied head."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.tokens = nn.Embedding(s.vocab, s.d_model)
        self.positions = nn.Embedding(s.length, s.d_model)
        layer = nn.TransformerEncoderLayer(
            s.d_model,
            s.n_heads,
            4 * s.d_model,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.stack = nn.TransformerEncoder(
            layer, s.n_layers, norm=nn.LayerNorm(s.d_model), enable_nested_tensor=False
        )
        self.head = nn.Linear(s.d_model, s.vocab, bias=False)
        self.head.weight = self.tokens.weight
        mask = nn.Transformer.generate_square_subsequent_mask(s.length)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Give the logits."""
        x = self.tokens(ids) + self.positions.weight
        return self.head(self.stack(x, mask=self.mask, is_causal=True))


def stack(s: Sizes, *, norm: str = "layer_norm") -> StackConfig:
    """The stack of this package's models.

    Args:
        s: sizes.
        norm: a name of ``StackConfig``.

    Returns:
        The configuration.
    """
    return StackConfig(
        d_model=s.d_model,
        n_heads=s.n_heads,
        d_ff=4 * s.d_model,
        n_layers=s.n_layers,
        dropout_p=0.0,
        norm=norm,
        placement="pre",
        activation="gelu",
    )


def ours(
    s: Sizes, *, positions: str = "learned", norm: str = "layer_norm", tie_output: bool = True
) -> CausalLM:
    """This package's model.

    Args:
        s: sizes.
        positions: a name of ``CausalLMConfig``.
        norm: a name of ``StackConfig``.
        tie_output: whether the output layer is the embedding, transposed.

    Returns:
        A new model.
    """
    return CausalLM(
        CausalLMConfig(
            vocab_size=s.vocab,
            decoder=stack(s, norm=norm),
            max_length=s.length,
            positions=positions,
            tie_output=tie_output,
        )
    )


def hugging_face(s: Sizes) -> nn.Module:
    """GPT-2 of transformers, with its fused attention."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=s.vocab,
            n_positions=s.length,
            n_embd=s.d_model,
            n_layer=s.n_layers,
            n_head=s.n_heads,
            activation_function="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            attn_implementation="sdpa",
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def x_transformers(s: Sizes) -> nn.Module:
    """The decoder of x-transformers, with its flash attention; its attention has no biases."""
    return TransformerWrapper(
        num_tokens=s.vocab,
        max_seq_len=s.length,
        tie_embedding=True,
        attn_layers=Decoder(
            dim=s.d_model,
            depth=s.n_layers,
            heads=s.n_heads,
            attn_dim_head=s.d_model // s.n_heads,
            attn_flash=True,
        ),
    )


def plain_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of PyTorch."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


SYSTEMS: dict[str, tuple[Callable[[Sizes], nn.Module], Callable[[Tensor, Tensor], Tensor]]] = {
    "tfbook": (ours, cross_entropy),
    "HF GPT-2": (hugging_face, plain_loss),
    "x-transformers (flash)": (x_transformers, plain_loss),
    "nn.TransformerEncoder": (TorchModel, plain_loss),
}
PRECISIONS = ("float32", "bfloat16 autocast")


def step(name: str, precision: str, sizes: Sizes) -> Callable[[], float]:
    """Give a function that makes one optimizer step and returns the loss, nats.

    Args:
        name: of the system.
        precision: one of :data:`PRECISIONS`.
        sizes: of the model and the batch.

    Returns:
        The function.
    """
    return step_of(*SYSTEMS[name], precision, sizes)


def step_of(
    make: Callable[[Sizes], nn.Module],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    precision: str,
    sizes: Sizes,
) -> Callable[[], float]:
    """Do as :func:`step` with a model that no system names.

    Args:
        make: makes the model.
        loss_function: from logits and targets.
        precision: one of :data:`PRECISIONS`.
        sizes: of the model and the batch.

    Returns:
        The function.
    """
    torch.manual_seed(0)
    model = make(sizes).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(0, sizes.vocab, (sizes.batch, sizes.length + 1))

    def run() -> float:
        optimizer.zero_grad(set_to_none=True)
        with _precision(precision):
            logits = model(ids[:, :-1])
            logits = logits if isinstance(logits, Tensor) else logits.logits
            loss = loss_function(logits, ids[:, 1:])
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def _precision(name: str) -> contextlib.AbstractContextManager[object]:
    if name == "float32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)
