"""Several soundfonts in one plan: which each segment draws, and the checks before any row is made.

All four variants of a segment have one soundfont, so it never tells a tier. Within each split every piece draws them in turn:
counts differ by at most one in a split. A soundfont that is held out is drawn in validation and test alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio import render
from keybed.extract.audio.fluidsynth import NotASoundfont
from keybed.extract.audio.note_bank import KEYS, REFERENCE_VELOCITY, held_note
from keybed.extract.config import PlanConfig
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.planning.segments import RowOrder
from keybed.extract.planning.turns import in_turn
from keybed.store.counted import counted
from keybed.store.format.soundfonts import MOST_SOUNDFONTS
from keybed.store.format.vocabulary import SPLITS

_STREAM = 3
"""Purpose of the random generator, beside those of the row order and the choice of segments."""
_HEARD_BLOCKS = 40
"""A key is silent that gives no sound within 0.1 s."""


def check_hold_out(config: PlanConfig) -> None:
    """Raise PlanError where several soundfonts cannot be meant, before a file is read."""
    names = [path.name for path in config.soundfonts]
    if config.audio == "recorded" and (config.soundfonts or config.hold_out_soundfont or config.rooms is not None):
        raise PlanError("--audio recorded renders nothing: leave --soundfont, --hold-out-soundfont and --rooms out")
    if len(names) > MOST_SOUNDFONTS:
        raise PlanError(f"--soundfont: {len(names)} soundfonts; at most {MOST_SOUNDFONTS}")
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise PlanError(f"--soundfont: two files are named {twice[0]}; rename one, since a store knows them by name")
    if config.hold_out_soundfont is None:
        return
    if len(names) < 2:
        raise PlanError(
            "--hold-out-soundfont needs two soundfonts at least, one to train on and one to hold out: --soundfont A.sf2,B.sf2"
        )
    if config.hold_out_soundfont not in names:
        raise PlanError(f"--hold-out-soundfont {config.hold_out_soundfont}: not among {', '.join(names)}")


def check_several(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The soundfonts, after FluidSynth has opened each and all 88 keys have sounded.

    Raises NotASoundfont, SynthesiserMissing, and PlanError for one file under two names or for a silent key.
    """
    known: dict[str, Path] = {}
    for path in paths:
        soundfont = render.check_soundfont(path)
        same = known.setdefault(render.soundfont_sha256(soundfont), soundfont)
        if same != soundfont:
            raise PlanError(f"--soundfont: {soundfont} and {same} are the same file; a piano counts once")
        silent = _silent_keys(soundfont)
        if silent:
            raise NotASoundfont(
                f"{soundfont}: no sound from {len(silent)} of the 88 keys (MIDI {_as_ranges(silent)}); beside other soundfonts "
                "notes would be in the MIDI and not in the audio: leave it out"
            )
    return tuple(known.values())


def draw_soundfonts(order: RowOrder, n_soundfonts: int, held_out: int | None, seed: int) -> NDArray[np.uint8]:
    """Number of the soundfont of each row, uint8 (rows,); all rows of a segment have one."""
    drawn = np.zeros(order.columns["segment"].size, np.uint8)
    for split in range(len(SPLITS)):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _STREAM, split])))
        known = [i for i in range(n_soundfonts) if i != held_out or SPLITS[split] != "train"]
        rows, chosen = in_turn(order, split, known, rng)
        drawn[rows] = chosen
    return drawn


def soundfont_line(names: Sequence[str], drawn: NDArray[np.uint8], held_out: int | None) -> str:
    """How many rows have each soundfont, in words."""
    rows = np.bincount(drawn, minlength=len(names))
    where = ["" if i != held_out else ", in validation and test alone" for i in range(len(names))]
    listed = (f"{name} ({counted(int(n), 'row')}{w})" for name, n, w in zip(names, rows, where, strict=True))
    return f"soundfonts: {', '.join(listed)}"


def _silent_keys(path: Path) -> list[int]:
    soundfont = render.opened_soundfont(path)
    return [key for key in KEYS if not held_note(soundfont, key, REFERENCE_VELOCITY, _HEARD_BLOCKS).any()]


def _as_ranges(keys: list[int]) -> str:
    from keybed.store.format.shards import as_ranges

    return as_ranges(keys)
