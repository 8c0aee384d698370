"""Batch normalisation over the tokens of a batch, with padding left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tfbook.checks import require, require_positive


class BatchNorm(nn.Module):
    r"""Centre and scale each feature over all tokens of the batch.

    .. math:: y = \frac{x - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} \odot g + b

    with mean and (biased) variance of each feature over batch and positions. In evaluation the
    running averages of both stand in for them.

    In training, every token's output depends on all others: later positions leak into earlier
    ones, and other sequences into this one. ``mixes_positions`` says so; do not use this norm
    in a causal decoder. The statistics are those of one process.

    Args:
        d_model: width.
        momentum: share of the newest batch in the running averages. The running variance is
            the unbiased one, as in PyTorch.
        eps: added to the variance, inside the root; above 0.

    Attributes:
        mixes_positions: True: in training, a token's output depends on other positions.

    Raises:
        ValueError: ``d_model`` is below one, ``eps`` is not positive or ``momentum`` is
            outside ``(0, 1]``; in the call, another width, a mask that does not fit, or fewer
            than two real tokens in training.

    Example:
        >>> with torch.no_grad():
        ...     BatchNorm(1)(torch.tensor([[[1.0], [3.0]]])).flatten().round(decimals=3)
        tensor([-1.,  1.])

    Source: Ioffe and Szegedy 2015, algorithm 1. Chapter: 13.
    """

    mixes_positions = True
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, d_model: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        require_positive("d_model", d_model)
        require(0 < momentum <= 1, f"momentum={momentum} must be in (0, 1]; try 0.1")
        require(eps > 0, f"eps={eps} must be above 0: a feature may be constant; try 1e-5")
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("running_mean", torch.zeros(d_model))
        self.register_buffer("running_var", torch.ones(d_model))

    def forward(
        self,
        x: Float[Tensor, "batch n d_model"],
        mask: Bool[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Normalise each feature.

        Args:
            x: ``(batch, n, d_model)``.
            mask: ``(batch, n)``, True at real tokens. Padding is normalised like the rest and
                counts for nothing.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: another width, a mask that does not fit, or fewer than two real tokens
                in training.
        """
        require_tokens(x, mask, self.weight.shape[0])
        if self.training:
            _require_two(x, mask)
            # PyTorch's kernel rounds the batch's statistics to the dtype of the parameters.
            if mask is not None or self.weight.dtype.itemsize < 4:
                return self._normalize(x, mask)
        tokens = F.batch_norm(
            rearrange(x, "batch n d -> (batch n) d"),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        return rearrange(tokens, "(batch n) d -> batch n d", batch=x.shape[0])

    def _normalize(self, x: Tensor, mask: Tensor | None) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = token_mean(wide, mask)
        centred = wide - mean
        variance = token_mean(centred.square(), mask)
        with torch.no_grad():
            count = (torch.ones_like(x[..., 0]) if mask is None else mask).sum()
            unbiased = variance * count / (count - 1).clamp_min(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        gain = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias.to(wide.dtype), centred, gain).to(x.dtype)


def token_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Average over the real tokens of a batch.

    Args:
        values: ``(batch, n, d)``.
        mask: ``(batch, n)``, True at real tokens; None means all.

    Returns:
        Shape ``(d,)``; zeros where no token is real.

    Example:
        >>> token_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
        tensor([2.])
    """
    if mask is None:
        return values.mean(dim=(0, 1))
    real = mask[..., None]
    return torch.where(real, values, 0.0).sum(dim=(0, 1)) / real.sum().clamp_min(1)


def require_tokens(x: Tensor, mask: Tensor | None, d_model: int) -> None:
    """Raise unless ``x`` holds tokens of width ``d_model`` and ``mask`` one truth value for each.

    Args:
        x: ``(batch, n, d_model)``.
        mask: ``(batch, n)``, boolean; or None.
        d_model: the width of the norm.

    Raises:
        ValueError: ``x`` is not ``(batch, n, d_model)``.
        ValueError: ``mask`` is not boolean of shape ``(batch, n)``.

    Example:
        >>> require_tokens(torch.zeros(2, 3, 5), None, 5)
    """
    require(
        x.ndim == 3 and x.shape[-1] == d_model,
        f"x has shape {tuple(x.shape)}, but this norm was made for (batch, n, d_model={d_model}); "
        "give batches of sequences, with the features last",
    )
    require(
        mask is None or (mask.dtype == torch.bool and mask.shape == x.shape[:2]),
        f"mask has shape {() if mask is None else tuple(mask.shape)} and dtype "
        f"{None if mask is None else mask.dtype}, but must be boolean of shape "
        f"{tuple(x.shape[:2])}, True at real tokens",
    )


def _require_two(x: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        count = x.shape[0] * x.shape[1]
    # A data-dependent check would break a compiled graph and wait for a GPU.
    elif mask.device.type != "cpu" or torch.compiler.is_compiling():
        return
    else:
        count = int(mask.sum())
    require(
        count >= 2,
        f"x has {count} real tokens, but a variance over the batch needs at least 2; give a "
        "larger batch, or call eval()",
    )
