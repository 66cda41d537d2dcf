"""Finished rows per second and core, against pretty_midi's own fluidsynth().

    python -m keybed.experiments.benchmarks.bench_render ../shared/data/maestro-mini            2 min
    python -m keybed.experiments.benchmarks.bench_render ../shared/data/maestro-mini --quick    15 s

A finished row is cut, degraded, rendered with 2 s of pre-roll by a fresh synthesiser, and gets its noise and loudness.
The plain way is pretty_midi.PrettyMIDI.fluidsynth() on the same window at the same rate: it reads the
soundfont for every row, renders 16-bit, and has neither pre-roll nor degradation nor loudness. CPU seconds of this
process are counted, both ways by turns, so that a busy machine slows both. Goal: 12 rows per second.

The `expressive` encoder runs in the same workers, so its cost is measured on the same rows: all of its channels, and by turns the
28 of its code version 3 alone. Goal: the others take at most 4 ms.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keybed.experiments.goal import goal_line
from keybed.extract.audio.render import Renderer
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade import PreparedRecording, Variant, draw_levels, make_variant, prepare
from keybed.extract.encoders import build, describe, pooling
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.encoders.baselines import note_features
from keybed.extract.music.midi import read_midi
from keybed.store.format.vocabulary import TIERS, Status

GOAL_ROWS_PER_S = 12.0
GOAL_NEW_CHANNELS_MS = 4.0
WINDOW_S = 10.0
N_BINS = 20


@dataclass(frozen=True)
class Config:
    """midi_dir: any folder of MIDI files. recordings: how many of them. segments: windows of each, four rows per window."""

    midi_dir: Path
    recordings: int = 24
    segments: int = 4


@dataclass
class Times:
    """CPU seconds of each step, and the number of rows."""

    prepare_s: float = 0.0
    degrade_s: float = 0.0
    render_s: float = 0.0
    plain_s: float = 0.0
    expressive_s: float = 0.0
    first_channels_s: float = 0.0
    rows: int = 0


def measure(config: Config) -> Times:
    """Time both ways on the same rows."""
    files = sorted([*config.midi_dir.rglob("*.midi"), *config.midi_dir.rglob("*.mid")])
    chosen = files[:: max(len(files) // config.recordings, 1)][: config.recordings]
    renderer, times = Renderer(), Times()
    expressive = build(*describe("expressive", n_bins=N_BINS, window_s=WINDOW_S))
    for recording, path in enumerate(chosen):
        performance = read_midi(path)
        begun = time.process_time()
        prepared = prepare(performance)
        times.prepare_s += time.process_time() - begun
        last = max(float(performance.offset_s[-1]) - WINDOW_S, 0.1)
        clips: list[Clip] = []
        for start_s in np.random.default_rng(recording).uniform(0, last, config.segments):
            clips += _one_segment(prepared, recording, float(start_s), renderer, times)
        _encode(expressive, clips, times)
    return times


def _encode(expressive: Encoder, clips: list[Clip], times: Times) -> None:
    t0 = time.process_time()
    expressive.encode(clips)
    t1 = time.process_time()
    for clip in clips:
        _first_channels(clip)
    times.first_channels_s += time.process_time() - t1
    times.expressive_s += t1 - t0


def _first_channels(clip: Clip) -> None:
    """The 28 channels of code version 3, pooled as that version pooled them."""
    for time_s, values in (
        note_features.note_measures(clip.performance, WINDOW_S),
        note_features.lift_measures(clip.performance, WINDOW_S),
        note_features.step_measures(clip.performance, WINDOW_S),
    ):
        pooling.time_stats(values)
        pooling.bin_stats(values, pooling.note_bins(time_s, N_BINS, WINDOW_S), N_BINS)
    pooling.time_stats(note_features.bin_rates(clip.performance, N_BINS, WINDOW_S))


def _one_segment(
    prepared: PreparedRecording, recording: int, start_s: float, renderer: Renderer, times: Times
) -> list[Clip]:
    """Make, render and time the four variants of one window; returns them as clips."""
    clips = []
    for tier in range(len(TIERS)):
        t0 = time.process_time()
        level = draw_levels(0, recording, start_s, tier, "mixed")
        variant = make_variant(prepared, start_s, WINDOW_S, level, seed=0, recording_id=recording, tier=tier)
        if variant.status != Status.OK:
            continue
        t1 = time.process_time()
        renderer.render(variant, WINDOW_S)
        t2 = time.process_time()
        _render_with_pretty_midi(variant)
        times.degrade_s += t1 - t0
        times.render_s += t2 - t1
        times.plain_s += time.process_time() - t2
        times.rows += 1
        clips.append(Clip(np.zeros(0, np.float32), variant.performance, WINDOW_S))
    return clips


def _render_with_pretty_midi(variant: Variant) -> None:
    """The alternative: render the variant's window with pretty_midi alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pretty_midi
    p = variant.performance
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0)
    inside = p.onset_s >= 0
    for on, off, pitch, velocity in zip(
        p.onset_s[inside], np.minimum(p.offset_s[inside], WINDOW_S), p.pitch[inside], p.velocity[inside], strict=True
    ):
        piano.notes.append(pretty_midi.Note(int(velocity), int(pitch), float(on), float(off)))
    for when, value in zip(p.pedal_s, p.pedal_value, strict=True):
        if 0 <= when < WINDOW_S:
            piano.control_changes.append(pretty_midi.ControlChange(64, int(value), float(when)))
    midi.instruments.append(piano)
    midi.fluidsynth(fs=SAMPLE_RATE_HZ)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("midi_dir", type=Path)
    parser.add_argument("--quick", action="store_true", help="a few rows, to see that it runs")
    given = parser.parse_args()
    config = Config(given.midi_dir, 4, 1) if given.quick else Config(given.midi_dir)
    _one_segment(prepare(read_midi(next(given.midi_dir.rglob("*.mid*")))), 0, 5.0, Renderer(), Times())
    t = measure(config)
    ours = t.prepare_s + t.degrade_s + t.render_s
    milliseconds = {
        "prepare": t.prepare_s,
        "degrade": t.degrade_s,
        "render": t.render_s,
        "pretty_midi": t.plain_s,
        "expressive": t.expressive_s,
        "its first 28 channels": t.first_channels_s,
    }
    print(
        f"{t.rows} rows; CPU ms per row: " + ", ".join(f"{k} {1000 * v / t.rows:.1f}" for k, v in milliseconds.items())
    )
    print(f"{t.rows / ours:.1f} finished rows/s/core; pretty_midi.fluidsynth {t.rows / t.plain_s:.1f} rows/s/core")
    print(f"ratio to pretty_midi.fluidsynth: {t.plain_s / ours:.2f}")
    print(goal_line("finished rows per second and core", t.rows / ours, GOAL_ROWS_PER_S, "at least"))
    new_ms = 1000 * (t.expressive_s - t.first_channels_s) / t.rows
    print(goal_line("ms per row of the later channels of expressive", new_ms, GOAL_NEW_CHANNELS_MS, "at most"))


if __name__ == "__main__":
    main()
