"""The drawing of multi-head attention: every array as a grid, one colour a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfbook.book.figures import INK, PALETTE
from tfbook.checks import require, require_divisible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

__all__ = ["heads_diagram"]

COLOURS = ("blue", "vermilion", "green", "purple")
GREY = "#767f89"
GAP, STEP = 1.6, 9.2  # between the rows of heads; between the columns of the drawing


def heads_diagram(weights: Tensor, d_model: int) -> Figure:
    """Draw the way from a sequence to the output of multi-head attention, with shapes.

    Args:
        weights: the attention weights to show, ``(heads, n, n)``; at most four heads.
        d_model: width of the sequence, a multiple of the heads.

    Returns:
        The figure: ``x``, then ``q, k, v``, each cut into heads, the weights and the output of
        every head, the heads side by side, and the output after ``w_o``.

    Raises:
        ValueError: more than four heads, or a width that does not divide.

    Example:
        >>> import torch
        >>> fig = heads_diagram(torch.full((3, 4, 4), 0.25), d_model=6)
        >>> len(fig.axes[0].patches)  # the cells of all grids
        288

    Chapter: 09.
    """
    from matplotlib.figure import Figure

    n_heads, n, _ = weights.shape
    require(
        n_heads <= len(COLOURS),
        f"weights hold {n_heads} heads, but there are {len(COLOURS)} colours; draw fewer heads",
    )
    require_divisible("d_model", d_model, "n_heads", n_heads)
    fig = Figure(figsize=(6.6, 3.5))
    axes = fig.add_subplot()
    axes.set_axis_off()
    d_head = d_model // n_heads
    middle = (n_heads * n + (n_heads - 1) * GAP) / 2
    rows = [middle + (n + GAP) * (0.5 * (n_heads - 1) - i) for i in range(n_heads)]
    bands = [COLOURS[i] for i in range(n_heads) for _ in range(d_head)]
    _grid(axes, 0, middle, n, ["grey"] * d_model)
    for row, name in zip((middle + n + GAP, middle, middle - n - GAP), "qkv", strict=True):
        _grid(axes, STEP, row, n, bands, name=name)
    for i, row in enumerate(rows):
        for j, name in enumerate("qkv"):
            x = 2 * STEP + (j - 1) * (d_head + 0.5)
            _grid(axes, x, row, n, [COLOURS[i]] * d_head, name=name if i == 0 else "")
        beside = 2 * STEP + 1.5 * d_head + 1.7
        axes.text(beside, row, f"head {i + 1}", ha="center", va="center", fontsize=9, rotation=90)
        _heat(axes, 3 * STEP, row, weights[i].tolist(), PALETTE[COLOURS[i]])
        _grid(axes, 4 * STEP, row, n, [COLOURS[i]] * d_head)
    _grid(axes, 5 * STEP, middle, n, bands)
    _grid(axes, 6 * STEP, middle, n, ["grey"] * d_model)
    _labels(axes, bottom=rows[-1] - n / 2 - 0.8)
    for column, word in enumerate(("project", "split", "score,\nsoftmax", "weigh", "merge", "mix")):
        _arrow(axes, (column + 0.5) * STEP, rows[0] + n / 2 + 2.6, word)
    axes.set_xlim(-4.2, 6 * STEP + 4.2)
    axes.set_ylim(rows[-1] - n / 2 - 4.6, rows[0] + n / 2 + 4.4)
    axes.set_aspect("equal")
    return fig


def _grid(
    axes: Axes, x: float, y: float, n: int, columns: Sequence[str], *, name: str = ""
) -> None:
    """A matrix centred at a point: ``n`` rows of tokens, one colour a column."""
    from matplotlib.patches import Rectangle

    left, bottom = x - len(columns) / 2, y - n / 2
    for column, colour in enumerate(columns):
        face = (GREY if colour == "grey" else PALETTE[colour]) + "55"
        for row in range(n):
            corner = (left + column, bottom + row)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor=INK, linewidth=0.4))
    axes.text(x, bottom + n + 0.25, name, ha="center", va="bottom", fontsize=9, style="italic")


def _heat(axes: Axes, x: float, y: float, weights: Sequence[Sequence[float]], colour: str) -> None:
    """Attention weights, one row a query: the stronger the weight, the deeper the colour."""
    from matplotlib.patches import Rectangle

    n = len(weights)
    for i, row in enumerate(weights):
        for j, weight in enumerate(row):
            corner = (x - n / 2 + j, y + n / 2 - 1 - i)
            face = f"{colour}{round(255 * weight):02x}"
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor=INK, linewidth=0.4))


def _labels(axes: Axes, *, bottom: float) -> None:
    texts = (
        "x\n(b, n, d)",
        "q, k, v\n(b, n, d)",
        "cut\n(b, h, n, d/h)",
        "weights\n(b, h, n, n)",
        "heads\n(b, h, n, d/h)",
        "merged\n(b, n, d)",
        "output\n(b, n, d)",
    )
    for column, text in enumerate(texts):
        axes.text(column * STEP, bottom, text, ha="center", va="top", fontsize=9, linespacing=1.4)


def _arrow(axes: Axes, x: float, y: float, word: str) -> None:
    axes.annotate(
        "",
        xy=(x + 1.9, y),
        xytext=(x - 1.9, y),
        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.1, "shrinkA": 0, "shrinkB": 0},
    )
    axes.text(x, y + 0.4, word, ha="center", va="bottom", fontsize=9)
