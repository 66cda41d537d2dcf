"""`Scorer`: a model ready to score recordings on this machine, with its encoders built and its renderer checked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.calibration import intervals
from keybed.experiments.scoring.config import HOP_S
from keybed.experiments.scoring.distance import distance_of
from keybed.experiments.scoring.errors import CannotScore
from keybed.experiments.scoring.model import ScoringModel
from keybed.experiments.scoring.reasons import row_reasons
from keybed.experiments.scoring.results import (
    DimensionScore,
    LookedAt,
    Reason,
    ScoredFile,
    ScoredMusic,
    WholeScore,
    WindowScores,
)
from keybed.experiments.scoring.sound import file_sound, rendered_sound
from keybed.experiments.scoring.source import Source
from keybed.experiments.scoring.windows import WindowBatch, WindowEncoder, window_starts
from keybed.extract.audio.render import DEFAULT_SOUNDFONT, Renderer, default_soundfont
from keybed.extract.encoders.registry import clip_seconds, runs_in_renderer
from keybed.extract.processes import return_freed_memory
from keybed.extract.progress import Progress, silent
from keybed.extract.run.check_recipe import check_same_pristine_rows, planned_encoders, render_files
from keybed.heads import fitted
from keybed.heads.models import HeadOutput
from keybed.store.counted import counted
from keybed.store.format.soundfonts import held_out_soundfont, soundfont_names
from keybed.store.format.vocabulary import DIMENSIONS


class Scorer:
    """Scores recordings with one model; encoders are built once.

    paths: where soundfont, note bank and weights lie on this machine, where they differ from what the model knows. Raises
    NotAsPlanned where this machine's code, soundfont or weights are not those of the recipe.
    """

    def __init__(self, model: ScoringModel, paths: Mapping[str, str] | None = None) -> None:
        self.model = model
        recipe, here = model.recipe, _paths(model, paths or {})
        check_same_pristine_rows(recipe)
        if not self._cheap:
            return_freed_memory()
        instruments = render_files(recipe, here, corpus=False).instruments
        self._instrument = None if self.recorded else instruments[_trained_soundfont(recipe.audio)]
        renderer = None if self._instrument is None else Renderer(self._instrument.soundfont, self._instrument.bank)
        with tempfile.TemporaryDirectory(prefix="keybed-score-") as folder:
            self._encoders = planned_encoders(recipe, {**_fitted_files(model, Path(folder)), **here})
        self._windows = WindowEncoder(
            model.view,
            self._encoders,
            renderer,
            model.window_s,
            int(recipe.degradation["seed"]),
            model.constants,
            model.room,
        )

    @property
    def recorded(self) -> bool:
        """Whether the model heard recorded sound in training, and not renderings."""
        return bool(self.model.recipe.audio["source"] == "recorded")

    @property
    def window_cost_s(self) -> float:
        """Seconds that networks take to encode a window on this machine's processors; 0 without networks, and on a GPU."""
        return sum(clip_seconds(encoder) for encoder in self._encoders)

    @property
    def _cheap(self) -> bool:
        """Whether no encoder is a network."""
        return all(runs_in_renderer(spec) for spec in self.model.recipe.encoders)

    def score(
        self, source: Source, hop_s: float = HOP_S, progress: Progress = silent
    ) -> tuple[ScoredFile, ScoredMusic]:
        """Score one recording. Raises CannotScore for sound that is shorter than a window, or without sound where it is needed."""
        window_s = self.model.window_s
        if source.sound is None and self.recorded:
            raise CannotScore(f"{source.name}: this model heard recorded sound in training; give the sound with audio=")
        if source.sound is None and "rooms" in self.model.recipe.audio and self.model.room is None:
            raise CannotScore(
                f"{source.name}: the training rows were rendered in rooms, and this model was packed by a version of Keybed that left "
                "them out; pack the run again, or give the sound with --audio FILE"
            )
        if source.sound is not None and source.duration_s < window_s:
            raise CannotScore(
                f"{source.name} lasts {source.duration_s:.1f} s; this model judges windows of {window_s:g} s"
            )
        starts = window_starts(source.duration_s, window_s, hop_s)
        windows: list[WindowScores] = []
        looks: list[tuple[int, dict[str, NDArray[np.float32]]]] = []
        relative: list[NDArray[np.float64]] = []
        progress(source.name, 0, len(starts))
        for batch in self._windows.batches(source, starts, self.model.batch_rows):
            scores, look = self._batch(batch)
            windows += scores
            looks.append((len(scores), look))
            relative.append(self._relative_scores(batch))
            progress(source.name, len(windows), len(starts))
        file = ScoredFile(
            name=source.name,
            path=None if source.path is None else str(source.path),
            audio_path=None if source.sound is None else str(source.sound),
            notes_from=source.notes_from,
            sha256=source.sha256,
            duration_s=round(source.duration_s, 6),
            n_notes=source.performance.n_notes,
            windows=tuple(windows),
            whole=whole_scores(windows),
            remarks=(*source.remarks, *self._remarks(source)),
        )
        if source.sound is None:
            assert self._instrument is not None
            sound = partial(rendered_sound, source.performance, self._instrument, self.model.room)
        else:
            sound = partial(file_sound, source.sound)
        compared = None if self.model.comparing is None else np.concatenate(relative)
        return file, ScoredMusic(source.performance, sound, _joined(looks), compared)

    def _remarks(self, source: Source) -> list[str]:
        made = []
        if source.midi_sha256 in self.model.trained_on:
            made.append(
                "This recording is one of those that the heads were trained on; its scores look better than they are."
            )
        if source.notes_from == "transcription":
            made.append("The notes were transcribed from the sound; errors of the transcription count as the player's.")
        if not self.recorded:
            made += rendered_remarks(self.model) if source.sound is None else [_heard_renderings(self.model)]
        if source.duration_s < self.model.window_s:
            made.append(f"The recording is shorter than a window of {self.model.window_s:g} s; silence follows it.")
        return made

    def _relative_scores(self, batch: WindowBatch) -> NDArray[np.float64]:
        """What the windows are compared by, (window, K); NaN where there are no features."""
        scores = np.full((len(batch.rows), len(DIMENSIONS)), np.nan)
        if self.model.comparing is not None and batch.inputs is not None:
            scores[batch.made] = self.model.comparing.relative_scores(batch.inputs)
        return scores

    def _batch(self, batch: WindowBatch) -> tuple[list[WindowScores], dict[str, NDArray[np.float32]]]:
        model, made = self.model, batch.made
        n, k = len(made), len(DIMENSIONS)
        score, lower, upper, far = (np.full(shape, np.nan) for shape in ((n, k), (n, k), (n, k), (n,)))
        wide = np.zeros((n, k), bool)
        look: dict[str, NDArray[np.float32]] = {}
        if batch.inputs is not None:
            far[made] = distance_of(model.distance, batch.inputs)
            (inputs,) = model.inputs([batch.inputs])
            predicted = fitted.predict(model.fit, [inputs])[model.head]
            found = intervals(model.calibration, predicted)
            score[made], lower[made], upper[made], wide[made] = found.score, found.lower, found.upper, found.wide
            look = _looked_at(fitted.attend(model.fit, model.head, [inputs]).output, made)
        windows = []
        for i, row in enumerate(batch.rows):
            reasons = [
                reason or ("outside training" if far[i] > 1 else "wide interval" if wide[i, d] else None)
                for d, reason in enumerate(row_reasons(row))
            ]
            cells = {
                name: _cell(reasons[d], score[i, d], lower[i, d], upper[i, d]) for d, name in enumerate(DIMENSIONS)
            }
            start_s = float(batch.start_s[i])
            distance = round(float(far[i]), 4) if made[i] else None
            end_s = round(start_s + model.window_s, 6)
            windows.append(WindowScores(start_s, end_s, row.variant.n_notes, distance, cells))
        return windows, look


