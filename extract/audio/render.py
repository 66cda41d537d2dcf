"""Notes to audio: render every variant with one soundfont, add the noise of its tone level, set one loudness."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio import fluidsynth as synthesiser
from keybed.extract.audio import note_bank, note_sum
from keybed.extract.audio import waveform as loudness
from keybed.extract.audio.events import PEDAL, RELEASE, event_table, events_of, lead_and_length
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES, NotASoundfont, Soundfont, Synth, open_soundfont
from keybed.extract.audio.note_bank import NoteBank, load_bank
from keybed.extract.audio.note_sum import sum_of_events
from keybed.extract.audio.room import Recording
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow, normalised_row, silent_row
from keybed.extract.degrade.excerpt import PRE_ROLL_S
from keybed.extract.degrade.tone import add_noises
from keybed.extract.degrade.variant import Variant
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import Status

CODE_VERSION = 1
DEFAULT_SOUNDFONT = "TimGM6mb.sf2"


def default_soundfont() -> Path:
    """Path of the soundfont that ships with pretty_midi, found without importing it.

    Raises NotASoundfont where pretty_midi is not installed.
    """
    spec = find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise NotASoundfont(
            "pretty_midi, whose soundfont is the default, is not installed: in Keybed's checkout: pip install -c constraints.txt '.[extract]'"
        )
    return Path(spec.origin).with_name(DEFAULT_SOUNDFONT)


def soundfont_sha256(path: Path) -> str:
    """sha256 of the soundfont's bytes; read once while the file does not change."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_soundfont(soundfont: str | Path | None) -> Path:
    """Path of the soundfont to render with; None for pretty_midi's.

    Raises NotASoundfont where the file is absent or has no soundfont header.
    """
    path = default_soundfont() if soundfont is None else Path(soundfont)
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise NotASoundfont(f"{path}: cannot be read ({error}); give the path of an .sf2 or .sf3 file") from error
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise NotASoundfont(f"{path}: not a soundfont (no RIFF sfbk header); give the path of an .sf2 or .sf3 file")
    return path


def check_soundfont(soundfont: str | Path | None) -> Path:
    """Path of the soundfont, after FluidSynth has opened it. So `plan` refuses a truncated file before any task runs.

    Raises NotASoundfont, SynthesiserMissing.
    """
    path = resolve_soundfont(soundfont)
    opened_soundfont(path)
    return path


def opened_soundfont(soundfont: str | Path | None) -> Soundfont:
    """The soundfont, read once per process. Raises NotASoundfont, SynthesiserMissing."""
    path = resolve_soundfont(soundfont)
    stat = path.stat()
    return open_soundfont(path, stat.st_size, stat.st_mtime_ns)


def describe(soundfont: str | Path | None = None, bank_sha256: str | None = None) -> dict[str, Any]:
    """Everything of the rendering that changes a number, for the recipe. bank_sha256: of the note bank that rows are summed from.

    Raises NotASoundfont, SynthesiserMissing.
    """
    path = resolve_soundfont(soundfont)
    return {
        **_constants(),
        "soundfont": path.name,
        "soundfont_sha256": soundfont_sha256(path),
        "synthesiser_version": synthesiser.version(),
        **({} if bank_sha256 is None else _bank_entries(bank_sha256)),
    }


def soundfont_entry(soundfont: Path, bank_sha256: str | None) -> dict[str, Any]:
    """One of several soundfonts, for the recipe; bank_sha256: None where FluidSynth plays it."""
    return {
        "name": soundfont.name,
        "sha256": soundfont_sha256(soundfont),
        **({} if bank_sha256 is None else {"bank_sha256": bank_sha256}),
    }


def describe_several(
    entries: Sequence[Mapping[str, Any]], held_out: str | None, version: str | None = None
) -> dict[str, Any]:
    """As `describe`, for several soundfonts; their order is that of `row/soundfont`. held_out: the one that never trains.

    version: the planned one of a synthesiser that banks need no more; None for that of this machine.
    """
    banks = sum("bank_sha256" in entry for entry in entries)
    versions = {"bank_version": note_bank.VERSION, "sum_version": note_sum.VERSION} if banks else {}
    return {
        **_constants(),
        "synthesiser_version": synthesiser.version() if version is None else version,
        "soundfonts": [dict(entry) for entry in entries],
        "soundfont_per": "segment",
        **({} if held_out is None else {"hold_out_soundfont": held_out}),
        **versions,
        "renderer": "bank" if banks == len(entries) else "fluidsynth",
    }


