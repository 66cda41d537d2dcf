"""FluidSynth through pyfluidsynth's bindings, with one new synthesiser per row and float samples.

`system_reset` does not restore a synthesiser's first state; a new synthesiser gives the same bits every time.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.music.pedal import SUSTAIN_CONTROL
from keybed.store.errors import KeybedError

BLOCK_SAMPLES = 64
"""Length of FluidSynth's internal buffer. Events take effect at its boundaries."""
POLYPHONY = 256
GAIN = 0.2

_MISSING = (
    "libfluidsynth was not found: install it (Debian, Ubuntu: apt install libfluidsynth3; "
    "conda: conda install -c conda-forge fluidsynth) or point LD_LIBRARY_PATH to it"
)
_NO_BINDINGS = "pyfluidsynth is not installed: in Keybed's checkout: pip install -c constraints.txt '.[extract]'"


class SynthesiserMissing(KeybedError):
    """FluidSynth cannot be loaded; the message says how to install it."""


class NotASoundfont(KeybedError):
    """FluidSynth cannot play a piano with the file given as a soundfont."""


@cache
def bindings() -> ModuleType:
    """The `fluidsynth` module with the C prototypes that it lacks. Raises SynthesiserMissing."""
    with _conda_libraries_found(), redirect_stdout(io.StringIO()):  # it prints where CI is set
        try:
            import fluidsynth
        except ModuleNotFoundError as error:
            raise SynthesiserMissing(_NO_BINDINGS) from error
        except (ImportError, OSError) as error:
            raise SynthesiserMissing(_MISSING) from error
    library = fluidsynth._fl
    library.fluid_synth_write_float.restype = ctypes.c_int
    library.fluid_synth_write_float.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int,
        *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int) * 2,
    ]
    for name, result, arguments in (
        ("fluid_synth_get_sfont_by_id", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
        ("fluid_synth_add_sfont", ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
        ("fluid_synth_remove_sfont", ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
    ):
        getattr(library, name).restype, getattr(library, name).argtypes = result, arguments
    library.fluid_version_str.restype = ctypes.c_char_p
    library.fluid_set_log_function.restype = ctypes.c_void_p
    library.fluid_set_log_function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    for level in range(5):
        library.fluid_set_log_function(level, None, None)
    return fluidsynth


@contextmanager
def _conda_libraries_found() -> Iterator[None]:
    """Let pyfluidsynth find a library in a conda environment. By itself it searches the system's linker paths only."""
    from ctypes import util

    folders = [Path(p) / "lib" for p in (os.environ.get("CONDA_PREFIX"), sys.prefix) if p]
    system = util.find_library

    def find(name: str) -> str | None:
        path = system(name)
        if path or "fluidsynth" not in name:
            return path
        names = (f"lib{name.removeprefix('lib')}.{end}" for end in ("so.3", "so", "dylib"))
        return next((str(f / n) for n in names for f in folders if (f / n).exists()), None)

    util.find_library = find
    try:
        yield
    finally:
        util.find_library = system


def version() -> str:
    """FluidSynth's own version, e.g. 2.3.1."""
    text: bytes = bindings()._fl.fluid_version_str()
    return text.decode()


class Soundfont:
    """A soundfont that is read once and shared by all synthesisers, one at a time. Raises NotASoundfont."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = _Engine(SAMPLE_RATE_HZ)
        api = bindings()
        number = api.fluid_synth_sfload(self._owner.synth, os.fsencode(path), 0)
        if number < 0 or api.fluid_synth_program_select(self._owner.synth, 0, number, 0, 0) != 0:
            self._owner.close()
            raise NotASoundfont(f"{path}: not a soundfont with a piano at bank 0, program 0; give another file")
        self.handle: int = api._fl.fluid_synth_get_sfont_by_id(self._owner.synth, number)


@cache
def open_soundfont(path: Path, _size: int, _mtime_ns: int) -> Soundfont:
    """The soundfont at this path. Size and time of change are part of the cache key, so a changed file is read again."""
    return Soundfont(path)


class _Engine:
    """FluidSynth's settings and synthesiser, created and freed together."""

    def __init__(self, sample_rate_hz: int) -> None:
        api = bindings()
        self._settings = api.new_fluid_settings()
        for name, number in ((b"synth.sample-rate", float(sample_rate_hz)), (b"synth.gain", GAIN)):
            api.fluid_settings_setnum(self._settings, name, number)
        for name, whole in (
            (b"synth.dynamic-sample-loading", 1),
            (b"synth.chorus.active", 0),
            (b"synth.reverb.active", 0),
            (b"synth.polyphony", POLYPHONY),
            (b"synth.cpu-cores", 1),
        ):
            api.fluid_settings_setint(self._settings, name, whole)
        self.synth: int = api.new_fluid_synth(self._settings)

    def close(self) -> None:
        bindings().delete_fluid_synth(self.synth)
        bindings().delete_fluid_settings(self._settings)


class Synth:
    """A new synthesiser with a piano on channel 0 that writes into one stereo buffer. Use it once, in a `with` statement."""

    def __init__(self, soundfont: Soundfont, sample_rate_hz: int, n_samples: int) -> None:
        self.api: Any = bindings()
        self._engine, self._font = _Engine(sample_rate_hz), soundfont
        self._synth = self._engine.synth
        self.left_right = np.zeros((2, n_samples), np.float32)
        self._left, self._right = (channel.ctypes.data for channel in self.left_right)
        self._written = 0
        number = self.api._fl.fluid_synth_add_sfont(self._synth, soundfont.handle)
        self.api.fluid_synth_program_select(self._synth, 0, number, 0, 0)

    def __enter__(self) -> Synth:
        return self

    def __exit__(self, *_: object) -> None:
        self.api._fl.fluid_synth_remove_sfont(self._synth, self._font.handle)
        self._engine.close()

    def play_until(self, sample: int) -> None:
        """Write samples up to this one. `sample` is a whole number of blocks after the last event."""
        n, at = sample - self._written, self._written
        if n > 0:
            self.api._fl.fluid_synth_write_float(self._synth, n, self._left, at, 1, self._right, at, 1)
            self._written = sample

    def strike(self, key: int, velocity: int) -> None:
        """Press a key."""
        self.api.fluid_synth_noteon(self._synth, 0, key, velocity)

    def release(self, key: int) -> None:
        """Release a key."""
        self.api.fluid_synth_noteoff(self._synth, 0, key)

    def pedal(self, value: int) -> None:
        """Move the sustain pedal."""
        self.api.fluid_synth_cc(self._synth, 0, SUSTAIN_CONTROL, value)

    def mono(self) -> NDArray[np.float64]:
        """The mean of both channels, float64 (samples,)."""
        return np.asarray(self.left_right.mean(0, dtype=np.float64))
