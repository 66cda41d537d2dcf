"""The soundfonts of a recipe that has several: their names, the legend of `row/soundfont`, and the one that never trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_SOUNDFONTS = 200


def soundfont_names(audio: Mapping[str, Any]) -> list[str]:
    """Names by their number in `row/soundfont`; empty where the recipe has one soundfont, or none."""
    return [entry["name"] for entry in audio.get("soundfonts", [])]


def held_out_soundfont(audio: Mapping[str, Any]) -> int | None:
    """Number of the soundfont that no training row has; None where each may train."""
    name = audio.get("hold_out_soundfont")
    return None if name is None else soundfont_names(audio).index(name)


def soundfont_problems(audio: Mapping[str, Any]) -> Iterator[str]:
    """Every rule that a recipe's soundfonts break, one sentence each."""
    entries = audio.get("soundfonts", [])
    if not isinstance(entries, list) or len(entries) > MOST_SOUNDFONTS:
        yield f"audio.soundfonts is no list of at most {MOST_SOUNDFONTS} soundfonts"
        return
    if not all(isinstance(e, Mapping) and isinstance(e.get("name"), str) for e in entries):
        yield "audio.soundfonts has an entry without a name"
        return
    names = [entry["name"] for entry in entries]
    if len(set(names)) != len(names):
        yield "audio.soundfonts names one twice"
    held_out = audio.get("hold_out_soundfont")
    if held_out is not None and held_out not in names:
        yield "audio.hold_out_soundfont is none of audio.soundfonts"
