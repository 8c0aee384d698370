"""The loss of a language model at each place of its input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_positive


def windows_of(
    texts: Sequence[Int[Tensor, "n_tokens"]], length: int
) -> Int[Tensor, "windows n_plus_1"]:
    """Cut texts into windows that lie side by side; each token but the first is a target once.

    Args:
        texts: token ids, each ``(n_tokens,)``.
        length: tokens that the model reads.

    Returns:
        Shape ``(windows, length + 1)``: the last token of a window is the first of the next. What
        is left over at the end of a text is dropped.

    Raises:
        ValueError: ``length`` is below one, or no text is longer than it.

    Example:
        >>> windows_of([torch.arange(8)], 3).tolist()
        [[0, 1, 2, 3], [3, 4, 5, 6]]

    Chapter: 12.
    """
    require_positive("length", length)
    long = [text for text in texts if len(text) > length]
    require(
        bool(long),
        f"texts has no text of length={length} + 1 tokens or more; give longer texts, or a "
        "shorter length",
    )
    return torch.cat([text.unfold(0, length + 1, length) for text in long])


@torch.no_grad()
def loss_by_position(
    model: nn.Module, windows: Int[Tensor, "windows n_plus_1"], *, batch_tokens: int = 16_384
) -> Float[Tensor, "n"]:
    r"""Average the loss at each place over many windows.

    .. math:: L_t = -\frac{1}{W} \sum_{w=1}^{W} \log p(y_{w,t+1} \mid y_{w,\le t})

    Args:
        model: gives logits ``(batch, n, vocab)`` for ids ``(batch, n)``; evaluated in its
            present mode.
        windows: token ids, ``(windows, n + 1)``, on any device.
        batch_tokens: tokens that go through the model at a time, at least one window.

    Returns:
        Nats per token, shape ``(n,)``, in float64 on the CPU; entry ``t`` has seen ``t + 1``
        tokens.

    Raises:
        ValueError: windows of fewer than two tokens, or ``batch_tokens`` below one.

    Example:
        >>> from tfbook.models import CausalLM, CausalLMConfig, StackConfig
        >>> stack = StackConfig(d_model=8, n_heads=2, d_ff=16, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=11, decoder=stack)).eval()
        >>> loss_by_position(model, torch.randint(11, (4, 6))).shape
        torch.Size([5])

    Source: Press et al. 2022, section 2.2 (windows without overlap). Chapter: 12.
    """
    require_positive("batch_tokens", batch_tokens)
    require(
        windows.ndim == 2 and windows.shape[0] > 0 and windows.shape[1] > 1,
        f"windows has shape {tuple(windows.shape)}, but must be (windows, n + 1) with n of at "
        "least 1; see windows_of",
    )
    device = next(model.parameters()).device
    n = windows.shape[1] - 1
    total = torch.zeros(n, dtype=torch.float64)
    for rows in windows.split(max(1, batch_tokens // n)):
        ids = rows.to(device)
        log_p = model(ids[:, :-1]).float().log_softmax(dim=-1)
        losses = -log_p.gather(-1, ids[:, 1:, None])[..., 0]
        total += losses.double().sum(dim=0).cpu()
    return total / len(windows)
