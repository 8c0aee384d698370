"""The loss of next-token prediction."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tfbook.checks import require, require_probability


def cross_entropy(
    logits: Float[Tensor, "*batch vocab"],
    targets: Int[Tensor, "*batch"],
    *,
    ignore_id: int | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    r"""Average the smoothed cross-entropy over the targets that count.

    .. math:: L = -\frac{1}{N}\sum_{t:\,y_t \ne \text{ignore}}
              \Big[(1-\epsilon)\log p_t(y_t) + \frac{\epsilon}{V}\sum_{w=1}^{V} \log p_t(w)\Big]

    The smoothed mass is spread over all :math:`V` tokens, the right one included; the paper
    does not say whether it is. Computed in at least float32.

    Args:
        logits: ``(…, vocab)``.
        targets: token ids, ``(…)``.
        ignore_id: the target that does not count (padding).
        label_smoothing: :math:`\epsilon` in ``[0, 1)``.

    Returns:
        A scalar, in nats per counted target.

    Raises:
        ValueError: ``label_smoothing`` outside ``[0, 1)``, targets of another shape or dtype or
            outside the vocabulary, or no target counts.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item()  # ln 4
        1.3862943649291992

    Source: Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4. Chapter: 15.
    """
    require_probability("label_smoothing", label_smoothing)
    _require_targets(logits, targets)
    counted = None if ignore_id is None else targets != ignore_id
    if counted is not None:
        # An ignored id need not be one of the vocabulary (-100 is usual): look another up.
        targets = targets.masked_fill(~counted, 0)
    _require_in_vocabulary(targets, logits.shape[-1])
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    loss = -log_p.gather(-1, targets[..., None])[..., 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(dim=-1)
    if counted is None:
        return loss.mean()
    require(
        bool(counted.any()),
        f"targets hold nothing but ignore_id={ignore_id}; a batch needs a real target",
    )
    return loss.masked_fill(~counted, 0.0).sum() / counted.sum()


def next_token_loss(model: nn.Module, windows: Int[Tensor, "batch n_plus_1"]) -> Float[Tensor, ""]:
    r"""Average the loss of predicting every next token of a batch.

    .. math:: L = -\frac{1}{BN} \sum_{b,t} \log p(y_{b,t+1} \mid y_{b,\le t})

    Args:
        model: gives logits ``(batch, n, vocab)`` for ids ``(batch, n)``.
        windows: token ids, ``(batch, n + 1)``, on the model's device.

    Returns:
        Nats per token.

    Raises:
        ValueError: see :func:`cross_entropy`.

    Example:
        >>> table = nn.Embedding(3, 3)
        >>> nn.init.zeros_(table.weight)[0, 0].item()
        0.0
        >>> next_token_loss(table, torch.tensor([[0, 1, 2]])).item()  # ln 3
        1.0986123085021973

    Chapter: 12.
    """
    return cross_entropy(model(windows[:, :-1]), windows[:, 1:])


def _require_targets(logits: Tensor, targets: Tensor) -> None:
    # gather would take fewer targets than logits and leave the others out.
    require(
        targets.shape == logits.shape[:-1] and targets.dtype == torch.int64 and targets.numel() > 0,
        f"targets has shape {tuple(targets.shape)} and dtype {targets.dtype}, but logits of shape "
        f"{tuple(logits.shape)} need torch.int64 of shape {tuple(logits.shape[:-1])}, not empty; "
        "give one id for every row of logits",
    )


def _require_in_vocabulary(targets: Tensor, vocab_size: int) -> None:
    # A data-dependent check would break a compiled graph and wait for a GPU.
    if targets.device.type != "cpu" or torch.compiler.is_compiling():
        return
    smallest, largest = int(targets.min()), int(targets.max())
    require(
        smallest >= 0 and largest < vocab_size,
        f"targets={smallest}…{largest} must lie in [0, vocab={vocab_size}); name the padding with "
        "ignore_id=",
    )
