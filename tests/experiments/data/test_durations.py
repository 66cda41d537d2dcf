"""Durations against a slow count in small steps, and against what the expressive encoder measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.durations import durations, of_notes
from keybed.experiments.evaluation.shortcuts import columns
from keybed.extract.degrade.excerpt import prepare
from keybed.extract.degrade.variant import make_variant
from keybed.extract.music.notes_file import load_notes
from keybed.store.format.vocabulary import LEVELS, TIERS


def test_seconds_that_sound_against_small_steps() -> None:
    rng = np.random.default_rng(0)
    step_s = np.arange(0.0005, 10, 0.001)
    for n in (0, 1, 5, 20):
        onset = np.sort(rng.uniform(-3, 12, n))
        offset = onset + rng.uniform(0.05, 3, n)
        sounds = ((onset[:, None] <= step_s) & (step_s < offset[:, None])).any(axis=0)
        share, length = of_notes(onset, offset, 10.0)
        assert share == pytest.approx(sounds.mean(), abs=2e-3)
        inside = (onset >= 0) & (onset < 10)
        if inside.any():
            assert length == pytest.approx(np.mean(np.log2((offset - onset)[inside])))


def test_a_segment_s_variants_share_the_duration_of_the_untouched_notes(make_store: Callable[..., Path]) -> None:
    opened = stores.open(make_store(3, 4))
    rows = opened.rows()
    duration_s = durations(opened, rows)
    for segment in np.unique(rows.segment):
        mine = np.flatnonzero(rows.segment == segment)
        notes = load_notes(opened.notes_path(int(rows.recording[mine[0]])))
        start_s = rows.start_s[mine[0]]
        expected = of_notes(notes.onset_s - start_s, notes.offset_s - start_s, 10.0)
        assert (duration_s[mine] == expected).all()
    assert columns(rows, duration_s)["duration"].shape == (len(rows), 2)


@pytest.mark.slow
def test_the_expressive_encoder_tells_them_of_every_variant(keybed, tiny_maestro: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    keybed("plan", tiny_maestro, path, "--encoders", "expressive", "--limit", "6", "--profile", "tiered", "--jobs", "1")
    keybed("extract", path, "--workers", "0")
    opened = stores.open(path)
    rows = opened.rows()
    duration_s = durations(opened, rows)
    poor = rows.tier == TIERS.index("poor")
    for i in np.flatnonzero(rows.tier == TIERS.index("pristine")):
        recorded = load_notes(opened.notes_path(int(rows.recording[i])))
        start_s = float(rows.start_s[i])
        row = make_variant(
            prepare(recorded),
            start_s,
            10.0,
            np.zeros(len(LEVELS), np.float32),
            seed=int(opened.recipe.degradation["seed"]),
            recording_id=int(rows.recording[i]),
            tier=TIERS.index("pristine"),
        ).performance
        share, length = of_notes(row.onset_s, row.offset_s, 10.0)
        assert duration_s[i, 1] == pytest.approx(length, abs=5e-3)
        assert share - 0.01 <= duration_s[i, 0] <= 1, "the pedal only adds"
        # Keys that rise too late for their next stroke are released earlier in all rows, pristine ones too.
        _, recorded_length = of_notes(recorded.onset_s - start_s, recorded.offset_s - start_s, 10.0)
        assert length == pytest.approx(recorded_length, abs=0.1)
        assert (duration_s[poor & (rows.segment == rows.segment[i])] != duration_s[i]).any(), (
            "a variant has durations of its own"
        )
