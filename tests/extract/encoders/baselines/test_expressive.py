from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.baselines import expressive
from keybed.extract.encoders.baselines.expressive import CHANNELS, FAMILIES, event_stats
from keybed.extract.encoders.baselines.note_features import (
    LIFT_CHANNELS,
    NOTE_CHANNELS,
    lift_measures,
    note_measures,
)
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import Performance
from tests.extract.encoders.baselines.notes import Note, performance, scale


def of_notes(notes: Sequence[Note], pedal: Sequence[tuple[float, int]] = ()) -> dict[str, np.ndarray]:
    return dict(zip(NOTE_CHANNELS, note_measures(performance(notes, pedal), 10.0)[1].T, strict=True))


def test_a_steady_legato_scale_has_nothing_to_tell() -> None:
    measures = of_notes(scale())
    np.testing.assert_allclose(measures["velocity"], 70)
    for name in ("velocity_deviation", "voicing", "pulse_deviation_ms", "chord_spread_ms", "length_ratio_log2"):
        np.testing.assert_allclose(measures[name], 0, atol=1e-9)
    np.testing.assert_allclose(measures["ioi_log2"][1:], -1)
    np.testing.assert_allclose(measures["length_log2"], -1)
    np.testing.assert_allclose(measures["overlap_s"], 0, atol=1e-9)


def test_one_late_note_is_late_by_what_it_is_late() -> None:
    notes = scale()
    onset, offset, *rest = notes[8]
    notes[8] = (onset + 0.02, offset + 0.02, *rest)
    deviation = of_notes(notes)["pulse_deviation_ms"]
    assert deviation[8] == pytest.approx(20)
    # Its neighbours stand between one steady and one moved note: half of it, the other way.
    assert deviation[[7, 9]] == pytest.approx([-10, -10])
    assert deviation[[5, 6, 10, 11]] == pytest.approx(0, abs=1e-9)


def test_dotted_and_triplet_rhythms_are_steady_too() -> None:
    onsets = np.cumsum([1, 0.3, 0.1, 0.3, 0.1, 0.2, 0.1, 0.2, 0.1])
    notes = [(float(t), float(t) + 0.1, 60, 64) for t in onsets]
    np.testing.assert_allclose(of_notes(notes)["pulse_deviation_ms"][[1, 2, 3, 6, 7]], 0, atol=1e-9)


def test_staccato_and_overlap() -> None:
    assert of_notes(scale(length_s=0.25))["length_ratio_log2"][:-1] == pytest.approx(-1)
    overlapping = of_notes(scale(length_s=0.6))
    assert overlapping["overlap_s"][:-1] == pytest.approx(0.1)
    assert overlapping["length_ratio_log2"][:-1] == pytest.approx(np.log2(1.2))


def test_uneven_lengths_show_as_jumps() -> None:
    notes = [(on, on + (0.5 if i % 2 else 0.25), pitch, v) for i, (on, _, pitch, v) in enumerate(scale())]
    assert of_notes(notes)["length_jump_log2"][1:-1] == pytest.approx(1)


def test_chords_spread_and_voicing() -> None:
    measures = of_notes([(2.0, 3, 48, 50), (2.01, 3, 55, 50), (2.02, 3, 64, 80), (4.0, 5, 60, 60)])
    assert measures["chord_spread_ms"] == pytest.approx([0, 10, 20, 0])
    assert measures["voicing"] == pytest.approx([-10, -10, 20, 0])
    assert measures["ioi_log2"][3] == pytest.approx(1)


def test_accents_stand_out_of_the_trend_and_a_swell_does_not() -> None:
    swell = [(on, off, p, 40 + 3 * i) for i, (on, off, p, _) in enumerate(scale())]
    measures = of_notes(swell)
    assert np.ptp(measures["velocity_trend"]) > 25
    assert np.abs(measures["velocity_deviation"][4:-4]).max() < 2
    swell[8] = (*swell[8][:3], swell[8][3] + 30)
    assert of_notes(swell)["velocity_deviation"][8] > 20


def test_clashes_count_held_keys_at_semitones_sevenths_and_ninths() -> None:
    held = [(1.0, 9.0, 60, 64)]
    for pitch, clash in ((61, 1), (71, 1), (73, 1), (62, 0), (72, 0), (59, 1)):
        assert of_notes([*held, (3.0, 4.0, pitch, 64)])["clash"].tolist() == [0, clash]
    assert of_notes([(1.0, 2.0, 60, 64), (3.0, 4.0, 61, 64)])["clash"].tolist() == [0, 0]


