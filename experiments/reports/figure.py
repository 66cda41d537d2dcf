"""One look for all pictures: colours, labels, figure size, and a figure as an inline SVG element."""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE

COLOURS = {
    "audio": "#2b6cb0",
    "midi": "#dd7a1f",
    "concat": "#2f855a",
    "cross": "#7b4fb5",
    "gated": "#c53073",
    "specialists": "#4a5568",
    "audio swapped": "#2b6cb0",
    "MIDI swapped": "#dd7a1f",
}
LABELS = {
    "audio": "audio only",
    "midi": "MIDI only",
    "concat": "fusion: concatenation",
    "cross": "fusion: cross-attention",
    "gated": "fusion: gated",
    "specialists": "specialists",
    BEST_FUSION: "best fusion, chosen in each fold",
    BEST_SINGLE: "best single modality, chosen in each fold",
}
_OTHERS = ("#0f766e", "#9a3412", "#4338ca", "#65a30d", "#be185d", "#64748b")
INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keybed",
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
WIDTH_IN = 5.0


def colour(name: str, position: int = 0) -> str:
    """A model's colour, the same in every picture."""
    return COLOURS.get(name, _OTHERS[position % len(_OTHERS)])


def label(name: str) -> str:
    """The name of a model or dimension for people."""
    return drawable(LABELS.get(name, name.replace("_", " ")))


def drawable(text: str) -> str:
    """The text without what an SVG cannot hold: control characters and lone surrogates become U+FFFD.

    matplotlib escapes `<`, `>` and `&` in text; it does not know these characters.
    """
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def as_svg(figure: Figure, description: str) -> str:
    """The figure as one SVG element without dates or ids that change; description: text for screen readers."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has other fonts
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.06
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    words = html.escape(drawable(description))
    head = f'<svg role="img" aria-label="{words}" style="max-width:{int(WIDTH_IN * 96 * 1.15)}px" '
    return re.sub(r'<svg (?:xmlns:xlink="[^"]*" )?', lambda m: head + m.group(0)[5:], text, count=1)


def new_figure(height_in: float, n_columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """An empty figure as wide as every picture, and its axes (an array of them for several columns)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        axes = figure.subplots(1, n_columns, **options)
    return figure, axes
