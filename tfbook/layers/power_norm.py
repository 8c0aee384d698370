"""Power normalisation: running root mean squares in training, with their own gradient."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tfbook.checks import require, require_positive, require_probability
from tfbook.layers.batch_norm import require_tokens, token_mean


class PowerNorm(nn.Module):
    r"""Divide each feature by the running root of its mean square over earlier batches.

    .. math:: \hat{x} = \frac{x}{\psi_{t-1}}, \quad y = \hat{x} \odot g + b, \qquad
              \psi_t^2 = \alpha_f \psi_{t-1}^2 + (1 - \alpha_f) \langle x^2 \rangle

    with :math:`\langle\cdot\rangle` the mean over the batch's real tokens. The exact gradient
    would run through all earlier batches. In its place, with :math:`h = \partial L/\partial
    \hat{x}`,

    .. math:: \frac{\partial L}{\partial x} \approx \frac{h - \nu_{t-1} \hat{x}}{\psi_{t-1}},
              \qquad \nu_t = \nu_{t-1} \bigl(1 - (1 - \alpha_b) \langle \hat{x}^2 \rangle\bigr)
              + (1 - \alpha_b) \langle h \hat{x} \rangle

    In the first ``warmup_steps`` steps the running averages mean little. The batch's own mean
    square stands in for :math:`\psi^2` then, with its exact gradient (the paper's PN-V; the
    authors' code takes the approximate gradient there too). So later positions leak into
    earlier ones during warm-up, and only then: a causal decoder needs ``warmup_steps=0``.

    Both averages, and the count of steps, move on in the backward pass. The paper moves
    :math:`\psi` in the forward pass; then a forward pass that is run again to save memory, by
    activation checkpointing, would not repeat the first.

    :math:`\nu` diverges when batches keep more than :math:`2/(1 - \alpha_b)` times the running
    mean square. The authors' code bounds that by scaling each token's features first: put an
    :class:`RMSNorm` in front. The statistics are those of one process.

    Args:
        d_model: width.
        alpha_forward: share of the past in the running mean square.
        alpha_backward: share of the past in the running mean of the gradient.
        warmup_steps: training steps that use the batch's statistics, as many as the learning
            rate warms up.
        eps: added to the mean square, inside the root.

    Attributes:
        mixes_positions: whether a token's output ever depends on other positions of its batch.

    Raises:
        ValueError: ``d_model`` is below one, ``eps`` or ``warmup_steps`` is negative, or a share
            is outside ``[0, 1)``; in the call, another width or a mask that does not fit.

    Example:
        >>> norm = PowerNorm(1, alpha_forward=0.5, warmup_steps=0, eps=0.0)
        >>> x = torch.tensor([[[4.0], [2.0], [1.0]]])
        >>> norm(x).sum().backward()
        >>> norm(x).flatten().tolist()
        [2.0, 1.0, 0.5]

    Source: Shen et al. 2020, section 4, algorithm 2. Chapter: 13.
    """

    running_square: Tensor
    running_gradient: Tensor
    steps: Tensor

    def __init__(
        self,
        d_model: int,
        *,
        alpha_forward: float = 0.9,
        alpha_backward: float = 0.9,
        warmup_steps: int = 4000,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        require_positive("d_model", d_model)
        require_probability("alpha_forward", alpha_forward)
        require_probability("alpha_backward", alpha_backward)
        require(warmup_steps >= 0, f"warmup_steps={warmup_steps} must be at least 0; 0 skips it")
        require(eps >= 0, f"eps={eps} must be at least 0; try 1e-5")
        self.alpha_forward, self.alpha_backward = alpha_forward, alpha_backward
        self.warmup_steps, self.eps = warmup_steps, eps
        self.mixes_positions = warmup_steps > 0
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("running_square", torch.ones(d_model))
        self.register_buffer("running_gradient", torch.zeros(d_model))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        x: Float[Tensor, "batch n d_model"],
        mask: Bool[Tensor, "batch n"] | None = None,
    ) -> Float[Tensor, "batch n d_model"]:
        """Scale each feature.

        Args:
            x: ``(batch, n, d_model)``.
            mask: ``(batch, n)``, True at real tokens. Padding is scaled like the rest and
                counts for nothing.

        Returns:
            Shape ``(batch, n, d_model)``.

        Raises:
            ValueError: another width, or a mask that does not fit.
        """
        require_tokens(x, mask, self.weight.shape[0])
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        if not self.training:
            scale = torch.rsqrt(self.running_square + self.eps)
            return torch.addcmul(bias, wide, weight * scale).to(x.dtype)
        square = token_mean(wide.detach().square(), mask)
        warm = self.steps < self.warmup_steps
        scale = torch.rsqrt(torch.where(warm, square, self.running_square) + self.eps)
        running = self.running_square, self.running_gradient, self.steps
        alphas = self.alpha_forward, self.alpha_backward
        y = _Normalize.apply(wide, weight, bias, scale, square, mask, warm, running, alphas)
        return y.to(x.dtype)


class _Normalize(torch.autograd.Function):
    """y = x̂·g + b; the backward pass approximates its gradient and carries the averages on."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        square: Tensor,
        mask: Tensor | None,
        warm: Tensor,
        running: tuple[Tensor, Tensor, Tensor],
        alphas: tuple[float, float],
    ) -> Tensor:
        ctx.save_for_backward(x, weight, scale, square, mask, warm)
        # Not saved as the others: each backward pass reads what the one before it left here.
        ctx.running, ctx.alphas = running, alphas
        return torch.addcmul(bias, x, weight * scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale, square, mask, warm = ctx.saved_tensors
        (running_square, running_gradient, steps), (alpha_f, alpha_b) = ctx.running, ctx.alphas
        correlation = gradient * x
        total = correlation.sum(dim=(0, 1))
        n_tokens = x.shape[0] * x.shape[1]
        mean = total / n_tokens if mask is None else token_mean(correlation, mask)
        # ⟨h·x̂⟩ and ⟨x̂²⟩, by sums over x: x̂ = scale·x and h = weight·gradient are never stored.
        product = weight * scale * mean
        power = scale.square() * square
        pull = torch.where(warm, product, running_gradient.to(product.dtype)) * scale.square()
        # Padding was not in the mean square: its gradient does not run through it.
        seen = x if mask is None else torch.where(mask[..., None], x, 0.0)
        to_x = (gradient * (weight * scale)).addcmul_(seen, pull, value=-1)
        running_gradient.mul_(1 - (1 - alpha_b) * power).add_((1 - alpha_b) * product)
        running_square.lerp_(square.to(running_square.dtype), 1 - alpha_f)
        steps.add_(1)
        return to_x, scale * total, gradient.sum(dim=(0, 1)), None, None, None, None, None, None
