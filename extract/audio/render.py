"""Notes to audio: render every variant with one soundfont, add the noise of its tone level, set one loudness."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio import fluidsynth as synthesiser
from keybed.extract.audio import waveform as loudness
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES, NotASoundfont, Soundfont, Synth, open_soundfont
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow, normalised_row, silent_row
from keybed.extract.degrade.excerpt import PRE_ROLL_S
from keybed.extract.degrade.tone import add_noise
from keybed.extract.degrade.variant import Variant
from keybed.extract.music.performance import SUSTAIN_ON, Performance
from keybed.store.format.vocabulary import Status

CODE_VERSION = 1
_DEFAULT_SOUNDFONT = "TimGM6mb.sf2"
_RELEASE, _PEDAL, _STRIKE = range(3)


def default_soundfont() -> Path:
    """Path of the soundfont that ships with pretty_midi, found without importing it.

    Raises NotASoundfont where pretty_midi is not installed.
    """
    spec = find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise NotASoundfont(
            "pretty_midi, whose soundfont is the default, is not installed: in Keybed's checkout: pip install -c constraints.txt '.[extract]'"
        )
    return Path(spec.origin).with_name(_DEFAULT_SOUNDFONT)


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
    stat = path.stat()
    open_soundfont(path, stat.st_size, stat.st_mtime_ns)
    return path


def describe(soundfont: str | Path | None = None) -> dict[str, Any]:
    """Everything of the rendering that changes a number, for the recipe. Raises NotASoundfont, SynthesiserMissing."""
    path = resolve_soundfont(soundfont)
    stat = path.stat()
    return {
        "code_version": CODE_VERSION,
        "soundfont": path.name,
        "soundfont_sha256": _sha256(path, stat.st_size, stat.st_mtime_ns),
        "synthesiser": "fluidsynth",
        "synthesiser_version": synthesiser.version(),
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


class Renderer:
    """Renders variants with one soundfont. Keeps no state between rows."""

    def __init__(self, soundfont: str | Path | None = None) -> None:
        path = resolve_soundfont(soundfont)
        stat = path.stat()
        self.soundfont = open_soundfont(path, stat.st_size, stat.st_mtime_ns)

    def render(self, variant: Variant, window_s: float) -> RenderedRow:
        """The waveform of one variant and its measures. A variant that has failed already gets silence."""
        n = round(window_s * SAMPLE_RATE_HZ)
        if variant.status != Status.OK:
            return silent_row(variant, n)
        sound, lead = synthesise(variant.performance, window_s, self.soundfont)
        return normalised_row(variant, add_noise(sound, lead, variant.noise, SAMPLE_RATE_HZ))


def synthesise(performance: Performance, window_s: float, soundfont: Soundfont) -> tuple[NDArray[np.float64], int]:
    """Render the pre-roll and the window.

    Returns float64 mono samples and the number of samples before the window.
    """
    lead = round(PRE_ROLL_S * SAMPLE_RATE_HZ / BLOCK_SAMPLES) * BLOCK_SAMPLES
    n = lead + round(window_s * SAMPLE_RATE_HZ)
    with Synth(soundfont, SAMPLE_RATE_HZ, n) as synth:
        for block, kind, number, value in _events(performance, lead, n):
            synth.play_until(block * BLOCK_SAMPLES)
            if kind == _RELEASE:
                synth.release(number)
            elif kind == _PEDAL:
                synth.pedal(value)
            else:
                synth.strike(number, value)
        synth.play_until(n)
        return synth.mono(), lead


def _events(p: Performance, lead: int, n: int) -> list[tuple[int, int, int, int]]:
    """(block, kind, key, value) in playing order; within one block releases, then the pedal, then strikes.

    A note has at least one block between strike and release. A note older than the pre-roll is struck at its start,
    and released at once where only the pedal still holds it.
    """

    def block(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        # Rounded down: on average half a block early, about as long as the soundfont's attack takes to be audible.
        return np.asarray(np.floor((seconds * SAMPLE_RATE_HZ + lead) / BLOCK_SAMPLES), np.int64)

    on = np.maximum(block(p.onset_s), 0)
    off = np.maximum(block(p.offset_s), on + 1)
    keys, loud = p.pitch.tolist(), p.velocity.tolist()
    events = [(b, _STRIKE, k, v) for b, k, v in zip(on.tolist(), keys, loud, strict=True)]
    events += [(b, _RELEASE, k, 0) for b, k in zip(off.tolist(), keys, strict=True)]
    down = False
    for b, value in zip(np.maximum(block(p.pedal_s), 0).tolist(), p.pedal_value.tolist(), strict=True):
        if (value >= SUSTAIN_ON) != down:
            down = not down
            events.append((b, _PEDAL, 0, value))
    end = -(-n // BLOCK_SAMPLES)
    return sorted((e for e in events if e[0] < end), key=lambda event: event[:2])
