"""The recipe and the list of recordings of a planned store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from keybed.extract import degrade
from keybed.extract.config import PlanConfig
from keybed.extract.corpus.draw_splits import SHARE
from keybed.extract.corpus.parse import ParsedRecording
from keybed.extract.corpus.pieces import SPLIT_REPAIR_VERSION
from keybed.extract.music.midi import READING_VERSION
from keybed.extract.planning.row_plan import RowPlan
from keybed.store.format.array_specs import shard_rows_for
from keybed.store.format.recipe import EncoderSpec, Recipe, fingerprint
from keybed.store.format.vocabulary import RATED


def store_recipe(
    config: PlanConfig,
    row_plan: RowPlan,
    specs: tuple[EncoderSpec, ...],
    audio: dict[str, Any],
    parsed: Mapping[int, ParsedRecording],
) -> Recipe:
    """The recipe of a plan.

    specs: the planned encoders. audio: the description of the renderer or reader. parsed: by recording id, the MIDI files
    of the recordings used; empty for a dry run without files.
    """
    recordings = row_plan.corpus.recordings
    hashed = {recording.midi: files.midi_sha256 for recording, files in zip(recordings, row_plan.files, strict=False)}
    # A file that changed since it was hashed: what was parsed counts.
    hashed |= {recordings[index].midi: files.midi_sha256 for index, files in parsed.items()}
    n_rows = row_plan.order.columns["tier"].size
    return Recipe(
        corpus={
            "csv_sha256": hashlib.sha256(row_plan.corpus.listing).hexdigest(),
            "midi_sha256": fingerprint(hashed),
            "audio_headers_sha256": fingerprint(
                {recording.audio: files.audio for recording, files in zip(recordings, row_plan.files, strict=False)}
                if config.audio == "recorded"
                else None
            ),
            "midi_reading": READING_VERSION,
            "n_recordings": len(recordings),
            "n_recordings_used": len(row_plan.used),
            **_reading(row_plan),
        },
        segments={
            "window_s": config.window_s,
            "hop_s": config.hop_s,
            "limit": config.limit,
            "n_segments": len(row_plan.segments),
            "split_repair": SPLIT_REPAIR_VERSION,
        },
        degradation={
            **degrade.parameters(),
            "profile": config.profile if row_plan.ratings is None else RATED,
            "seed": config.seed,
        },
        audio={**audio, "source": config.audio},
        encoders=specs,
        n_rows=n_rows,
        shard_rows=config.shard_rows or shard_rows_for(n_rows),
        labels=_labels(row_plan),
    )


def _labels(row_plan: RowPlan) -> dict[str, Any] | None:
    ratings, rated = row_plan.ratings, row_plan.rated
    if ratings is None or rated is None:
        return None
    return {
        "dimensions": list(ratings.dimensions),
        "scale": list(ratings.scale),
        "sha256": ratings.sha256,
        "n_passages": len(rated.passages),
    }


def _reading(row_plan: RowPlan) -> dict[str, Any]:
    """How the corpus was read, where it is not in MAESTRO's columns, and the shares of splits that were drawn."""
    reading: dict[str, Any] = {"reading": row_plan.corpus.reading} if row_plan.corpus.reading else {}
    if row_plan.pieces.n_drawn:
        reading["splits_drawn"] = {"pieces": row_plan.pieces.n_drawn, "share": SHARE}
    return reading


def recording_entries(row_plan: RowPlan, parsed: Mapping[int, ParsedRecording]) -> list[dict[str, Any]]:
    """The entries of the store's `recordings.json`, one per recording of the corpus."""
    entries = []
    for recording, piece, split in zip(
        row_plan.corpus.recordings, row_plan.pieces.piece_of, row_plan.pieces.split_of, strict=True
    ):
        midi = parsed.get(recording.index)
        sound = row_plan.files[recording.index] if midi else None
        entries.append(
            {
                "recording": recording.index,
                "composer": recording.composer,
                "title": recording.title,
                "year": recording.year,
                "piece": piece,
                "piece_name": row_plan.pieces.names[piece],
                "split": split,
                "split_in_csv": recording.split,
                "midi": recording.midi,
                "audio": recording.audio,
                "duration_s": recording.seconds,
                "used": midi is not None,
                "midi_sha256": midi.midi_sha256 if midi else None,
                "n_notes": midi.n_notes if midi else None,
                "midi_end_s": midi.end_s if midi else None,
                "midi_problem": midi.problem if midi else None,
                "audio_header": sound.audio if sound else None,
                "audio_problem": sound.audio_problem if sound else None,
                **({"named_piece": recording.piece} if recording.piece else {}),
            }
        )
    return entries
