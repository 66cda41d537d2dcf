"""Rows as tables: for pandas, and for a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from keybed.store.format.coded import WORDS
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, WAVEFORM_MEASURES
from keybed.store.optional import optional

LABELS: dict[str, Sequence[str]] = {
    "score": DIMENSIONS,
    "valid": DIMENSIONS,
    "level": LEVELS,
    "level_drawn": LEVELS,
    "difficulty": COVARIATES,
    "waveform": WAVEFORM_MEASURES,
}
"""Columns with a second axis, and the names along it."""


def to_pandas(columns: Mapping[str, np.ndarray]) -> Any:
    """A DataFrame; see `Rows.to_pandas`. Raises NotInstalled."""
    pandas = optional("pandas", "tables")
    flat: dict[str, Any] = {}
    for name, values in columns.items():
        if name in WORDS:
            words = list(WORDS[name].values())
            position = {number: i for i, number in enumerate(WORDS[name])}
            codes = np.array([position.get(number, -1) for number in values.tolist()], np.int16)
            flat[name] = pandas.Categorical.from_codes(codes, categories=words, ordered=name == "tier")
        elif name in LABELS:
            flat |= {f"{name}_{label}": values[:, k] for k, label in enumerate(LABELS[name])}
        elif name != "index":
            flat[name] = values
    return pandas.DataFrame(flat, index=pandas.Index(columns["index"], name="row"))


_SHOWN = 8
"""Rows of the table in a notebook."""


def to_html(columns: Mapping[str, np.ndarray], title: str) -> str:
    """The title and the first rows: number, split, tier, status, piece and scores."""
    n = len(columns["index"])
    heads = ("row", "split", "tier", "status", "piece", "start, s", *(name.replace("_", " ") for name in DIMENSIONS))
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(columns, i))}</tr>" for i in range(min(n, _SHOWN))
    )
    more = f"<p>and {n - _SHOWN:,} more</p>" if n > _SHOWN else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f"<p>{escape(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{more}"


def _cells(columns: Mapping[str, np.ndarray], i: int) -> Iterator[str]:
    yield str(columns["index"][i])
    for name in ("split", "tier", "status"):
        yield WORDS[name].get(int(columns[name][i]), "?")
    yield str(columns["piece"][i])
    yield f"{columns['start_s'][i]:.1f}"
    for score, valid in zip(columns["score"][i], columns["valid"][i], strict=True):
        yield f"{score:.0f}" if valid else "–"
