"""`expected`: the features of `expressive`, and how expected the playing is. Imports numpy alone.

docs/expected.md describes every channel. Events and contexts are pooled as `expressive` pools its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders import blas, pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.extract.encoders.baselines import expressive
from keybed.extract.encoders.expected import note_expectation, pedal_expectation
from keybed.extract.encoders.expected.models import PlayingModel
from keybed.extract.encoders.expected.spec import CHANNELS, models_of
from keybed.store.format.recipe import EncoderSpec


class Expected(Encoder):
    """The encoder; see the module's docstring. file: of the models; None for random ones. Raises WeightsRefused."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        window_s = float(spec.preprocessing["window_s"])
        self._expressive = expressive.Expressive(
            expressive.describe(n_bins=spec.n_bins, window_s=window_s, threads=spec.threads)
        )
        self._models = models_of(spec, file)

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. `Clip.music` chooses the model that was not fitted to the clip's piece."""
        layers, frames, mask = pooling.zeros(self.spec, len(clips))
        measured = self._expressive.encode(clips)
        own = len(CHANNELS)
        layers[..., :-own], frames[..., :-own], mask[:] = measured.layers, measured.frames, measured.mask
        with blas.one_thread():
            for row, clip in enumerate(clips):
                if clip is None:
                    continue
                mean_T1xC, second_T1xC = surprise(clip, self.spec.n_bins, self._models.judging(clip.music))
                layers[row, 0, 0, -own:], layers[row, 1, 0, -own:] = mean_T1xC[-1], second_T1xC[-1]
                frames[row, :, 0, -own:], frames[row, :, 1, -own:] = mean_T1xC[:-1], second_T1xC[:-1]
        frames[~mask] = 0
        return pooling.finish(self.spec.name, layers, frames, mask, failed_clips(clips))


def surprise(clip: Clip, n_bins: int, model: PlayingModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CHANNELS of a clip as `layers` and `frames` hold them, (n_bins + 1, channels) twice: each bin's, then the whole window's.

    First and second statistic: mean and standard deviation over a bin's events; of a context its measure and that of the window
    (the window itself has the standard deviation over bins).
    """
    notes, window_s = clip.performance, clip.window_s
    lifts, presses, steps = pedal_expectation.pedal_surprise(notes, window_s, model.pedal)
    struck, errors = note_expectation.note_surprise(note_expectation.notes_of(notes, window_s), model.notes)
    stats = [expressive.event_stats(e.values, e.time_s, n_bins, window_s) for e in (lifts, presses, steps, struck)]
    contexts = np.concatenate(
        [
            pedal_expectation.surprise_contexts(lifts, presses, n_bins, window_s),
            note_expectation.surprise_contexts(struck, errors, n_bins, window_s),
        ],
        axis=1,
    )
    of_window = np.repeat(contexts[-1:], n_bins, axis=0)
    over_bins = contexts[:-1].std(axis=0, keepdims=True)
    mean = np.concatenate([*(mean for mean, _ in stats), contexts], axis=1)
    second = np.concatenate([*(sd for _, sd in stats), np.concatenate([of_window, over_bins])], axis=1)
    return mean, second
