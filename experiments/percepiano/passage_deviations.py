"""How each performance deviates from the mean of the others of its passage, in numbers; computed from notes, not ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.note_statistics import Numbers, _correlation, _smooth
from keybed.experiments.percepiano.passages import chords, match_notes
from keybed.extract.music.performance import Performance

_FLOOR_S = 0.01


def passage_deviations(performances: Sequence[Performance], reference: int) -> list[Numbers]:
    """One dictionary per performance of the passage: name → deviation from the mean of the other performances.

    reference: the performance whose notes index the passage, such as a score rendering.
    """
    base = performances[reference]
    matches = [match_notes(base, other) for other in performances]
    onset, velocity, length = (_table(performances, matches, field) for field in ("onset_s", "velocity", "length"))
    groups = chords(base)
    beat = np.array([[_mean(row[g]) for g in groups] for row in onset])
    gap = np.log(np.maximum(np.diff(_bridge(beat), axis=1), _FLOOR_S))
    loud = _bridge(np.array([[_mean(row[g]) for g in groups] for row in velocity]))
    top = np.array([g[np.argmax(base.pitch[g])] for g in groups])
    bottom = np.array([g[np.argmin(base.pitch[g])] for g in groups])
    deviations = []
    for p, match in enumerate(matches):
        others = [q for q in range(len(performances)) if q != p] or [p]
        numbers = {
            **_tempo(gap[p], gap[others].mean(0)),
            **_loudness(loud[p], loud[others].mean(0)),
            **_voices(velocity[p], _column_mean(velocity[others]), top, bottom, groups),
            **_articulation(length[p], _column_mean(length[others])),
            **_chord_timing(onset[p], groups, top),
            "missing_share": float((match < 0).mean()),
            "extra_share": 1 - float((match >= 0).sum()) / performances[p].n_notes,
        }
        deviations.append(numbers)
    return deviations


def _table(performances: Sequence[Performance], matches: Sequence[NDArray[np.intp]], field: str) -> NDArray[np.float64]:
    """(performance, note of the reference); NaN where unmatched. `length` is the log of the time from onset to key release."""
    rows = []
    for performance, match in zip(performances, matches, strict=True):
        if field == "length":
            values = np.log(np.maximum(performance.offset_s - performance.onset_s, _FLOOR_S))
        else:
            values = np.asarray(getattr(performance, field), np.float64)
        rows.append(np.where(match >= 0, values[np.maximum(match, 0)], np.nan))
    return np.array(rows)


def _mean(values: NDArray[np.float64]) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")


def _column_mean(table: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(table)
    return np.where(known.any(0), np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def _bridge(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace NaNs in each row by linear interpolation."""
    out = table.copy()
    for row in out:
        known = ~np.isnan(row)
        if known.any():
            row[~known] = np.interp(np.flatnonzero(~known), np.flatnonzero(known), row[known])
        else:
            row[:] = 0.0
    return out


def _tempo(gap: NDArray[np.float64], usual: NDArray[np.float64]) -> Numbers:
    ratio = gap - usual
    away = ratio - ratio.mean()
    slow = _smooth(away, 8)
    tail = max(2, ratio.size // 8)
    return {
        "tempo_ratio": float(np.median(ratio)),
        "tempo_away_sd": float(away.std()),
        "tempo_slow_away_sd": float(slow.std()),
        "tempo_fast_away_sd": float((away - slow).std()),
        "tempo_away_autocorrelation": _correlation(away[1:], away[:-1]),
        "tempo_like_others": _correlation(gap, usual),
        "tempo_end": float(away[-tail:].mean()),
        "tempo_begin": float(away[:tail].mean()),
        "tempo_away_p90": float(np.percentile(np.abs(away), 90)),
        "tempo_lengthened": float(np.percentile(away, 95)),
        "tempo_shortened": float(np.percentile(away, 5)),
    }


def _loudness(loud: NDArray[np.float64], usual: NDArray[np.float64]) -> Numbers:
    away = loud - usual
    slow, own, theirs = _smooth(away - away.mean(), 8), _smooth(loud, 8), _smooth(usual, 8)
    centred = usual - usual.mean()
    return {
        "loud_away": float(away.mean()),
        "loud_away_sd": float(away.std()),
        "loud_slow_away_sd": float(slow.std()),
        "loud_fast_away_sd": float((away - away.mean() - slow).std()),
        "loud_like_others": _correlation(loud, usual),
        "loud_arch_like_others": _correlation(own, theirs),
        "loud_arch_gain": float(((loud - loud.mean()) * centred).sum() / ((centred**2).sum() + 1e-9)),
        "loud_arch_ratio": float(np.log((own.std() + 0.5) / (theirs.std() + 0.5))),
        "loud_spread_ratio": float(np.log((loud.std() + 0.5) / (usual.std() + 0.5))),
        "loud_end": float((away - away.mean())[-max(2, away.size // 8) :].mean()),
    }


def _voices(
    velocity: NDArray[np.float64],
    usual: NDArray[np.float64],
    top: NDArray[np.intp],
    bottom: NDArray[np.intp],
    groups: Sequence[NDArray[np.intp]],
) -> Numbers:
    away = velocity - usual
    centre = _mean(away)
    inner = np.setdiff1d(np.arange(velocity.size), np.union1d(top, bottom))
    many = [k for k, g in enumerate(groups) if g.size > 1]
    prominence = velocity[top[many]] - velocity[bottom[many]] if many else np.zeros(1)
    return {
        "top_louder": _or_zero(_mean(away[top]) - centre),
        "bottom_louder": _or_zero(_mean(away[bottom]) - centre),
        "inner_louder": _or_zero(_mean(away[inner]) - centre) if inner.size else 0.0,
        "top_over_bottom": _or_zero(_mean(prominence)),
        "top_away_sd": _or_zero(float(np.nanstd(away[top]))) if np.isfinite(away[top]).any() else 0.0,
    }


def _articulation(length: NDArray[np.float64], usual: NDArray[np.float64]) -> Numbers:
    away = (length - usual)[~np.isnan(length - usual)]
    if away.size < 3:
        away = np.zeros(3)
    known = ~np.isnan(length) & ~np.isnan(usual)
    return {
        "length_ratio": float(away.mean()),
        "length_away_sd": float(away.std()),
        "length_ratio_p10": float(np.percentile(away, 10)),
        "length_ratio_p90": float(np.percentile(away, 90)),
        "length_like_others": _correlation(length[known], usual[known]),
    }


def _chord_timing(onset: NDArray[np.float64], groups: Sequence[NDArray[np.intp]], top: NDArray[np.intp]) -> Numbers:
    """Spread and melody lead of the chords of the reference, in ms, limited to 200."""
    spreads, leads = [], []
    for group, melody in zip(groups, top, strict=True):
        times = onset[group]
        times = times[~np.isnan(times)]
        if times.size > 1:
            spreads.append(min(float(np.ptp(times)) * 1000, 200.0))
            if not np.isnan(onset[melody]):
                leads.append(float(np.clip((times.mean() - onset[melody]) * 1000, -200, 200)))
    spread, lead = np.array(spreads or [0.0]), np.array(leads or [0.0])
    return {
        "spread_ms": float(spread.mean()),
        "spread_ms_p90": float(np.percentile(spread, 90)),
        "lead_ms": float(lead.mean()),
        "lead_ms_sd": float(lead.std()),
    }


def _or_zero(value: float) -> float:
    return value if np.isfinite(value) else 0.0
