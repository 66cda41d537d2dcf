"""What `keybed score` says of unusual input: the same music at 8 kHz, out of tune, on another piano, between silences, for hours.

    python -m keybed.experiments.audits.score_inputs RUN                    a minute of one test recording, about 2 minutes
    python -m keybed.experiments.audits.score_inputs RUN --hours 3          and hours of sound, with the memory that they take

Every line is one input: windows, the share of judged cells (windows × dimensions) without those that the rows' own rules leave
out, the share of windows that lie outside the training data, their median distance, and the scores of the whole file.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.audits.score_meaning import recordings, sound_file
from keybed.experiments.scoring.load import load_model
from keybed.experiments.scoring.results import ScoredFile
from keybed.experiments.scoring.run_files import open_run
from keybed.experiments.scoring.scorer import Scorer
from keybed.experiments.scoring.source import Source
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.music.notes_file import load_notes
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import DIMENSIONS

LENGTH_S = 60.0
SILENCE_S = 15.0
_OWN_RULES = ("outside training", "wide interval")


def first_minute(p: Performance) -> Performance:
    """The notes and pedal of the first minute."""
    notes, pedal = p.onset_s < LENGTH_S - 1, p.pedal_s < LENGTH_S
    ends = np.minimum(p.offset_s[notes], LENGTH_S)
    return Performance(
        p.onset_s[notes], ends, p.pitch[notes], p.velocity[notes], p.pedal_s[pedal], p.pedal_value[pedal]
    )


def moved(p: Performance, *, by_s: float = 0.0, factor: float = 1.0) -> Performance:
    """Later by some seconds, and stretched."""
    times = {name: getattr(p, name) * factor + by_s for name in ("onset_s", "offset_s", "pedal_s")}
    return replace(p, **times)


def repeated(p: Performance, n: int) -> Performance:
    """n times, one after another."""
    parts = [moved(p, by_s=i * LENGTH_S) for i in range(n)]
    return Performance(*(np.concatenate([getattr(q, f) for q in parts]) for f in Performance.__dataclass_fields__))


def write_sound(path: Path, sound: NDArray[np.floating], rate_hz: int, times: int = 1) -> Path:
    """A WAV file of a sound, several times after one another, written piece by piece."""
    import soundfile

    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16") as file:
        for _ in range(times):
            file.write(np.asarray(sound, np.float32))
    return path


def inputs(p: Performance, sound: NDArray[np.float32], folder: Path) -> Iterator[tuple[str, Source]]:
    """Each input with its name. sound: the rendering, with its noise floor."""
    import pretty_midi
    import soxr

    plain = Source("x", None, None, "midi", p, LENGTH_S)
    yield "MIDI alone, rendered as in training", plain
    wav = write_sound(folder / "same.wav", sound, SAMPLE_RATE_HZ)
    yield "the same rendering as a 16-bit WAV", replace(plain, sound=wav)
    low = soxr.resample(sound, SAMPLE_RATE_HZ, 8000, "HQ")
    yield "WAV at 8 kHz", replace(plain, sound=write_sound(folder / "low.wav", low, 8000))
    for name, semitones in (("half a semitone sharp", 0.5), ("a tenth of a semitone sharp", 0.1)):
        factor = 2 ** (-semitones / 12)
        shifted = soxr.resample(sound, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * factor, "HQ")
        path = write_sound(folder / "sharp.wav", shifted, SAMPLE_RATE_HZ)
        yield name, Source("x", None, path, "midi", moved(p, factor=factor), LENGTH_S * factor)
    for name, program in (("another piano of the soundfont (bright)", 1), ("a harpsichord", 6)):
        midi = pretty_midi.PrettyMIDI()
        instrument = pretty_midi.Instrument(program)
        columns = (p.velocity, p.pitch, p.onset_s, p.offset_s)
        instrument.notes = [pretty_midi.Note(int(v), int(k), a, b) for v, k, a, b in zip(*columns, strict=True)]
        instrument.control_changes = [
            pretty_midi.ControlChange(64, int(v), s) for s, v in zip(p.pedal_s, p.pedal_value, strict=True)
        ]
        midi.instruments.append(instrument)
        played = midi.fluidsynth(fs=SAMPLE_RATE_HZ)[: round(LENGTH_S * SAMPLE_RATE_HZ)]
        played = np.pad(played, (0, round(LENGTH_S * SAMPLE_RATE_HZ) - played.size))
        yield name, replace(plain, sound=write_sound(folder / "other.wav", 0.5 * played, SAMPLE_RATE_HZ))
    quiet = np.zeros(round(SILENCE_S * SAMPLE_RATE_HZ), np.float32)
    ends = write_sound(folder / "ends.wav", np.concatenate([quiet, sound, quiet]), SAMPLE_RATE_HZ)
    between = moved(p, by_s=SILENCE_S)
    yield "15 s of digital silence at both ends", Source("x", None, ends, "midi", between, LENGTH_S + 2 * SILENCE_S)
    dry = replace(p, pedal_s=np.zeros(0), pedal_value=np.zeros(0, np.int16))
    yield "MIDI without its pedal", replace(plain, performance=dry)


def line(name: str, file: ScoredFile) -> str:
    """One line of the table."""
    cells = [w.scores[d] for w in file.windows for d in DIMENSIONS]
    asked = [c for c in cells if c.judged or c.reason in _OWN_RULES]
    distances = [w.distance for w in file.windows if w.distance is not None]
    outside = np.mean(np.array(distances) > 1) if distances else np.nan
    whole = [file.whole[d].score for d in ("rhythmic_stability", "tone_quality", "overall_interpretation")]
    shown = " | ".join("–" if s is None else f"{s:.1f}" for s in whole)
    judged = sum(c.judged for c in asked) / max(len(asked), 1)
    return f"| {name} | {len(file.windows)} | {judged:.0%} | {outside:.0%} | {np.median(distances):.2f} | {shown} |"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recording", type=int, help="number of the recording in the store")
    parser.add_argument("--hop", type=float, default=5.0)
    parser.add_argument("--hours", type=float, default=0.0, help="also score this much sound, repeated")
    options = parser.parse_args()
    files = open_run(options.run)
    scorer = Scorer(load_model(options.run))
    number = recordings(files, None)[-1] if options.recording is None else options.recording
    p = first_minute(load_notes(files.store.notes_path(number)))
    print(f"{files.store.recordings[number]['midi']}, first minute\n")
    print(
        "| input | windows | judged | outside | distance | timing | tone | overall |\n|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="keybed-inputs-") as name:
        folder = Path(name)
        import soundfile

        _, music = scorer.score(Source("x", None, None, "midi", p, LENGTH_S), LENGTH_S)
        sound = soundfile.read(
            sound_file(music.sound(0.0, LENGTH_S), 0.0, number, folder / "floor.wav"), dtype="float32"
        )[0]
        for title, source in inputs(p, sound, folder):
            print(line(title, scorer.score(source, options.hop)[0]), flush=True)
        if options.hours:
            n = round(options.hours * 3600 / LENGTH_S)
            path = write_sound(folder / "long.wav", sound, SAMPLE_RATE_HZ, n)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            long = Source("x", None, path, "midi", repeated(p, n), n * LENGTH_S)
            print(line(f"{options.hours:g} h of it", scorer.score(long, options.hop)[0]))
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(
                f"\nlargest memory of the process: {before / 1024:,.0f} MiB before, {after / 1024:,.0f} MiB after {options.hours:g} h"
            )


if __name__ == "__main__":
    main()
