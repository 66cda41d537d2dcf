"""Fit the models of `expected` to undegraded windows, each group of pieces left out once. Needs scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

from keybed.extract.encoders.expected.models import (
    HIDDEN_NOTES,
    HIDDEN_PEDAL,
    PlayingModel,
)
from keybed.extract.encoders.expected.network import Floats, Network
from keybed.extract.encoders.expected.note_expectation import (
    FEWEST_NOTES,
    NoteModel,
    Notes,
    Predictor,
    notes_of,
)
from keybed.extract.encoders.expected.pedal_expectation import LEAST_CHANCE, N_INPUTS, PedalModel, steps_of
from keybed.extract.music.performance import Performance
from keybed.store.errors import KeybedError

STEP_SHARE = 0.25
"""Share of the pedal's steps that is used: neighbours are nearly the same."""
PEDAL_EPOCHS, NOTE_EPOCHS = 8, 15
LEAST_LENGTH_ERROR, LEAST_VELOCITY_ERROR = 0.05, 0.5
"""Least errors to expect, in octaves and in velocity."""


class NotEnoughPlaying(KeybedError):
    """The rows hold too little for models of undegraded playing; the message says what is missing."""


@dataclass(frozen=True, eq=False)
class Playing:
    """What is learnt from n undegraded windows. Of every used step of the pedal: context_SxI, down and moves (S,), window_of_step
    (S,); of every note: notes, and window_of_note (k,)."""

    n: int
    context_SxI: Floats
    down: NDArray[np.bool_]
    moves: NDArray[np.bool_]
    window_of_step: NDArray[np.intp]
    notes: Notes
    window_of_note: NDArray[np.intp]

    @classmethod
    def of(cls, performances: Sequence[Performance], window_s: float, seed: int = 0) -> Playing:
        """Raises NotEnoughPlaying where no window has notes enough."""
        rng = np.random.default_rng(seed)
        steps, notes = [], []
        for number, performance in enumerate(performances):
            of_pedal = steps_of(performance, window_s)
            kept = np.flatnonzero(rng.random(of_pedal.down.size) < STEP_SHARE)
            steps.append(
                (of_pedal.context[kept], of_pedal.down[kept], of_pedal.moves[kept], np.full(kept.size, number))
            )
            notes.append(notes_of(performance, window_s))
        if not any(n.time_s.size for n in notes):
            raise NotEnoughPlaying(
                f"none of the {len(notes)} undegraded windows has {FEWEST_NOTES} notes; models need music to learn from"
            )
        context, down, moves, window_of_step = (np.concatenate(parts) for parts in zip(*steps, strict=True))
        together = Notes(*(np.concatenate(parts) for parts in zip(*notes, strict=True)))
        return cls(
            n=len(notes),
            context_SxI=context,
            down=down,
            moves=moves,
            window_of_step=window_of_step,
            notes=together,
            window_of_note=np.repeat(np.arange(len(notes)), [n.time_s.size for n in notes]),
        )


def fit(playing: Playing, windows: NDArray[np.bool_], seed: int = 0) -> PlayingModel:
    """A model of some of the windows, bool (n,). Raises NotEnoughPlaying where they have no notes."""
    step, note = windows[playing.window_of_step], windows[playing.window_of_note]
    if not note.any():
        raise NotEnoughPlaying(
            f"the undegraded windows of all pieces but one group hold no window of {FEWEST_NOTES} notes"
        )
    notes = playing.notes
    return PlayingModel(
        PedalModel(
            *(
                _crossing(playing.context_SxI[of], playing.moves[of], seed)
                for of in (step & playing.down, step & ~playing.down)
            )
        ),
        NoteModel(
            _predictor(notes.of_length[note], notes.length_log2[note], LEAST_LENGTH_ERROR, seed),
            _predictor(notes.of_velocity[note], notes.velocity[note], LEAST_VELOCITY_ERROR, seed),
        ),
    )


@dataclass(frozen=True)
class HeldOut:
    """How well models predict windows that they were not fitted to. length_r2, velocity_r2: share of the variance of log2 length
    and of velocity. pedal_bits, pedal_bits_blind: mean surprise of a step, and that of always expecting the same chance."""

    length_r2: float
    velocity_r2: float
    pedal_bits: float
    pedal_bits_blind: float


