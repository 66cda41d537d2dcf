"""The answer key of a rating set: each clip's row, labels and predictions, which raters must not see. Kept in SET/private."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.json_codec import from_json
from keybed.experiments.data.run_folder import read_json, write_json
from keybed.experiments.evaluation.gates import Override
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the clips were drawn from. store: its fingerprint. overrides: gates that the selection passed by."""

    store: str
    trial: bool = False
    audio_source: str
    window_s: float
    random_encoders: tuple[str, ...]
    overrides: tuple[Override, ...]


@dataclass(frozen=True, eq=False)
class AnswerKey:
    """One entry per rated clip, in the order of `codes`. score, valid: (clip, 8); predicted: (clip, 8) or None."""

    codes: tuple[str, ...]
    row: NDArray[np.int64]
    segment: NDArray[np.int64]
    piece: NDArray[np.int64]
    tier: NDArray[np.int64]
    score: NDArray[np.float64]
    valid: NDArray[np.bool_]
    predicted: NDArray[np.float64] | None
    provenance: Provenance


def write_answer_key(folder: Path, key: AnswerKey) -> Path:
    """Write SET/private/answers.json, which only its owner may read."""
    plain = {
        "dimensions": list(DIMENSIONS),
        "about": key.provenance,
        "clips": {
            code: {
                "row": int(key.row[i]),
                "segment": int(key.segment[i]),
                "piece": int(key.piece[i]),
                "tier": int(key.tier[i]),
                "score": key.score[i],
                "valid": key.valid[i],
                "predicted": None if key.predicted is None else key.predicted[i],
            }
            for i, code in enumerate(key.codes)
        },
    }
    private = folder / "private"
    private.mkdir(parents=True, exist_ok=True)
    private.chmod(0o700)
    path = write_json(private / "answers.json", plain)
    path.chmod(0o600)
    return path


def read_answer_key(folder: Path) -> AnswerKey:
    """Inverse of `write_answer_key`. Raises KeybedError where there is none, or a damaged one."""
    path = folder / "private" / "answers.json"
    data = read_json(path, "copy the set again from a backup")
    try:
        return _answer_key(data["clips"], from_json(Provenance, data["about"], path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KeybedError(f"{path} is damaged; copy the set again from a backup") from error


def _answer_key(clips: Mapping[str, Any], provenance: Provenance) -> AnswerKey:
    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.array([c[name] for c in clips.values()], dtype)

    def table(name: str) -> NDArray[np.float64]:
        return np.array([[np.nan if x is None else x for x in c[name]] for c in clips.values()], np.float64)

    known = all(c["predicted"] is not None for c in clips.values())
    return AnswerKey(
        tuple(clips),
        column("row", np.int64),
        column("segment", np.int64),
        column("piece", np.int64),
        column("tier", np.int64),
        table("score"),
        np.array([c["valid"] for c in clips.values()], bool),
        table("predicted") if known and clips else None,
        provenance,
    )
