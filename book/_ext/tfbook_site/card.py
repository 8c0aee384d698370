"""The picture that other sites show beside a link to this one."""

from __future__ import annotations

import math
from pathlib import Path

PAPER, INK, COOL, WARM = "#14343b", "#f6f3ea", "#7fcbd8", "#f0a35e"
TOKENS = 11


def draw(target: Path, title: str) -> None:
    """Draw a card of 1200 by 630 pixels: the title, and attention under a causal mask."""
    from matplotlib.figure import Figure

    # Its one pair of axes is placed by hand, whatever layout the settings ask for.
    fig = Figure(figsize=(12, 6.3), dpi=100, facecolor=PAPER, layout="none")
    axes = fig.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1200), ylim=(0, 630))
    axes.axis("off")
    for row in range(TOKENS):
        scores = [
            math.exp(1.5 * math.cos(0.9 * (row - k)) - 0.3 * (row - k)) for k in range(row + 1)
        ]
        for key, score in enumerate(scores):
            size = 900 * score / sum(scores)
            colour = WARM if score == max(scores) else COOL
            axes.scatter(720 + 38 * key, 515 - 38 * row, s=max(size, 12), color=colour, linewidth=0)
    words = title.split()
    for line, text in enumerate((" ".join(words[:-1]), words[-1])):
        place = (80, 370 - 80 * line)
        axes.text(*place, text, color=INK, size=46, family="DejaVu Serif", weight="bold")
    target.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(target, facecolor=PAPER)
