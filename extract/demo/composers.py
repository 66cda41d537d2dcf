"""The invented composers of the demo corpus, by which a store of its music is recognised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COMPOSERS = {
    "chorale": "Demo Kantor",
    "alberti": "Demo Classic",
    "waltz": "Demo Ballroom",
    "nocturne": "Demo Romantic",
}


def is_composed(recordings: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all these recordings (entries of recordings.json), at least one, are music that the demo composed."""
    composers = {recording.get("composer") for recording in recordings}
    return bool(composers) and composers <= set(COMPOSERS.values())
