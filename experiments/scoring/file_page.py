"""The page of one scored recording: its timeline over its piano roll, its extreme passages, and what the heads looked at there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.hearing.page_files import part, write_template
from keybed.experiments.hearing.roll import pitch_range, roll_data
from keybed.experiments.scoring.page_words import TITLES, clock, footer, meaning, score_cell, title, trust
from keybed.experiments.scoring.results import REASONS, LookedAt, ScoredFile, ScoredMusic, ScoreRecord
from keybed.store.counted import counted
from keybed.store.format.vocabulary import DIMENSIONS

FOLDER = Path(__file__).parent / "page"
MOST_LOOKED = 3
"""So many bins with the largest weights are named in words."""


def write_file_page(
    record: ScoreRecord,
    file: ScoredFile,
    music: ScoredMusic,
    path: Path,
    *,
    sound: str | None,
    sound_words: str,
    up: bool,
) -> Path:
    """Write the page. sound: name of the FLAC file beside it, None where there is none; up: whether a comparison page links here."""
    overall = file.whole[DIMENSIONS[-1]]
    cell = score_cell(overall.score, overall.lower, overall.upper)
    page = {
        "title": file.name,
        "up": up,
        "overall": f"{cell['score']} ({cell['interval']})" if cell["judged"] else cell["score"],
        "lead": [
            "Overall interpretation: the mean over the judged passages, with the mean of their intervals. Scores lie between 50 and "
            "100; an undegraded performance of the training data has 97.5.",
            f"{clock(file.duration_s)} · {counted(file.n_notes, 'note')} · {counted(len(file.windows), 'passage')} of "
            f"{record.model.window_s:g} s, one every {record.hop_s:g} s",
        ],
        "remarks": file.remarks,
        "window_s": f"{record.model.window_s:g}",
        "sound": sound,
        "sound_words": sound_words,
        "titles": TITLES,
        "passages": _passages(file, music.looked_at),
        "passages_words": f"By {_by(file).replace('_', ' ')}. Blue strips: how much weight the heads gave each moment of the passage "
        "(the stronger the colour, the more).",
        "whole": [_whole(file, dimension) for dimension in DIMENSIONS],
        "meaning": meaning(record.model, some_rendered=file.audio_path is None),
        "trust": trust(record.model),
        "footer": footer(record.model, record.hop_s),
        "data": _data(record, file, music),
        "style": part("parts.css") + part("page.css") + _own("score.css"),
        "script": f"{part('parts.js')}\n{_own('score.js')}",
    }
    return write_template("score.html.jinja", page, path, FOLDER)


def _own(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _data(record: ScoreRecord, file: ScoredFile, music: ScoredMusic) -> dict[str, Any]:
    names = list(REASONS)
    sentences = [REASONS[name] for name in names]
    dimensions = []
    for dimension in DIMENSIONS:
        cells = [window.scores[dimension] for window in file.windows]
        dimensions.append(
            {
                "title": title(dimension),
                "score": [_rounded(c.score) for c in cells],
                "lower": [_rounded(c.lower) for c in cells],
                "upper": [_rounded(c.upper) for c in cells],
                "reason": [None if c.reason is None else names.index(c.reason) for c in cells],
            }
        )
    return {
        "hop": record.hop_s,
        "windows": [[round(w.start_s, 3), round(w.end_s, 3)] for w in file.windows],
        "dimensions": dimensions,
        "reasons": sentences,
        "roll": roll_data(music.performance, file.duration_s),
        "range": pitch_range(music.performance.pitch),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _by(file: ScoredFile) -> str:
    """The dimension by which passages are weakest and strongest: overall where it is judged anywhere, else the first that is."""
    for dimension in (DIMENSIONS[-1], *DIMENSIONS):
        if file.extremes(dimension) is not None:
            return dimension
    return DIMENSIONS[-1]


def _passages(file: ScoredFile, looked: LookedAt) -> list[dict[str, Any]]:
    extremes = file.extremes(_by(file))
    if extremes is None:
        return []
    named = [("Weakest passage", extremes[0]), ("Strongest passage", extremes[1])]
    return [_passage(file, looked, words, w) for words, w in named[: 1 if extremes[0] == extremes[1] else 2]]


def _passage(file: ScoredFile, looked: LookedAt, words: str, w: int) -> dict[str, Any]:
    window = file.windows[w]
    gates = None if looked.gate_WxMxK is None else looked.gate_WxMxK[w]
    rows = []
    for k, dimension in enumerate(DIMENSIONS):
        cell = window.scores[dimension]
        share = None if gates is None or np.isnan(gates[0, k]) else round(100 * float(gates[0, k]))
        rows.append({"title": title(dimension), **score_cell(cell.score, cell.lower, cell.upper), "audio": share})
    strips = [
        _strip(name, weights[w], window.start_s, window.end_s)
        for name, weights in (("audio", looked.audio_pooling_WxT), ("notes", looked.midi_pooling_WxT))
        if weights is not None and np.isfinite(weights[w]).all()
    ]
    maps = [
        _map(name, weights[w])
        for name, weights in (
            ("audio (down) looking at notes (across)", looked.audio_to_midi_WxTxT),
            ("notes (down) looking at audio (across)", looked.midi_to_audio_WxTxT),
        )
        if weights is not None and np.isfinite(weights[w]).all()
    ]
    return {
        "title": words,
        "when": f"{clock(window.start_s)}–{clock(window.end_s)}",
        "view": [round(window.start_s, 3), round(window.end_s, 3)],
        "rows": rows,
        "gated": gates is not None,
        "strips": strips,
        "maps": maps,
    }


def _strip(name: str, weights: NDArray[np.float32], start_s: float, end_s: float) -> dict[str, Any]:
    """Weight of each bin as opacity, and the bins with the largest weights in words."""
    n = weights.size
    each_s = (end_s - start_s) / n
    top = np.sort(np.argsort(-weights, kind="stable")[:MOST_LOOKED])
    places = ", ".join(clock(start_s + k * each_s) for k in top.tolist())
    share = float(weights[top].sum() / weights.sum())
    even = min(MOST_LOOKED, n) / n
    words = f"{100 * share:.0f} % of the weight at {places} ({100 * even:.0f} % if all moments counted alike)"
    strongest = float(weights.max())
    return {"name": f"weight of the {name}", "words": words, "cells": [round(float(x) / strongest, 2) for x in weights]}


def _map(name: str, weights: NDArray[np.float32]) -> dict[str, Any]:
    shown = weights / weights.max()
    cells = [
        [x, y, round(float(shown[y, x]), 2)] for y in range(len(shown)) for x in range(len(shown)) if shown[y, x] > 0.03
    ]
    return {"name": name, "n": len(shown), "cells": cells}


def _whole(file: ScoredFile, dimension: str) -> dict[str, Any]:
    whole = file.whole[dimension]
    why = Counter(w.scores[dimension].reason for w in file.windows if w.scores[dimension].reason)
    extremes = file.extremes(dimension)
    places = []
    for w in (None, None) if extremes is None else extremes:
        window = None if w is None else file.windows[w]
        score = None if window is None else window.scores[dimension].score
        places.append(
            None
            if window is None or score is None
            else {
                "from": round(window.start_s, 3),
                "to": round(window.end_s, 3),
                "words": f"{clock(window.start_s)} ({score:.0f})",
            }
        )
    return {
        "title": title(dimension),
        **score_cell(whole.score, whole.lower, whole.upper),
        "windows": f"{whole.windows_judged} of {len(file.windows)}",
        "extremes": places,
        "why": "; ".join(f"{REASONS[reason]} ({n})" for reason, n in why.most_common() if reason is not None),
    }
