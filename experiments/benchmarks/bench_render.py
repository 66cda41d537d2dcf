"""CPU milliseconds per row of each step that makes a row, against the earlier ways and pretty_midi's own fluidsynth().

    python -m keybed.experiments.benchmarks.bench_render ../shared/data/maestro-mini            3 min
    python -m keybed.experiments.benchmarks.bench_render ../shared/data/maestro-mini --quick    20 s

A finished row is cut, degraded, rendered with 2 s of pre-roll, gets its noise and loudness, is hashed and encoded by the two
baselines. Before: beats tracked frame by frame, FluidSynth for every row, filtered noise, logmel step by step.
pretty_midi.PrettyMIDI.fluidsynth() on the same window reads the soundfont for every row, and has neither pre-roll nor
degradation nor loudness. CPU seconds of this process are counted, all ways by turns, so that a busy machine slows all.
Of `expressive`, before means the 28 channels of its code version 3. Goals: 450 rows/s on 14 cores, which is 32 rows per second and
core; a bank four times as fast as FluidSynth; at most 4 ms for the later channels of `expressive`, and for those that `expected`
adds, whose time does not count among a row's.
"""

from __future__ import annotations

import argparse
import hashlib
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from keybed.experiments.benchmarks import render_before
from keybed.experiments.goal import goal_line
from keybed.extract.audio import note_sum
from keybed.extract.audio.bank_files import bank_for
from keybed.extract.audio.note_bank import NoteBank, load_bank
from keybed.extract.audio.render import default_soundfont, opened_soundfont, sum_performance, synthesise
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, normalised_row
from keybed.extract.degrade import PreparedRecording, Variant, draw_levels, make_variant, prepare
from keybed.extract.degrade.tone import add_noise
from keybed.extract.encoders import blas, build, describe
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.baselines import expressive
from keybed.extract.music import beats
from keybed.extract.music.midi import read_midi
from keybed.extract.processes import keep_freed_memory
from keybed.store.format.vocabulary import TIERS, Status

GOAL_ROWS_PER_S = 32.0
GOAL_BANK = 4.0
GOAL_LATER_CHANNELS_MS = GOAL_EXPECTED_MS = 4.0
WINDOW_S, N_BINS = 10.0, 20
T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """midi_dir: any folder of MIDI files. recordings: how many of them. segments: windows of each, four rows per window."""

    midi_dir: Path
    recordings: int = 24
    segments: int = 4


@dataclass
class Times:
    """CPU seconds of each step now and before, of pretty_midi and of the encoder `expected`, and the number of rows."""

    now: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    before: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    pretty_midi: float = 0.0
    expected: float = 0.0
    rows: int = 0


def _timed(times: dict[str, float], step: str, work: Callable[[], T]) -> T:
    begun = time.process_time()
    result = work()
    times[step] += time.process_time() - begun
    return result


