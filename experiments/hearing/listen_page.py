"""The page of `keybed listen`: its words, and the data of its rolls and sounds."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.hearing.config import ListenConfig
from keybed.experiments.hearing.page_files import part, write_template
from keybed.experiments.hearing.roll import pitch_range, roll_data
from keybed.experiments.hearing.row_remaking import PlannedRow, Stages
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXES, AXIS_DIMENSIONS, TIERS
from keybed.store.read.store import Store

WORDS = {
    "notes": "Wrong keys, extra notes, notes struck twice and notes left out.",
    "timing": "Onsets come too early or too late; neighbouring notes err alike, and chords become ragged.",
    "articulation": "Notes are held too short or too long. It is audible where the pedal is up.",
    "pedal": "Pedal changes come too early or too late, so that harmonies run into each other or break off.",
    "tone": "Noise over the music and, below a score of 65, a narrower band. It means how clean the recording is, not the touch.",
    "dynamics": "Accents and voicing lose their place, and loud and soft notes come closer together.",
    "expression": "The slow rise and fall of loudness is flattened, and rubato where the beat is clear.",
}
"""What each axis does to a row."""
LEGENDS = {
    "notes": (("--roll-wrong", "wrong or extra note"), ("--roll-bar", "dashed: note left out")),
    "timing": (("--roll-mark", "moved by more than 40 ms; dashed: where it was"),),
    "articulation": (("--roll-mark", "longer or shorter by a factor of 1.25 or more; dashed: as it was"),),
    "pedal": (("--roll-bar", "the pedal is down where it was up, or up where it was down"),),
    "tone": (),
    "dynamics": (("--roll-louder", "▲ louder by 8 steps or more"), ("--roll-softer", "▼ softer by 8 steps or more")),
    "expression": (
        ("--roll-louder", "▲ louder by 8 steps or more"),
        ("--roll-softer", "▼ softer by 8 steps or more"),
        ("--roll-mark", "moved by more than 40 ms; dashed: where it was"),
    ),
}
"""Colours of an axis's marks on the roll, with their meaning."""
UNTOUCHED_SCORE = 97.0
"""Axes that score higher are not listed among a row's other changes."""
BLIND_BELOW = 95.0
"""A clip with a lower score on its axis can be the degraded one of a blind pair."""


@dataclass(frozen=True, eq=False)
class Clip:
    """One row with its sound as FLAC."""

    row: PlannedRow
    stages: Stages
    sound: bytes

    def score(self, axis: str) -> float:
        """The row's score on one axis."""
        return float(self.stages.variant.score[AXES.index(axis)])


@dataclass(frozen=True, eq=False)
class HeardAxis:
    """One axis with the rows of one segment; the first clip is pristine. place: the piece and where the window begins."""

    axis: str
    place: str
    clips: tuple[Clip, ...]


def dimension_title(axis: str) -> str:
    """`rhythmic stability (axis timing)`."""
    return f"{AXIS_DIMENSIONS[AXES.index(axis)].replace('_', ' ').capitalize()} (axis {axis})"


def other_changes(stages: Stages, axis: str | None) -> list[str]:
    """A line for each other axis that this row changes: its dimension, score and sentence."""
    lines = []
    for k, other in enumerate(AXES):
        score = float(stages.variant.score[k])
        if other != axis and score < UNTOUCHED_SCORE:
            lines.append(f"{AXIS_DIMENSIONS[k].replace('_', ' ')} {score:.0f}: {stages.change(other).sentence}.")
    return lines


def clip_roll(stages: Stages, axis: str) -> dict[str, Any]:
    """The roll of a row with the marks of one axis."""
    marks, bars = stages.marks(axis)
    before = stages.pairs["pedal"][0] if axis == "pedal" and stages.change("pedal").pedal else None
    return roll_data(stages.variant.performance, stages.window_s, marks, bars, before)