def _trained_soundfont(audio: Mapping[str, Any]) -> int:
    """Number of the first soundfont that training rows have."""
    return 1 if held_out_soundfont(audio) == 0 else 0


def _n_trained_soundfonts(audio: Mapping[str, Any]) -> int:
    n = len(soundfont_names(audio)) - (held_out_soundfont(audio) is not None)
    return max(n, 1)


def rendered_remarks(model: ScoringModel) -> list[str]:
    """How the notes of a recording without sound were made audible, where training rows have several pianos or rooms."""
    audio, room = model.recipe.audio, model.card.room
    fonts = soundfont_names(audio)
    made = []
    if fonts:
        name, n = fonts[_trained_soundfont(audio)], _n_trained_soundfonts(audio)
        which = "the soundfont" if n == 1 else f"the first of {n} soundfonts"
        made.append(f"The notes were rendered with {name}, {which} that the heads heard.")
    if room is not None:
        made.append(
            f"The notes were rendered in the room with the median decay of {counted(room.rooms, 'room')} that the heads heard "
            f"(60 dB in {room.decay_s:.2f} s), through the median microphone; every recording gets this room."
        )
    return made


def _heard_renderings(model: ScoringModel) -> str:
    n = _n_trained_soundfonts(model.recipe.audio)
    of = "one soundfont" if n == 1 else f"{n} soundfonts"
    return f"The heads heard renderings of {of} in training; recorded sound may lie outside them."


