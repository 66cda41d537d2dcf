"""Scores made by hand, for the pages."""

from __future__ import annotations

import numpy as np

from keybed.experiments.data.run_facts import EncoderFacts
from keybed.experiments.scoring.results import (
    Compared,
    ComparingCard,
    Comparison,
    DimensionCard,
    DimensionScore,
    DistanceCard,
    FailedFile,
    LookedAt,
    ModelCard,
    PairedPassage,
    ScoredFile,
    ScoredMusic,
    ScoreRecord,
    ScoreResults,
    WholeScore,
    WindowScores,
)
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import DIMENSIONS

CLICK_S = 7.0
"""The one loud sound of the made recording; a note is struck there."""


def card() -> ModelCard:
    known = DimensionCard(covered=0.91, least_covered=0.72, width=22.0, known_nothing_width=41.0, specific_r=0.55)
    return ModelCard(
        run="p2",
        phase=2,
        verdict="NO-GO",
        head="gated",
        features="raw",
        n_seeds=5,
        store="ab" * 32,
        encoders=(
            EncoderFacts("logmel", "audio", "none", False, ""),
            EncoderFacts("expressive", "midi", "none", False, ""),
        ),
        audio_source="rendered",
        window_s=10.0,
        degradation_version=4,
        train_pieces=60,
        validation_pieces=10,
        test_pieces=12,
        coverage=0.9,
        dimensions=dict.fromkeys(DIMENSIONS, known),
        distance=DistanceCard("Mahalanobis", 0.01, {"audio": 3.0, "midi": 4.0}),
        keybed_version="0.1.0",
        comparing=dict.fromkeys(DIMENSIONS, ComparingCard(covered=0.88, width=31.0, specific_r=0.74)),
    )


def cell(score: float | None, reason=None) -> DimensionScore:
    return DimensionScore(None, None, None, reason) if score is None else DimensionScore(score, score - 9, score + 8)


def scored(name: str, seconds: float = 40.0, shift: float = 0.0) -> tuple[ScoredFile, ScoredMusic]:
    """Scores fall over the recording and rise at its end; pedal is not judged in the first half."""
    starts = np.arange(0.0, seconds - 9.9, 2.0)
    windows = []
    for w, start in enumerate(starts):
        score = float(90 - 2 * w + (20 if w == len(starts) - 1 else 0) + shift)
        scores = {dimension: cell(score) for dimension in DIMENSIONS}
        if start < seconds / 2:
            scores["pedal_technique"] = cell(None, "few pedal lifts")
        windows.append(WindowScores(float(start), float(start) + 10, 30, 0.4, scores))
    whole = {
        d: WholeScore(80.0 + shift, 70.0 + shift, 88.0 + shift, sum(w.scores[d].judged for w in windows))
        for d in DIMENSIONS
    }
    onset = np.sort(np.append(np.arange(0.25, seconds - 1, 0.5), CLICK_S))
    pitch = (60 + 7 * np.arange(onset.size) % 24).astype(np.int16)
    velocity = (40 + 5 * np.arange(onset.size) % 70).astype(np.int16)
    pedal_s = np.arange(0.0, seconds, 1.0)
    value = np.where(np.arange(pedal_s.size) % 2, 0, 100).astype(np.int16)
    music = Performance(onset, onset + 0.4, pitch, velocity, pedal_s, value)

    def sound(start_s: float, end_s: float) -> np.ndarray:
        t = start_s + np.arange(round((end_s - start_s) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        loud = (t >= CLICK_S) & (t < CLICK_S + 0.05)
        return np.where(loud, 0.5 * np.sin(2 * np.pi * 440 * t), 1e-4 * np.sin(2 * np.pi * 110 * t)).astype(np.float32)

    n = len(windows)
    gate = np.stack([np.full((n, 8), 0.7), np.full((n, 8), 0.3)], axis=1).astype(np.float32)
    pooling = np.tile(np.arange(1, 21) / 210, (n, 1)).astype(np.float32)
    cross = np.tile(np.eye(20, dtype=np.float32), (n, 1, 1))
    looked = LookedAt(gate, pooling, pooling[:, ::-1], cross, cross)
    file = ScoredFile(
        name, f"/music/{name}", None, "midi", "0" * 64, seconds, int(onset.size), tuple(windows), whole, ("A remark.",)
    )
    return file, ScoredMusic(music, sound, looked)


def make_results(*names: str, failed: tuple[FailedFile, ...] = ()) -> ScoreResults:
    """The recordings of these names, each 3 points below the one before; the first is compared with the others."""
    made = [scored(name, shift=-3.0 * k) for k, name in enumerate(names)]
    difference = dict.fromkeys(DIMENSIONS, -3.0)
    compared = dict.fromkeys(DIMENSIONS, Compared(-7.0, -22.0, 8.0))
    passages = tuple(PairedPassage(2.0 * w, 2.0 * w, 1.0, difference, compared) for w in range(16))
    counts, better = dict.fromkeys(DIMENSIONS, 16), dict.fromkeys(DIMENSIONS, 2)
    comparisons = tuple(
        Comparison(names[0], name, passages, difference, counts, "", compared, counts, better) for name in names[1:]
    )
    record = ScoreRecord(card(), 2.0, tuple(f for f, _ in made), failed, comparisons, 1.0)
    return ScoreResults(record, tuple(m for _, m in made))