def write_listen_page(store: Store, heard: Sequence[HeardAxis], config: ListenConfig, path: Path) -> Path:
    """Render DIR/index.html, whole in one file."""
    blind_axes = []
    axes = []
    for each in heard:
        made = _axis(each, config.alone)
        axes.append(made)
        degraded = [
            {"sound": made["sounds"][k], "words": f"score {clip.score(each.axis):.0f}. {made['clips'][k]['sentence']}"}
            for k, clip in enumerate(each.clips)
            if clip.score(each.axis) < BLIND_BELOW
        ]
        blind_axes.append(
            {"name": each.axis, "title": made["title"], "pristine": made["sounds"][0], "degraded": degraded}
        )
    size = sum(len(clip.sound) for each in heard for clip in each.clips)
    kind = "alone" if config.alone else "rows"
    page = {
        "title": f"Hear the degradations of {store.path.name}",
        "lead": _lead(store, config.alone),
        "axes": axes,
        "several": not config.alone,
        "style": part("parts.css") + part("page.css"),
        "script": f"{part('parts.js')}\nKeybed.wire();\n{part('listen.js')}",
        "blind": {
            "key": f"keybed-blind {store.fingerprint[:16]} {config.seed} {kind}",
            "seconds": heard[0].clips[0].stages.window_s,
            "axes": blind_axes,
        },
        "footer": _footer(store, config, size),
    }
    return write_template("listen.html.jinja", page, path)


def _axis(heard: HeardAxis, alone: bool) -> dict[str, Any]:
    axis, clips = heard.axis, heard.clips
    sounds = [f"{axis}-{k}" for k in range(len(clips))]
    pitch = np.concatenate([shown_pitch(clip.stages) for clip in clips])
    return {
        "name": axis,
        "title": dimension_title(axis),
        "words": WORDS[axis],
        "place": heard.place,
        "legend": [{"colour": colour, "words": words} for colour, words in LEGENDS[axis]],
        "sounds": sounds,
        "clips": [
            {
                "label": _label(clip, axis, alone),
                "sentence": _sentence(clip, axis),
                "others": other_changes(clip.stages, axis),
                "sound": base64.b64encode(clip.sound).decode("ascii"),
            }
            for clip in clips
        ],
        "data": {
            "range": pitch_range(pitch),
            "sounds": sounds,
            "rolls": [clip_roll(clip.stages, axis) for clip in clips],
        },
    }


def shown_pitch(stages: Stages) -> NDArray[np.int16]:
    """Pitches of the notes that sound in the window."""
    p = stages.variant.performance
    return p.pitch[(p.offset_s > 0) & (p.onset_s < stages.window_s)]


def _label(clip: Clip, axis: str, alone: bool) -> str:
    tier = TIERS[clip.row.tier]
    if tier == "pristine":
        return f"pristine · score {clip.score(axis):.1f}"
    own = f"tier {tier}" if alone else f"row {clip.row.number:,}, tier {tier}"
    return f"score {clip.score(axis):.1f} · {own}"


def _sentence(clip: Clip, axis: str) -> str:
    if TIERS[clip.row.tier] == "pristine":
        return f"As played: {counted(clip.stages.variant.n_notes, 'note')}."
    words = clip.stages.change(axis).sentence
    return f"{words[0].upper()}{words[1:]}."


def _lead(store: Store, alone: bool) -> list[str]:
    if store.recipe.audio["source"] == "recorded":
        sound = "The sound is the real recording: only the tone axis touches it."
    else:
        sound = "The sound is rendered from the degraded notes, as the store's encoders heard it."
    if alone:
        return [
            f"Each box has one passage four times: pristine, and with one axis alone degraded to the middle of each tier. {sound} "
            "These are not rows of the store, whose rows are degraded on several axes at once."
        ]
    return [
        f"Each box has the rows of one segment whose scores differ on that axis, the pristine row first. {sound}",
        "The rows of a store are degraded on several axes at once: what else was changed stands under each clip, and "
        "“keybed listen --alone” makes the same page with one axis at a time.",
    ]


def _footer(store: Store, config: ListenConfig, size: int) -> list[str]:
    recipe = store.recipe
    lines = [
        f"Store {store.fingerprint[:16]}… · {counted(store.n_rows, 'row')} · profile {recipe.degradation['profile']} · seed "
        f"{config.seed} · sound: FLAC, 24 kHz, {size / 1e6:.1f} MB inside this page; nothing is loaded from elsewhere.",
        "The words compare each row's notes before and after one axis; the scores follow from the level that was reached, as in the store.",
    ]
    n_missing = store.n_shards - len(store.committed)
    if n_missing:
        lines.append(
            f"{n_missing} of {counted(store.n_shards, 'shard')} of this store are not extracted yet; these rows are made from its plan."
        )
    return lines
