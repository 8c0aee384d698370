"""Figures that read on light and on dark pages, on paper, and with a screen reader.

A figure becomes one inline SVG. Its ink (text, axes, ticks) takes the colour of the text
around it, so the same picture follows the theme of the site, of JupyterLab and of Colab.
Its data keep their colours: the palette of Okabe and Ito, safe for colour-blind readers.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib
import io
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tfbook.book.display import inline_html, show
from tfbook.checks import require
from tfbook.device import seed_everything

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INK", "PALETTE", "figure", "setup"]

#: What has this colour follows the text around the figure. "black" and "white" stay as they
#: are, for text on the cells of a heat map.
INK = "#24292f"
#: The colours of Okabe and Ito that read on light and on dark, by name, in the order of use.
PALETTE = {
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "orange": "#e69f00",
    "sky": "#56b4e9",
}
_INKED = (
    "text.color",
    "axes.edgecolor",
    "axes.labelcolor",
    "axes.titlecolor",
    "xtick.color",
    "ytick.color",
    "hatch.color",
    "patch.edgecolor",
    "boxplot.boxprops.color",
    "boxplot.capprops.color",
    "boxplot.flierprops.color",
    "boxplot.flierprops.markeredgecolor",
    "boxplot.whiskerprops.color",
)
_GRID = "#767f89"
# Above this size, in gzipped bytes, the data of a figure are drawn as pixels.
_MAX_VECTOR_BYTES = 40_000


def setup(seed: int = 0, *, threads: int = 1) -> None:
    """Prepare a notebook: seed, figure style, and settings that make runs alike.

    Args:
        seed: for Python, NumPy and PyTorch.
        threads: processor threads for PyTorch; one makes sums, and so results, independent
            of the machine's cores.

    Example:
        >>> setup(0)
    """
    seed_everything(seed)
    torch.set_num_threads(threads)
    torch.set_printoptions(precision=3, sci_mode=False, linewidth=100)
    np.set_printoptions(precision=3, suppress=True, linewidth=100)
    import matplotlib.style

    # pyplot comes first: importing it in a notebook would set its own figure size again.
    if "ipykernel" in sys.modules:
        importlib.import_module("matplotlib.pyplot")
    matplotlib.style.use(_style())


def figure(fig: Figure, *, caption: str, alt: str) -> None:
    """Display a matplotlib figure with its caption and a text for those who cannot see it.

    Args:
        fig: the figure; it is closed, so that it does not show twice.
        caption: what the figure shows and what follows from it; text between backticks is
            set as code.
        alt: what a reader would see, in one or two sentences.

    Raises:
        ValueError: caption or alt is empty, or they are the same.

    Example:
        >>> from matplotlib.figure import Figure
        >>> fig = Figure(); _ = fig.add_subplot().plot([1, 2, 4])
        >>> figure(fig, caption="Doubling.", alt="A line rises from 1 through 2 to 4.")
        Figure: Doubling. [A line rises from 1 through 2 to 4.]
    """
    for name, text in (("caption", caption), ("alt", alt)):
        require(
            isinstance(text, str) and text.strip() != "",
            f"{name}={text!r} must be a non-empty string; say what the figure shows",
        )
    require(
        caption != alt,
        f"alt={alt!r} must differ from the caption; describe what a reader would see",
    )
    markup = _figure_html(_svg(fig), caption, alt)
    show(f"Figure: {caption} [{alt}]", markup, {"image/png": _png(fig)})
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(fig)


def _style() -> dict[str, Any]:
    from cycler import cycler

    return {
        **dict.fromkeys(_INKED, INK),
        "axes.prop_cycle": cycler(color=list(PALETTE.values())),
        "axes.grid": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.formatter.useoffset": False,
        "grid.color": _GRID,
        "grid.alpha": 0.35,
        "grid.linewidth": 0.6,
        "figure.figsize": (6.6, 3.6),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "image.cmap": "viridis",
        "image.interpolation": "nearest",
        "font.size": 10,
        "mathtext.fontset": "dejavusans",
        "svg.fonttype": "path",
    }


def _svg(fig: Figure) -> str:
    """Draw the figure; where its vectors are heavy, draw its data as pixels inside them."""
    drawn = _draw_svg(fig)
    if len(gzip.compress(drawn.encode())) > _MAX_VECTOR_BYTES:
        for axes in fig.axes:
            for artist in (*axes.collections, *axes.lines, *axes.patches):
                artist.set_rasterized(True)
        drawn = _draw_svg(fig)
    return drawn


def _draw_svg(fig: Figure) -> str:
    import matplotlib

    stream = io.StringIO()
    # Ids must differ between the figures of a page, and agree between two builds of it.
    salt = hashlib.sha256(repr([text.get_text() for text in _texts(fig)]).encode()).hexdigest()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.image_inline": True}):
        fig.savefig(
            stream,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.04,
            dpi=150,
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return _themed(stream.getvalue(), salt[:8])


def _texts(fig: Figure) -> list[Any]:
    from matplotlib.text import Text

    return list(fig.findobj(Text))


def _themed(svg: str, prefix: str) -> str:
    """Turn a stand-alone SVG into one for the page: the page's ink, its own ids, no header."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\n\s*", " ", svg)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor")
    used = set(re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', svg))
    kept = {name for pair in used for name in pair if name}

    def own_id(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in kept else ""

    svg = re.sub(r' id="([^"]+)"', own_id, svg)
    return re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def _png(fig: Figure) -> str:
    """A picture on white for what shows no HTML (PDF, other viewers), base64.

    Call it after ``_svg``, whose layout it keeps: another one would add half to the time.
    """
    import matplotlib

    # None means what the style says, and that asks for a layout at every drawing.
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        fig.set_layout_engine(None)
    box = fig.get_tightbbox().padded(matplotlib.rcParams["savefig.pad_inches"])
    stream = io.BytesIO()
    fig.savefig(stream, format="png", dpi=100, bbox_inches=box, facecolor="white")
    return base64.b64encode(stream.getvalue()).decode()


def _figure_html(svg: str, caption: str, alt: str) -> str:
    size = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)
    width = round(float(size.group(1)) * 4 / 3) if size else 600
    root = (
        f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'style="width:{width}px;max-width:100%;height:auto;'
        'stroke-linejoin:round;stroke-linecap:butt" '
    )
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*" ', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" ', r"<svg \1", svg, count=1)
    svg = svg.replace("<svg ", root, 1)
    return (
        '<figure class="tfbook-figure" style="margin:1em 0">'
        f'<div class="tfbook-drawing">{svg}</div>'
        f'<figcaption style="font-size:.9em;line-height:1.45;margin-top:.4em">'
        f"{inline_html(caption)}</figcaption></figure>"
    )