class Bench:
    """Makes rows both ways and counts their time."""

    def __init__(self) -> None:
        soundfont = default_soundfont()
        self.bank: NoteBank = load_bank(bank_for(soundfont, WINDOW_S).path)
        self.soundfont = opened_soundfont(soundfont)
        names = ("logmel", "expressive")
        self.encoders = {name: build(*describe(name, n_bins=N_BINS, window_s=WINDOW_S, threads=1)) for name in names}
        self.expected = build(*describe("expected", weights="random", n_bins=N_BINS, window_s=WINDOW_S))

    def segment(self, prepared: PreparedRecording, recording: int, start_s: float, times: Times) -> None:
        """All tiers of one window."""
        for way in (times.before, times.now):
            with _slow_beats() if way is times.before else _nothing():
                excerpt = prepare(prepared.performance)  # without the excerpt that the other way has cut
                variants = _timed(way, "cut, degrade", lambda p=excerpt: self._variants(p, recording, start_s))  # type: ignore[misc]
        for variant in variants:
            if variant.status == Status.OK:
                self._row(variant, times)
                times.rows += 1

    def _variants(self, prepared: PreparedRecording, recording: int, start_s: float) -> list[Variant]:
        return [
            make_variant(
                prepared,
                start_s,
                WINDOW_S,
                draw_levels(0, recording, start_s, tier, "mixed"),
                seed=0,
                recording_id=recording,
                tier=tier,
            )
            for tier in range(len(TIERS))
        ]

    def _sum(self, variant: Variant) -> tuple[np.ndarray, int]:
        pre_roll = variant.noise.band_hz is not None
        return sum_performance(variant.performance, WINDOW_S, self.bank, pre_roll=pre_roll)

    def _row(self, variant: Variant, times: Times) -> None:
        now, before = times.now, times.before
        played, lead = _timed(
            before, "notes to sound", lambda: synthesise(variant.performance, WINDOW_S, self.soundfont)
        )
        sound, lead_now = _timed(now, "notes to sound", lambda: self._sum(variant))
        _timed(before, "tone", lambda: render_before.add_noise(played, lead, variant.noise, SAMPLE_RATE_HZ))
        noisy = _timed(now, "tone", lambda: add_noise(sound, lead_now, variant.noise, SAMPLE_RATE_HZ))
        row = _timed(now, "normalise, hash", lambda: normalised_row(variant, noisy))
        _timed(now, "normalise, hash", lambda: hashlib.sha256(row.audio.data).hexdigest())
        clip = Clip(row.audio, variant.performance, WINDOW_S)
        _timed(before, "logmel", lambda: render_before.logmel_features(row.audio, N_BINS, WINDOW_S))
        _timed(before, "expressive", lambda: render_before.expressive_features(variant.performance, N_BINS, WINDOW_S))
        for name, encoder in self.encoders.items():
            _timed(now, name, lambda e=encoder: e.encode([clip]))  # type: ignore[misc]
        begun = time.process_time()
        self.expected.encode([clip])
        encoded = time.process_time()
        _render_with_pretty_midi(variant)
        times.expected += encoded - begun
        times.pretty_midi += time.process_time() - encoded


@contextmanager
def _slow_beats() -> Iterator[None]:
    fast = beats._best_paths
    beats._best_paths = render_before.best_paths
    try:
        yield
    finally:
        beats._best_paths = fast


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def measure(config: Config) -> Times:
    """Time all ways on the same rows."""
    files = sorted([*config.midi_dir.rglob("*.midi"), *config.midi_dir.rglob("*.mid")])
    chosen = files[:: max(len(files) // config.recordings, 1)][: config.recordings]
    bench, times = Bench(), Times()
    bench.segment(prepare(read_midi(chosen[0])), 0, 5.0, Times())  # warm up
    for recording, path in enumerate(chosen):
        performance = read_midi(path)
        prepared = prepare(performance)
        last = max(float(performance.offset_s[-1]) - WINDOW_S, 0.1)
        for start_s in np.random.default_rng(recording).uniform(0, last, config.segments):
            bench.segment(prepared, recording, float(start_s), times)
    return times


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
    """Print the times and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("midi_dir", type=Path)
    parser.add_argument("--quick", action="store_true", help="a few rows, to see that it runs")
    given = parser.parse_args()
    keep_freed_memory()
    for module in (note_sum, expressive):
        module.use_compiled_loops()
    with blas.one_thread():
        t = measure(Config(given.midi_dir, 4, 1) if given.quick else Config(given.midi_dir))
    print(f"{t.rows} rows; CPU ms per row: now, and before where it was another way")
    for step, seconds in t.now.items():
        earlier = f"{1000 * t.before[step] / t.rows:8.2f}" if step in t.before else ""
        print(f"  {step:16s}{1000 * seconds / t.rows:8.2f}{earlier}")
    total = sum(t.now.values())
    total_before = sum(t.before.get(step, seconds) for step, seconds in t.now.items())
    print(f"  {'all':16s}{1000 * total / t.rows:8.2f}{1000 * total_before / t.rows:8.2f}")
    print(f"pretty_midi.fluidsynth alone: {1000 * t.pretty_midi / t.rows:.1f} ms per row")
    faster = t.before["notes to sound"] / t.now["notes to sound"]
    print(goal_line("note bank over FluidSynth", faster, GOAL_BANK, "at least"))
    print(goal_line("finished and encoded rows per second and core", t.rows / total, GOAL_ROWS_PER_S, "at least"))
    later_ms = 1000 * (t.now["expressive"] - t.before["expressive"]) / t.rows
    print(goal_line("ms per row of the later channels of expressive", later_ms, GOAL_LATER_CHANNELS_MS, "at most"))
    expected_ms = 1000 * (t.expected - t.now["expressive"]) / t.rows
    print(goal_line("ms per row of the channels that expected adds", expected_ms, GOAL_EXPECTED_MS, "at most"))


if __name__ == "__main__":
    main()