def planned_with_bank(audio: Mapping[str, Any]) -> bool:
    """Whether a recipe's rows are sums of notes from a note bank."""
    return audio.get("renderer") == "bank"


def describe_with_bank(planned: Mapping[str, Any], bank_sha256: str) -> dict[str, Any]:
    """What this machine renders with the note bank of a planned recipe. The synthesiser and its soundfont are needed no more."""
    return {**planned, **_constants(), **_bank_entries(bank_sha256)}


def _constants() -> dict[str, Any]:
    return {
        "code_version": CODE_VERSION,
        "synthesiser": "fluidsynth",
        "reverb": False,
        "chorus": False,
        "polyphony": synthesiser.POLYPHONY,
        "block_samples": BLOCK_SAMPLES,
        "pre_roll_s": PRE_ROLL_S,
        "channels": "mean of left and right",
        "loudness_rms_dbfs": loudness.TARGET_RMS_DBFS,
        "peak_ceiling_dbfs": loudness.PEAK_CEILING_DBFS,
        "audible": "every axis is audible; the soundfont has no touch-dependent timbre, so tone_quality means the "
        "cleanliness of the recording",
    }


def _bank_entries(bank_sha256: str) -> dict[str, Any]:
    return {
        "renderer": "bank",
        "bank_version": note_bank.VERSION,
        "sum_version": note_sum.VERSION,
        "bank_sha256": bank_sha256,
    }


class Renderer:
    """Renders variants with FluidSynth and one soundfont, or from the note bank in a file. Keeps no state between rows."""

    def __init__(self, soundfont: str | Path | None = None, bank: Path | None = None) -> None:
        self._source: Soundfont | NoteBank = opened_soundfont(soundfont) if bank is None else load_bank(bank)

    def render(self, variant: Variant, window_s: float, recording: Recording | None = None) -> RenderedRow:
        """The waveform of one variant and its measures. A variant that has failed already gets silence.

        recording: the room and microphone; None for the dry sound.
        """
        return self.render_all([variant], window_s, recording)[0]

    def render_all(
        self, variants: Sequence[Variant], window_s: float, recording: Recording | None = None
    ) -> list[RenderedRow]:
        """`render` of several variants with the same bytes; faster, most of all for those of one segment."""
        n = round(window_s * SAMPLE_RATE_HZ)
        sounds = [(*self._play(v, window_s, recording), v.noise) for v in variants if v.status == Status.OK]
        noisy = iter(add_noises(sounds, SAMPLE_RATE_HZ))
        return [normalised_row(v, next(noisy)) if v.status == Status.OK else silent_row(v, n) for v in variants]

    def _play(self, variant: Variant, window_s: float, recording: Recording | None) -> tuple[NDArray[np.floating], int]:
        """The sound without noise, and its samples before the window."""
        sound: NDArray[np.floating]
        if isinstance(self._source, NoteBank):
            # Only a filter and a room need the sound before the window.
            pre_roll = variant.noise.band_hz is not None or recording is not None
            sound, lead = _summed(variant.performance, window_s, self._source, pre_roll=pre_roll)
        else:
            sound, lead = synthesise(variant.performance, window_s, self._source)
        return (sound if recording is None else recording.apply(sound.astype(np.float64, copy=False), lead)), lead


def sum_performance(
    performance: Performance, window_s: float, bank: NoteBank, *, pre_roll: bool = True
) -> tuple[NDArray[np.float64], int]:
    """As `synthesise`, from a note bank. Without pre_roll the sound begins with the window."""
    sound, lead = _summed(performance, window_s, bank, pre_roll=pre_roll)
    return sound.astype(np.float64), lead


def _summed(
    performance: Performance, window_s: float, bank: NoteBank, *, pre_roll: bool
) -> tuple[NDArray[np.float32], int]:
    lead, n = lead_and_length(window_s)
    first = 0 if pre_roll else lead
    return sum_of_events(event_table(performance, lead, n), bank, n, first), lead - first


def synthesise(performance: Performance, window_s: float, soundfont: Soundfont) -> tuple[NDArray[np.float64], int]:
    """Render the pre-roll and the window.

    Returns float64 mono samples and the number of samples before the window.
    """
    lead, n = lead_and_length(window_s)
    with Synth(soundfont, SAMPLE_RATE_HZ, n) as synth:
        for block, kind, number, value in events_of(performance, lead, n):
            synth.play_until(block * BLOCK_SAMPLES)
            if kind == RELEASE:
                synth.release(number)
            elif kind == PEDAL:
                synth.pedal(value)
            else:
                synth.strike(number, value)
        synth.play_until(n)
        return synth.mono(), lead
