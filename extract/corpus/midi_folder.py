"""A corpus from a folder of MIDI files, each with or without a sound file of the same name beside it."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

from keybed.extract.corpus.metadata import LONGEST_FIELD, Corpus, CorpusError, Recording
from keybed.extract.corpus.titles import without_once_more
from keybed.store.counted import counted

MIDI_ENDINGS, SOUND_ENDINGS = (".mid", ".midi"), (".wav", ".flac")
"""In the order in which they are preferred where one name has several."""
PieceFrom = Literal["folder", "file"]


def midi_files(folder: Path) -> tuple[list[str], list[str]]:
    """Paths in `folder` of all its MIDI files and all its sound files, sorted. Hidden files and folders are not looked at."""
    names: list[str] = []
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = Path(where).relative_to(folder)
        names += [(within / name).as_posix() for name in files if not name.startswith(".")]
    midi, sounds = (
        sorted(name for name in names if name.lower().endswith(endings)) for endings in (MIDI_ENDINGS, SOUND_ENDINGS)
    )
    return midi, sounds


def _unreadable(error: OSError) -> None:
    raise CorpusError(f"{error.filename}: cannot be read ({error.strerror or error})") from error


def read_midi_folder(folder: Path, piece_from: PieceFrom | None = None) -> Corpus:
    """One recording per MIDI file, in the order of their paths; durations are not known yet.

    piece_from: whether the files of one folder are one piece, or only those of one name ("X", "X (take 2)"). None: the
    folder where every MIDI file lies in a folder of its own below `folder`. Raises CorpusError where there is no MIDI file.
    """
    midi, sounds = midi_files(folder)
    bad = [name for name in (*midi, *sounds) if "\\" in name or any(ord(c) < 32 for c in name) or not _is_text(name)]
    usable = [name for name in midi if name not in bad]
    if not usable:
        raise CorpusError(
            f"{folder}: no MIDI file in it or in its folders; give a folder of .mid files, or a CSV that names "
            "them, such as maestro-v3.0.0.csv"
        )
    sound_of = _by_stem(name for name in sounds if name not in bad)
    left_out = [f"{name!r}: a name with control characters or a backslash" for name in bad]
    recordings: list[Recording] = []
    taken: dict[str, str] = {}
    chosen = piece_from or ("folder" if all("/" in name for name in usable) else "file")
    for name in sorted(usable, key=lambda name: (_stem(name), not name.lower().endswith(".mid"), name)):
        stem = _stem(name)
        if stem in taken:
            left_out.append(f"{name}: a second MIDI file of the name of {taken[stem]}")
            continue
        taken[stem] = name
        path = PurePosixPath(name)
        piece = path.parent.as_posix() if chosen == "folder" else without_once_more(path.stem)
        recordings.append(
            Recording(
                index=len(recordings),
                composer="",
                title=path.with_suffix("").as_posix()[:LONGEST_FIELD],
                split="",
                year="",
                midi=name,
                audio=sound_of.get(stem, ("",))[0],
                duration_s=None,
                piece=piece,
            )
        )
    for stem, of_stem in sound_of.items():
        left_out += [f"{other}: a second sound file of the name of {of_stem[0]}" for other in of_stem[1:]]
        if stem not in taken:
            left_out.append(f"{of_stem[0]}: a sound file without a MIDI file of its name")
    with_sound = sum(bool(recording.audio) for recording in recordings)
    what = (
        "the files of one folder are one piece"
        if chosen == "folder"
        else "each file name is a piece, its takes together"
    )
    remarks = (
        f"read as a folder of MIDI files: {counted(len(recordings), 'file')}, {with_sound} with a sound file of the same name",
        f"pieces: {what} (--pieces {'file' if chosen == 'folder' else 'folder'} for the other way)",
    )
    listing = json.dumps([[r.midi, r.audio] for r in recordings], ensure_ascii=False).encode()
    reading = {"layout": "folder", "pieces": chosen}
    return Corpus(folder, folder, listing, tuple(recordings), reading, remarks, tuple(sorted(left_out)))


def _by_stem(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    by_stem: dict[str, tuple[str, ...]] = {}
    for name in sorted(names, key=lambda name: (not name.lower().endswith(".wav"), name)):
        by_stem[_stem(name)] = (*by_stem.get(_stem(name), ()), name)
    return by_stem


def _stem(name: str) -> str:
    """The path without its ending, so that `A/x.mid` and `A/x.wav` are equal in every encoding of their accents."""
    return unicodedata.normalize("NFC", PurePosixPath(name).with_suffix("").as_posix())


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