def test_pedal_depth_lag_and_lifts() -> None:
    pedal = [(0.0, 100), (2.1, 10), (2.3, 90), (4.0, 40), (4.2, 0)]
    notes = performance([(2.0, 2.2, 60, 64), (4.5, 5, 62, 64)], pedal)
    assert pedal_at(notes.pedal_s, notes.pedal_value, np.array([-1.0, 0.0, 2.2, 2.3, 9.9])).tolist() == [
        0,
        100,
        10,
        90,
        0,
    ]
    measures = of_notes([(2.0, 2.2, 60, 64), (4.5, 5, 62, 64)], pedal)
    assert measures["pedal_at_onset"] == pytest.approx([100 / 127, 0])
    assert measures["pedal_lag_s"] == pytest.approx([0.3, 1.0])
    lift_s, lifts = lift_measures(notes, 10.0)
    assert lift_s.tolist() == [2.1, 4.0]
    assert dict(zip(LIFT_CHANNELS, lifts.T, strict=True))["lift_to_onset_s"] == pytest.approx([0.1, -0.5])
    assert lifts[:, 1] == pytest.approx([10 / 127, 0])


def encode(notes: Performance, n_bins: int = 20) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    pooled = build(*describe("expressive", n_bins=n_bins, window_s=10.0)).encode(
        [Clip(np.zeros(0, np.float32), notes, 10.0)]
    )
    mean, sd = pooled.frames[0, :, 0].T, pooled.frames[0, :, 1].T
    return dict(zip(CHANNELS, mean, strict=True)), dict(zip(CHANNELS, sd, strict=True)), pooled.mask[0]


def test_rates_holds_and_rests_on_the_grid() -> None:
    mean, sd, mask = encode(
        performance([(0.0, 0.25, 60, 60), (0.1, 0.25, 64, 80), (5.2, 5.9, 60, 90)], [(8.0, 127), (8.5, 0)])
    )
    assert mean["note_rate_hz"][[0, 1, 10]].tolist() == [4, 0, 2]
    assert (mean["velocity"][0], sd["velocity"][0]) == (70, 10)
    assert mean["held_keys"][0] == pytest.approx((0.25 + 0.15) / 0.5)
    # Bin 1 is empty, so it is masked and 0, resting or not.
    assert mean["rest"][[0, 1, 11, 16]] == pytest.approx([0.5, 0, 0.2, 0])
    assert mean["pedal_down"][16] == 1
    assert mean["pedal_travel_hz"][[16, 17]] == pytest.approx([0, 2])
    assert np.flatnonzero(mask).tolist() == [0, 10, 11, 16, 17]


def test_notes_of_the_pre_roll_shape_the_window_but_are_not_in_it() -> None:
    measures = note_measures(performance([(-0.5, 0.5, 61, 64), (0.0, 1, 60, 64)]), 10.0)[1]
    assert measures.shape == (1, len(NOTE_CHANNELS))
    assert measures[0, NOTE_CHANNELS.index("ioi_log2")] == -1
    assert measures[0, NOTE_CHANNELS.index("clash")] == 1


def test_what_midiberts_tokens_lose_is_seen_here() -> None:
    """Velocity, pedal and 30 ms of timing change no token that this sees: every one of the three moves this encoder."""
    steady = encode(performance(scale()))[0]
    louder = encode(performance(scale(velocity=90)))[0]
    pedalled = encode(performance(scale(), [(0.5, 100)]))[0]
    jittered = [(on + 0.03 * (i % 2), off, p, v) for i, (on, off, p, v) in enumerate(scale())]
    assert (louder["velocity"] - steady["velocity"]).max() == 20
    assert pedalled["pedal_depth"].max() > 0.7
    assert encode(performance(jittered))[0]["pulse_deviation_abs_ms"].max() == pytest.approx(30, abs=0.1)


