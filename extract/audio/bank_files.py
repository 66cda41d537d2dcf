"""Note banks on this machine's disk: made once per soundfont and synthesiser, in the user's cache folder, found again by hash."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from keybed.extract.audio import fluidsynth, note_bank
from keybed.extract.audio.bank_fit import misfit
from keybed.extract.audio.events import lead_and_length
from keybed.extract.audio.note_bank import BadNoteBank, make_bank, save_bank
from keybed.extract.audio.render import opened_soundfont, soundfont_sha256
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.store.disk.durable import sha256_of, write_durably

SHORTEST_S, LONGEST_S = 12.0, 60.0
"""Length of the notes in a bank in seconds: at least the first; rows that need more than the second have none."""


@dataclass(frozen=True)
class BankFile:
    """A bank's path and sha256. misfit: why rows must be rendered by FluidSynth itself, empty where the bank plays them."""

    path: Path
    sha256: str
    misfit: str = ""


def cache_folder() -> Path:
    """`keybed/note-banks` in $XDG_CACHE_HOME, or in ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "keybed" / "note-banks"


def bank_for(soundfont: Path, window_s: float) -> BankFile:
    """This machine's bank of a soundfont; made where it is absent or damaged (2 s, 100 MB).

    Raises NotASoundfont, SynthesiserMissing, and BadNoteBank where it cannot be written.
    """
    seconds = max(lead_and_length(window_s)[1] / SAMPLE_RATE_HZ, SHORTEST_S)
    if seconds > LONGEST_S:
        return BankFile(Path(), "", f"rows of {window_s:g} s are too long for a note bank")
    sha256 = soundfont_sha256(soundfont)
    name = f"{sha256[:16]}-fluidsynth{fluidsynth.version()}-v{note_bank.VERSION}-{seconds:g}s.bank"
    path = cache_folder() / name
    digest = path.with_suffix(".sha256")
    try:
        if path.is_file() and digest.is_file() and bank_sha256(path) == digest.read_text().strip():
            return BankFile(path, bank_sha256(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        bank = make_bank(opened_soundfont(soundfont), round(seconds * SAMPLE_RATE_HZ))
        problem = misfit(bank, opened_soundfont(soundfont))
        if problem is not None:
            return BankFile(Path(), "", problem)
        save_bank(bank, path)
        write_durably(digest, bank_sha256(path).encode())
    except OSError as error:
        raise BadNoteBank(
            f"the note bank {path} cannot be written ({error.strerror or error}): name a folder with 100 MB free in "
            "XDG_CACHE_HOME, or plan with --renderer fluidsynth"
        ) from error
    return BankFile(path, bank_sha256(path))


def find_bank(planned_sha256: str, given: Path | None, soundfont: Path | None, window_s: float) -> Path:
    """The bank with this sha256: the file given, where it exists, or this machine's bank of the soundfont.

    Raises BadNoteBank where it is another one, cut short or of another soundfont.
    """
    if given is not None and given.exists():
        present = bank_sha256(given)
        if present != planned_sha256:
            raise BadNoteBank(
                f"{given} is not the note bank that the store was planned with (sha256 {present[:12]}…, planned "
                f"{planned_sha256[:12]}…): it is cut short, damaged or of another soundfont; remove it, so that it is made "
                "again, or give another with --note-bank FILE"
            )
        return given
    if soundfont is None:
        raise BadNoteBank("the store does not say where its note bank lies; give it with --note-bank FILE")
    made = bank_for(soundfont, window_s)
    if made.sha256 != planned_sha256:
        raise BadNoteBank(
            f"FluidSynth {fluidsynth.version()} here makes another note bank of {soundfont} than the store was planned with; "
            "copy the planned one from the machine that planned the store (places.json names it) and give it with --note-bank FILE"
        )
    return made.path


def bank_sha256(path: Path) -> str:
    """sha256 of a bank's file; computed once while the file does not change."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256_of(path)