def _fitted_files(model: ScoringModel, folder: Path) -> dict[str, str]:
    """The fitted models that the scoring model holds, written into the folder, by the names of their paths."""
    paths = {}
    for name, data in model.fitted.items():
        file = folder / f"{name}.npz"
        file.write_bytes(data)
        paths[f"weights/{name}"] = str(file)
    return paths


def _paths(model: ScoringModel, given: Mapping[str, str]) -> dict[str, str]:
    """Where files lie: as given, as the model knows, where that is still there, else the defaults of this machine.

    Without the files that the model holds itself.
    """
    held = {f"weights/{name}" for name in model.fitted}
    known = {name: path for name, path in model.paths.items() if name not in held and Path(path).exists()}
    defaults = {
        f"weights/{e.name}": e.source for e in model.recipe.encoders if e.source not in ("none", "random", "local")
    }
    if model.recipe.audio.get("soundfont") == DEFAULT_SOUNDFONT:
        defaults["soundfont"] = str(default_soundfont())
    return {**defaults, **known, **given}


def _cell(reason: Reason | None, score: float, lower: float, upper: float) -> DimensionScore:
    if reason is not None:
        return DimensionScore(None, None, None, reason)
    return DimensionScore(round(float(score), 3), round(float(lower), 3), round(float(upper), 3))


def whole_scores(windows: list[WindowScores]) -> dict[str, WholeScore]:
    """Means over the judged windows of each dimension."""
    whole = {}
    for name in DIMENSIONS:
        cells = [w.scores[name] for w in windows if w.scores[name].judged]
        columns = np.array([(c.score, c.lower, c.upper) for c in cells], np.float64).reshape(-1, 3)
        score, lower, upper = (round(float(x), 3) for x in columns.mean(axis=0)) if cells else (None, None, None)
        whole[name] = WholeScore(score, lower, upper, len(cells))
    return whole


_WEIGHTS = {
    "gate_WxMxK": "gate_BxMxK",
    "audio_pooling_WxT": "audio_pooling_BxHxT",
    "midi_pooling_WxT": "midi_pooling_BxHxT",
    "audio_to_midi_WxTxT": "audio_to_midi_BxHxTxT",
    "midi_to_audio_WxTxT": "midi_to_audio_BxHxTxT",
}


def _looked_at(output: HeadOutput, made: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """The weights of all windows of a batch, by field of LookedAt; NaN where a window has no features."""
    look = {}
    for name, source in _WEIGHTS.items():
        weights = getattr(output, source)
        if weights is None:
            continue
        kept = weights if name.startswith("gate") else weights.mean(axis=1)
        look[name] = np.full((len(made), *kept.shape[1:]), np.nan, np.float32)
        look[name][made] = kept
    return look


def _joined(looks: list[tuple[int, dict[str, NDArray[np.float32]]]]) -> LookedAt:
    """The weights of all batches, each with its number of windows; NaN for a batch without features."""
    shapes = {name: weights.shape[1:] for _, look in looks for name, weights in look.items()}
    joined = {}
    for name, shape in shapes.items():
        parts = [look.get(name, np.full((n, *shape), np.nan, np.float32)) for n, look in looks]
        joined[name] = np.concatenate(parts)
    return LookedAt(**joined)
