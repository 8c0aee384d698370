"""What does not go together, in one list."""

from __future__ import annotations

from dataclasses import dataclass

from tfbook.checks import require
from tfbook.models.config import StackConfig


@dataclass(frozen=True, kw_only=True)
class Illegal:
    """Choices that do not go together.

    Args:
        choices: values of the fields of a stack's configuration that do not work ...
        causal: ... where the stack is causal; None means wherever.
        cross_attention: ... where it reads a context; None means wherever.
        reason: why, and the way out.
    """

    choices: dict[str, tuple[str, ...]]
    causal: bool | None = None
    cross_attention: bool | None = None
    reason: str


#: Every exception to "any parts go together" among choices by name. One more stands in
#: :func:`require_legal`: rotary settings need rotary positions. A rotary whose scaling depends on
#: the length (dynamic NTK) raises with a cache. Encodings of images and graphs have no causal
#: order; they are called with positions of their own.
ILLEGAL = (
    Illegal(
        choices={"norm": ("batch_norm", "power_norm")},
        causal=True,
        reason="its statistics over the batch let later tokens reach earlier ones; use layer_norm, "
        "rms_norm or scale_norm in a causal stack",
    ),
    Illegal(
        choices={"placement": ("parallel", "parallel_two_norms")},
        cross_attention=True,
        reason="a parallel block has no place for cross-attention; use pre, post, branch or "
        "sandwich in a decoder that reads a context",
    ),
)


def require_legal(
    config: StackConfig, *, positions: str, causal: bool, cross_attention: bool
) -> None:
    """Raise where the choices of a stack do not go together.

    Args:
        config: sizes and choices.
        positions: the position scheme.
        causal: whether later tokens are hidden.
        cross_attention: whether the stack reads a context.

    Raises:
        ValueError: they stand in :data:`ILLEGAL`, or rotary settings without rotary positions.

    Example:
        >>> config = StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2)
        >>> require_legal(config, positions="none", causal=True, cross_attention=False)

    Chapter: 15.
    """
    chosen = {"norm": config.norm, "placement": config.placement, "positions": positions}
    for illegal in ILLEGAL:
        applies = illegal.causal in (None, causal)
        applies = applies and illegal.cross_attention in (None, cross_attention)
        for field, values in illegal.choices.items():
            require(
                not (applies and chosen[field] in values),
                f"{field}={chosen[field]!r} does not work in this stack: {illegal.reason}",
            )
    require(
        config.rotary is None or positions in ("rotary", "rotary_interleaved"),
        f"rotary={config.rotary} turns nothing with positions={positions!r}; give "
        "positions='rotary', or rotary=None",
    )
