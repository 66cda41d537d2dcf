"""Finished rows per second and core, against pretty_midi's own fluidsynth().

    python -m keybed.experiments.benchmarks.bench_render ../shared/data/maestro-mini            2 min
    python -m keybed.experiments.benchmarks.bench_render ../shared/data/maestro-mini --quick    15 s

A finished row is cut, degraded, rendered with 2 s of pre-roll by a fresh synthesiser, and gets its noise and loudness.
The plain way is pretty_midi.PrettyMIDI.fluidsynth() on the same window at the same rate: it reads the
soundfont for every row, renders 16-bit, and has neither pre-roll nor degradation nor loudness. CPU seconds of this
process are counted, both ways by turns, so that a busy machine slows both. Goal: 12 rows per second.
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
from keybed.extract.music.midi import read_midi
from keybed.store.format.vocabulary import TIERS, Status

GOAL_ROWS_PER_S = 12.0
WINDOW_S = 10.0


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
    rows: int = 0


def measure(config: Config) -> Times:
    """Time both ways on the same rows."""
    files = sorted([*config.midi_dir.rglob("*.midi"), *config.midi_dir.rglob("*.mid")])
    chosen = files[:: max(len(files) // config.recordings, 1)][: config.recordings]
    renderer, times = Renderer(), Times()
    for recording, path in enumerate(chosen):
        performance = read_midi(path)
        begun = time.process_time()
        prepared = prepare(performance)
        times.prepare_s += time.process_time() - begun
        last = max(float(performance.offset_s[-1]) - WINDOW_S, 0.1)
        for start_s in np.random.default_rng(recording).uniform(0, last, config.segments):
            _one_segment(prepared, recording, float(start_s), renderer, times)
    return times


def _one_segment(prepared: PreparedRecording, recording: int, start_s: float, renderer: Renderer, times: Times) -> None:
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
    milliseconds = {"prepare": t.prepare_s, "degrade": t.degrade_s, "render": t.render_s, "pretty_midi": t.plain_s}
    print(
        f"{t.rows} rows; CPU ms per row: " + ", ".join(f"{k} {1000 * v / t.rows:.1f}" for k, v in milliseconds.items())
    )
    print(f"{t.rows / ours:.1f} finished rows/s/core; pretty_midi.fluidsynth {t.rows / t.plain_s:.1f} rows/s/core")
    print(f"ratio to pretty_midi.fluidsynth: {t.plain_s / ours:.2f}")
    print(goal_line("finished rows per second and core", t.rows / ours, GOAL_ROWS_PER_S, "at least"))


if __name__ == "__main__":
    main()