def test_every_channel_is_in_one_family_and_once_in_the_table_of_the_docs() -> None:
    assert sorted(name for family in FAMILIES.values() for name in family) == sorted(CHANNELS)
    assert len(set(CHANNELS)) == len(CHANNELS) == 141
    assert len(FAMILIES["first"]) == 28
    page = (Path(__file__).parents[4] / "docs/expressive.md").read_text("utf-8")
    documented = [
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w.]+)`", line.split("|")[1])
    ]
    assert sorted(documented) == sorted(CHANNELS)


@pytest.mark.parametrize(
    ("notes", "pedal"),
    [
        (scale(3), []),
        (scale(1), []),
        ([], []),
        ([], [(1.0, 127), (2.0, 0)]),
        (scale(17, velocity=64), []),
        (scale(17), [(-2.0, 127)]),
        ([(1 + i / 10, 1.05 + i / 10, 40 + 7 * i % 60, 64) for i in range(80)], [(0.5, 64), (9.9, 63)]),
        ([(2.0, 2.0004, 60 + i, 1 + i) for i in range(40)], []),
        ([(-1.9, 12.0, 50, 90), (9.9999999, 11.0, 60, 1)], []),
    ],
    ids=["3 notes", "1 note", "nothing", "pedal alone", "one velocity", "pedal held", "no key", "one instant", "edges"],
)
def test_too_little_to_measure_gives_finite_and_neutral_numbers(
    notes: list[Note], pedal: list[tuple[float, int]]
) -> None:
    clip = Clip(np.zeros(0, np.float32), performance(notes, pedal), 10.0)
    pooled = build(*describe("expressive", n_bins=20, window_s=10.0)).encode([clip])
    assert np.isfinite(pooled.layers).all()
    assert np.isfinite(pooled.frames).all()
    window = dict(zip(CHANNELS, pooled.layers[0, 0, 0], strict=True))
    if len(notes) < 3:
        assert all(window[name] == 0 for name in ("surprise_p90", "trend_sd_1s_log2", "length_residual_log_sd"))
    if not pedal:
        assert all(
            window[name] == 0 for name in CHANNELS if name.startswith(("pedal_gap", "pedal_hold", "lift_with", "hold_"))
        )
    assert not pooled.frames[0][~pooled.mask[0]].any()


def test_frames_hold_the_windows_measure_beside_each_contexts() -> None:
    notes = [(on, off, p, 40 + 3 * i) for i, (on, off, p, _) in enumerate(scale())]
    mean, second, mask = encode(performance(notes))
    assert np.unique(second["trend_range_0.5s_log2"][mask]).size == 1
    assert mean["trend_range_0.5s_log2"][mask].max() < second["trend_range_0.5s_log2"][mask][0]


note = st.tuples(st.floats(-2, 9.99), st.floats(0.01, 5), st.integers(21, 108), st.integers(1, 127))


@settings(deadline=None, max_examples=50)
@given(st.lists(note, max_size=60), st.lists(st.tuples(st.floats(-2, 10), st.integers(0, 127)), max_size=20))
def test_any_performance_gives_finite_numbers_and_whole_windows_agree_with_bins(
    notes: list[tuple[float, float, int, int]], pedal: list[tuple[float, int]]
) -> None:
    rows = sorted(((on, on + length, p, v) for on, length, p, v in notes), key=lambda n: (n[0], n[2]))
    clip = Clip(np.zeros(0, np.float32), performance(rows, sorted(pedal)), 10.0)
    pooled = build(*describe("expressive", n_bins=5, window_s=10.0)).encode([clip])
    assert np.isfinite(pooled.layers).all()
    assert np.isfinite(pooled.frames).all()
    rate = CHANNELS.index("note_rate_hz")
    inside = sum(0 <= on < 10 for on, *_ in rows)
    assert pooled.frames[0, :, 0, rate].sum() * 2 == pytest.approx(inside)
    assert pooled.layers[0, 0, 0, rate] * 10 == pytest.approx(inside, abs=1e-4)


def test_compiled_loops_give_the_bytes_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(expressive, "_event_stats", event_stats)
    assert expressive.use_compiled_loops()
    assert expressive._event_stats is not event_stats
    rng = np.random.default_rng(0)
    for n_events, n_channels in ((0, 3), (1, 2), (9, 2), (130, 42), (1000, 5), (301, 141)):
        values = 100 * rng.standard_normal((n_events, n_channels))
        edges = np.arange(21) * 0.5
        times = np.sort(np.concatenate([edges, rng.uniform(-0.1, 10.1, n_events)])[:n_events])
        plain, compiled = (stats(values, times, 20, 10.0) for stats in (event_stats, expressive._event_stats))
        for one, other in zip(plain, compiled, strict=True):
            assert one.tobytes() == other.tobytes()


def test_without_numba_the_loops_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressive, "_event_stats", event_stats)
    monkeypatch.setitem(sys.modules, expressive.KERNEL, None)
    assert not expressive.use_compiled_loops()
    assert expressive._event_stats is event_stats
