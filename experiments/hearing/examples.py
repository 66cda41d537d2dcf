"""Three test rows of a run to hear: the most certain prediction, the most wrong one, and the one that divides audio and MIDI.

They are chosen and made while the store is open, and kept in RUN/examples.json, so that a report can be drawn again without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.json_codec import from_json
from keybed.experiments.data.run_folder import read_json, write_json
from keybed.experiments.evaluation.model_names import BEST_FUSION, FINAL_FUSION, SINGLES
from keybed.experiments.evaluation.saved_predictions import SavedPredictions, load_predictions
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, AXIS_DIMENSIONS, TIERS
from keybed.store.read.store import Store

FILE = "examples.json"
_REMEDY = "delete it; `keybed report RUN --store STORE` makes it again"
TONE = AXIS_DIMENSIONS.index("tone_quality")
"""Left out where audio and MIDI are compared: no head hears noise in the notes."""
REASONS = {
    "certain": "Most certain",
    "wrong": "Most wrong",
    "divided": "Most divided",
}


@dataclass(frozen=True)
class Choice:
    """One cell of the predictions. position: among the run's rows; dimension: index into AXIS_DIMENSIONS."""

    reason: str
    position: int
    dimension: int


@dataclass(frozen=True)
class Example:
    """One row of the strip. predicted: model -> mean over seeds. roll and flac (base64): None where the row could not be made again."""

    reason: str
    row: int
    dimension: str
    score: float
    predicted: dict[str, float]
    place: str
    sentence: str
    others: tuple[str, ...]
    pitch_range: tuple[int, int] | None
    roll: dict[str, Any] | None
    flac: str | None


@dataclass(frozen=True)
class Examples:
    """RUN/examples.json. model: whose predictions are most certain and most wrong. problem: why there is no sound, else empty."""

    model: str
    examples: tuple[Example, ...]
    problem: str


def choose(saved: SavedPredictions) -> list[Choice]:
    """The three cells, each of another segment, among degraded test rows whose dimension is valid.

    Certain: farthest from the mean prediction of the dimension, in units of the spread over seeds. Where the run has no audio or
    MIDI head, or too few segments, there are fewer.
    """
    n_axes = len(AXIS_DIMENSIONS)
    score, valid = saved.truth["score"][:, :n_axes], saved.truth["valid"][:, :n_axes].astype(bool)
    open_cells = valid & np.isfinite(score) & (saved.truth["tier"] != TIERS.index("pristine"))[:, None]
    by_seed = saved.by_model[model_of(saved)][..., :n_axes].astype(np.float64)
    predicted = by_seed.mean(0)
    measures: dict[str, NDArray[np.float64]] = {
        "certain": _certainty(by_seed, open_cells),
        "wrong": np.abs(predicted - score),
    }
    if all(name in saved.by_model for name in SINGLES):
        audio, midi = (saved.by_model[name][..., :n_axes].astype(np.float64).mean(0) for name in SINGLES)
        measures["divided"] = np.abs(audio - midi)
        measures["divided"][:, TONE] = -np.inf
    chosen: list[Choice] = []
    for reason, measure in measures.items():
        cells = np.where(open_cells & np.isfinite(measure), measure, -np.inf)
        if np.isfinite(cells).any():
            position, dimension = (int(k) for k in np.unravel_index(np.argmax(cells), cells.shape))
            chosen.append(Choice(reason, position, dimension))
            open_cells = open_cells & (saved.truth["segment"] != saved.truth["segment"][position])[:, None]
    return chosen


def model_of(saved: SavedPredictions) -> str:
    """The run's own fusion: Phase 4's, or the best one chosen in each fold."""
    return FINAL_FUSION if FINAL_FUSION in saved.by_model else BEST_FUSION


def _certainty(by_seed: NDArray[np.float64], cells: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance from the dimension's mean prediction over the spread of the seeds, which is at least their usual spread."""
    predicted, spread = by_seed.mean(0), by_seed.std(0)
    result = np.full(predicted.shape, -np.inf)
    for k in range(predicted.shape[1]):
        rows = cells[:, k]
        if rows.any():
            usual = float(np.median(spread[rows, k])) or 1.0
            result[:, k] = np.abs(predicted[:, k] - predicted[rows, k].mean()) / np.hypot(spread[:, k], usual)
    return result


def make_examples(run: Path, store: Store, paths: Mapping[str, str] | None = None) -> Examples:
    """Choose the examples of a run, make their rows again where that is possible here, and write RUN/examples.json.

    Raises KeybedError where the run has no predictions.
    """
    saved = load_predictions(run)
    remaker, problem = None, ""
    try:
        from keybed.experiments.hearing.row_remaking import RowRemaker

        remaker = RowRemaker(store, dict(paths or {}))
    except (KeybedError, OSError, ModuleNotFoundError) as error:
        problem = _in_words(error)
    made = []
    for choice in choose(saved):
        heard: dict[str, Any] = {}
        if remaker is not None:
            try:
                heard = _heard(remaker, int(saved.index[choice.position]), AXES[choice.dimension])
            except (KeybedError, OSError, ModuleNotFoundError) as error:
                problem = _in_words(error)
        made.append(_example(saved, choice, heard))
    examples = Examples(model_of(saved), tuple(made), problem)
    write_json(run / FILE, examples)
    return examples


def read_examples(run: Path) -> Examples | None:
    """RUN/examples.json; None where the run has none. Raises RunDamaged, JsonMismatch."""
    path = run / FILE
    if not path.is_file():
        return None
    return from_json(Examples, read_json(path, _REMEDY), path)


def _in_words(error: Exception) -> str:
    """Why there is no sound; for an absent library, how to install what renders."""
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{error.name} is not installed. In Keybed's checkout run pip install -c constraints.txt '.[extract]', then "
            "keybed report RUN"
        )
    return str(error).partition("\n")[0]


def _heard(remaker: Any, row: int, axis: str) -> dict[str, Any]:
    from keybed.experiments.hearing.listen_page import clip_roll, other_changes, shown_pitch
    from keybed.experiments.hearing.roll import pitch_range
    from keybed.experiments.hearing.sound import flac_text

    planned = remaker.planned(row)
    stages = remaker.stages(planned)
    sentence = stages.change(axis).sentence
    return {
        "place": remaker.title(planned),
        "sentence": f"{sentence[0].upper()}{sentence[1:]}.",
        "others": tuple(other_changes(stages, axis)),
        "pitch_range": pitch_range(shown_pitch(stages)),
        "roll": clip_roll(stages, axis),
        "flac": flac_text(remaker.sound(planned, stages.variant).audio),
    }


def _example(saved: SavedPredictions, choice: Choice, heard: Mapping[str, Any]) -> Example:
    at, k = choice.position, choice.dimension
    names = (model_of(saved), *(name for name in SINGLES if name in saved.by_model))
    empty = {"place": "", "sentence": "", "others": (), "pitch_range": None, "roll": None, "flac": None}
    return Example(
        reason=choice.reason,
        row=int(saved.index[at]),
        dimension=AXIS_DIMENSIONS[k],
        score=float(saved.truth["score"][at, k]),
        predicted={name: float(saved.by_model[name][:, at, k].mean()) for name in names},
        **{**empty, **heard},
    )
