"""One stack of blocks."""

from __future__ import annotations

from dataclasses import dataclass

from tfbook.checks import (
    require,
    require_choice,
    require_divisible,
    require_positive,
    require_probability,
)
from tfbook.models.config.rotary import RotaryConfig

NORMS = ("layer_norm", "rms_norm", "scale_norm", "batch_norm", "power_norm")
PLACEMENTS = ("pre", "post", "branch", "sandwich", "parallel", "parallel_two_norms")
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "squared_relu")
FEED_FORWARDS = ("plain", "gated", "low_rank")
POSITIONS = (
    "sinusoidal",
    "learned",
    "learned_frequencies",
    "concatenated",
    "rotary",
    "rotary_interleaved",
    "alibi",
    "t5",
    "sandwich",
    "shaw",
    "transformer_xl",
    "none",
)


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One stack of blocks, encoder or decoder.

    Args:
        d_model: width of the residual stream.
        n_heads: query heads.
        d_ff: inner width of the feed-forward layers.
        n_layers: blocks.
        n_kv_heads: key and value heads; None means ``n_heads``.
        dropout_p: probability of dropping a feature of a sublayer's output in training.
        norm: one of ``NORMS``.
        placement: of the norms, one of ``PLACEMENTS``; ``parallel`` lets attention and
            feed-forward read the same normalised input, and in ``parallel_two_norms`` each
            has a norm of its own.
        activation: one of ``ACTIVATIONS``.
        bias: whether linear maps add a bias, where the three below do not say otherwise.
        feed_forward: ``plain``, ``gated`` (three matrices) or ``low_rank``.
        feed_forward_rank: of ``low_rank``.
        feed_forward_chunk: positions that the feed-forward layer takes at a time; None all.
        share_feed_forward: one feed-forward layer serves all blocks.
        head_width: of one head; None means ``d_model / n_heads``. Read it as ``d_head``.
        attention_bias: whether queries, keys and values have a bias; None means as ``bias``.
        output_bias: whether the output map of attention has one; None means as ``bias``.
        feed_forward_bias: whether the feed-forward layers have one; None means as ``bias``.
        norm_eps: of the norms; None means the usual of the norm.
        window: how many tokens a query sees, itself included (in an encoder, on each side);
            None means all.
        rotary: of the positions ``rotary`` and ``rotary_interleaved``; None means their usual.

    Raises:
        ValueError: sizes that are not positive or do not divide, an unknown choice, a
            probability outside ``[0, 1)``, or more rotated features than a head has.

    Example:
        >>> StackConfig(d_model=12, n_heads=3, d_ff=48, n_layers=2).placement
        'post'

    Source: Vaswani et al. 2017, section 3. Chapter: 15.
    """

    d_model: int
    n_heads: int
    d_ff: int
    n_layers: int
    n_kv_heads: int | None = None
    dropout_p: float = 0.1
    norm: str = "layer_norm"
    placement: str = "post"
    activation: str = "relu"
    bias: bool = True
    feed_forward: str = "plain"
    feed_forward_rank: int = 64
    feed_forward_chunk: int | None = None
    share_feed_forward: bool = False
    head_width: int | None = None
    attention_bias: bool | None = None
    output_bias: bool | None = None
    feed_forward_bias: bool | None = None
    norm_eps: float | None = None
    window: int | None = None
    rotary: RotaryConfig | None = None

    def __post_init__(self) -> None:
        """Check the sizes and choices."""
        self._check_sizes()
        if self.n_kv_heads is not None:
            require_divisible("n_heads", self.n_heads, "n_kv_heads", self.n_kv_heads)
        require_probability("dropout_p", self.dropout_p)
        require_choice("norm", self.norm, NORMS)
        require_choice("placement", self.placement, PLACEMENTS)
        require_choice("activation", self.activation, ACTIVATIONS)
        require_choice("feed_forward", self.feed_forward, FEED_FORWARDS)
        require(
            self.norm_eps is None or self.norm_eps >= 0,
            f"norm_eps={self.norm_eps} must be at least 0; try 1e-5",
        )
        require(
            self.rotary is None or (self.rotary.d_rotary or 0) <= self.d_head,
            f"rotary={self.rotary} turns more features than a head of width {self.d_head} has; "
            "give a smaller d_rotary, or None for all",
        )

    def _check_sizes(self) -> None:
        if self.head_width is None:
            require_divisible("d_model", self.d_model, "n_heads", self.n_heads)
        optional = {
            "head_width": self.head_width,
            "feed_forward_chunk": self.feed_forward_chunk,
            "window": self.window,
        }
        sizes = {
            "d_model": self.d_model,
            "n_heads": self.n_heads,
            "d_ff": self.d_ff,
            "n_layers": self.n_layers,
            "feed_forward_rank": self.feed_forward_rank,
            **{name: size for name, size in optional.items() if size is not None},
        }
        for name, size in sizes.items():
            require_positive(name, size)

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads if self.head_width is None else self.head_width

    @property
    def kv_heads(self) -> int:
        """Key and value heads."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Whether queries, keys and values, attention's output, and feed-forward have a bias."""
        each = (self.attention_bias, self.output_bias, self.feed_forward_bias)
        attention, output, feed_forward = (self.bias if own is None else own for own in each)
        return attention, output, feed_forward


def require_whole_table(positions: str, tie_output: bool) -> None:
    """Raise where the embedding is narrower than the model and yet the output layer.

    Args:
        positions: one of ``POSITIONS``.
        tie_output: the output layer is the embedding, transposed.

    Raises:
        ValueError: both.
    """
    require(
        not (tie_output and positions == "concatenated"),
        "tie_output=True needs an embedding as wide as the model, but positions='concatenated' "
        "leaves part of the width to the positions; give tie_output=False",
    )