def held_out(playing: Playing, models: Sequence[PlayingModel], group: NDArray[np.intp]) -> HeldOut:
    """Each window judged by the model of its group, (n,)."""
    of_note, of_step = group[playing.window_of_note], group[playing.window_of_step]
    notes = playing.notes
    length, velocity, chance = np.zeros(of_note.size), np.zeros(of_note.size), np.zeros(of_step.size)
    for number, model in enumerate(models):
        own, at = of_note == number, of_step == number
        for out, table, predictor in (
            (length, notes.of_length, model.notes.length),
            (velocity, notes.of_velocity, model.notes.velocity),
        ):
            out[own] = predictor.value(predictor.scaled(table[own]))
        chance[at] = model.pedal.chance(playing.context_SxI[at], playing.down[at])
    blind = np.zeros(of_step.size)
    for where in (playing.down, ~playing.down):
        blind[where] = playing.moves[where].mean() if where.any() else 0.0
    return HeldOut(
        float(r2_score(notes.length_log2, length)),
        float(r2_score(notes.velocity, velocity)),
        *(float(_bits(c, playing.moves).mean()) for c in (chance, blind)),
    )


def _bits(chance: NDArray[np.float64], moves: NDArray[np.bool_]) -> NDArray[np.float64]:
    known = np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE)
    return -np.log2(np.where(moves, known, 1 - known))


def library_versions() -> dict[str, str]:
    """Of the libraries that a fit's last bits depend on."""
    return {"numpy": np.__version__, "scikit-learn": sklearn.__version__}


def _crossing(context: Floats, moves: NDArray[np.bool_], seed: int) -> Network:
    """Log odds that the pedal crosses; the same for all contexts where it always or never does."""
    if moves.all() or not moves.any():
        share = float(np.clip(moves.mean() if moves.size else 0.0, LEAST_CHANCE, 1 - LEAST_CHANCE))
        return Network.constant(N_INPUTS, float(np.log(share / (1 - share))))
    model = MLPClassifier(
        hidden_layer_sizes=(HIDDEN_PEDAL,),
        alpha=1e-3,
        batch_size=min(256, len(context)),
        learning_rate_init=3e-3,
        random_state=seed,
    )
    for _ in range(PEDAL_EPOCHS):
        model.partial_fit(context, moves, classes=[False, True])
    return _network(model)


def _predictor(inputs: Floats, target: NDArray[np.float64], least: float, seed: int) -> Predictor:
    """A network for the target, then one for how far it is off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an input that is NaN everywhere
        centre, scale = np.nanmean(inputs, axis=0), np.nanstd(inputs, axis=0)
    blank = Network.constant(2 * inputs.shape[1], 0.0)
    centre, scale = (np.nan_to_num(x).astype(np.float32) for x in (centre, scale))
    predictor = Predictor(centre, np.where(scale > 1e-6, scale, np.float32(1)), blank, blank, least)
    scaled = predictor.scaled(inputs)
    value = _regression(scaled, target, seed)
    error = _regression(scaled, np.abs(target - value(scaled)), seed)
    return predictor._replace(value=value, error=error)


def _regression(scaled: Floats, target: NDArray[np.float64], seed: int) -> Network:
    centre, scale = float(target.mean()), float(target.std())
    if scale < 1e-6 or len(target) < 2:
        return Network.constant(scaled.shape[1], centre)
    model = MLPRegressor(
        hidden_layer_sizes=HIDDEN_NOTES,
        alpha=3e-2,
        batch_size=min(512, len(target)),
        learning_rate_init=2e-3,
        max_iter=NOTE_EPOCHS,
        n_iter_no_change=NOTE_EPOCHS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of passes
        model.fit(scaled, ((target - centre) / scale).astype(np.float32))
    network = _network(model)
    weights, biases = list(network.weights), list(network.biases)
    weights[-1], biases[-1] = weights[-1] * np.float32(scale), biases[-1] * np.float32(scale) + np.float32(centre)
    return Network(tuple(weights), tuple(biases))


def _network(model: Any) -> Network:
    """The layers of a fitted model of scikit-learn."""
    weights, biases = ([np.asarray(a, np.float32) for a in arrays] for arrays in (model.coefs_, model.intercepts_))
    return Network(tuple(weights), tuple(biases))
