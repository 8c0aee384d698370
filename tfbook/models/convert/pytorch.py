"""Weights from this package's models to PyTorch's own Transformer."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from tfbook.checks import require
from tfbook.models.encoder_decoder import EncoderDecoder


def to_torch(model: EncoderDecoder) -> nn.Transformer:
    """Give PyTorch's own Transformer with the weights of a model's two stacks.

    ``nn.Transformer`` has no embeddings and no output layer: it maps embedded source and
    target to what our decoder gives before the output layer.

    Args:
        model: with layer norms, biases, and as many key heads as query heads.

    Returns:
        The module, ``batch_first``, in evaluation mode.

    Raises:
        ValueError: the model has parts that ``nn.Transformer`` does not have.

    Example:
        >>> from tfbook.models import EncoderDecoderConfig, StackConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=1)
        >>> model = EncoderDecoder(EncoderDecoderConfig(
        ...     source_vocab_size=29, target_vocab_size=42, encoder=stack, decoder=stack))
        >>> to_torch(model)(torch.zeros(1, 2, 12), torch.zeros(1, 3, 12)).shape
        torch.Size([1, 3, 12])

    Source: the documentation of ``nn.Transformer``. Chapter: 15.
    """
    encoder, decoder = model.config.encoder, model.config.decoder
    for name, stack in (("encoder", encoder), ("decoder", decoder)):
        require(
            stack.norm == "layer_norm" and stack.bias and stack.kv_heads == stack.n_heads,
            f"{name}={stack} has parts that nn.Transformer lacks; use layer_norm, bias=True and "
            "n_kv_heads=None",
        )
    require(
        (encoder.n_heads, encoder.d_ff, encoder.activation, encoder.placement)
        == (decoder.n_heads, decoder.d_ff, decoder.activation, decoder.placement),
        f"encoder={encoder} and decoder={decoder} differ, but nn.Transformer has one size for "
        "both; give them the same heads, d_ff, activation and placement",
    )
    weight = model.head.weight
    with warnings.catch_warnings():
        # It warns that a fast path of its own does not apply: nothing to act on here.
        warnings.simplefilter("ignore", UserWarning)
        theirs = nn.Transformer(
            encoder.d_model,
            encoder.n_heads,
            encoder.n_layers,
            decoder.n_layers,
            encoder.d_ff,
            dropout=0.0,
            activation=encoder.activation,
            batch_first=True,
            norm_first=encoder.placement == "pre",
        ).to(weight.device, weight.dtype)
    # A post-norm stack of 2017 ends with its last block's norm; nn.Transformer adds one more.
    if encoder.placement == "post":
        theirs.encoder.norm, theirs.decoder.norm = None, None
    state = _stack("encoder", model.encoder) | _stack("decoder", model.decoder)
    theirs.load_state_dict(state)
    return theirs.eval()


def _stack(name: str, stack: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for i, block in enumerate(stack.get_submodule("blocks").children()):
        state |= {f"{name}.layers.{i}.{key}": value for key, value in _block(block).items()}
    final_norm = stack.get_submodule("final_norm")
    return state | _renamed(f"{name}.norm", final_norm)


def _block(block: nn.Module) -> dict[str, Tensor]:
    state = _attention("self_attn", block.get_submodule("attention"))
    state |= _renamed("norm1", block.get_submodule("attention_residual.norm"))
    last = "norm2"
    if dict(block.named_children()).get("cross_attention") is not None:
        state |= _attention("multihead_attn", block.get_submodule("cross_attention"))
        state |= _renamed("norm2", block.get_submodule("cross_attention_residual.norm"))
        last = "norm3"
    state |= _renamed(last, block.get_submodule("feed_forward_residual.norm"))
    state |= _renamed("linear1", block.get_submodule("feed_forward.w_up"))
    return state | _renamed("linear2", block.get_submodule("feed_forward.w_down"))


def _attention(name: str, mha: nn.Module) -> dict[str, Tensor]:
    """PyTorch keeps the three input projections as one matrix, [q; k; v]."""
    state = mha.state_dict()
    joined = {
        f"{name}.in_proj_{kind}": torch.cat([state[f"{w}.{kind}"] for w in ("w_q", "w_k", "w_v")])
        for kind in ("weight", "bias")
    }
    return joined | _renamed(f"{name}.out_proj", mha.get_submodule("w_o"))


def _renamed(name: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}
