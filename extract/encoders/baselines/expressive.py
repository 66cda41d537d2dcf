"""`expressive`: the MIDI baseline without weights, from what MIDIBert's tokens leave out (velocity, timing, pedal …).

`note_features` describes its 28 channels. `frames` holds the mean and standard deviation of each channel per bin, over
notes, pedal lifts or 10 ms steps; `layers` holds the same over the whole window, as its single state. A channel with
nothing to measure in a bin is 0 there, and the rate channels show that. A bin is masked only where no note begins, no
key is held, and the pedal neither moves nor is down.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.extract.encoders.baselines import note_features
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.loudness_trend import TREND_SIGMA_S
from keybed.store.format.recipe import EncoderSpec

CODE_VERSION = 3
CHANNELS = (
    *note_features.NOTE_CHANNELS,
    *note_features.LIFT_CHANNELS,
    *note_features.STEP_CHANNELS,
    *note_features.RATE_CHANNELS,
)
_N_MEASURED = len(CHANNELS) - len(note_features.RATE_CHANNELS)


def describe(*, n_bins: int, window_s: float, threads: int) -> EncoderSpec:
    """Spec of `expressive`: one state of 28 channels, mean and sd, masked."""
    return EncoderSpec(
        name="expressive",
        modality="midi",
        source="none",
        revision="",
        weights_sha256="none",
        code_version=CODE_VERSION,
        preprocessing={
            "window_s": window_s,
            "chord_s": CHORD_GAP_S,
            "trend_sigma_s": TREND_SIGMA_S,
            "step_s": note_features.STEP_S,
            "pooling_version": pooling.VERSION,
        },
        n_states=1,
        width=len(CHANNELS),
        n_bins=n_bins,
        frame_states=(0,),
        has_mask=True,
        threads=threads,
        channels=CHANNELS,
    )


class Expressive(Encoder):
    """The `expressive` baseline; see the module's docstring."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode."""
        spec = self.spec
        layers, frames, mask = pooling.zeros(spec, len(clips))
        for row, clip in enumerate(clips):
            if clip is not None:
                self._fill(clip, layers[row, :, 0], frames[row], mask[row])
        return pooling.finish(spec.name, layers, frames, mask, failed_clips(clips))

    def _fill(self, clip: Clip, layers: np.ndarray, frames: np.ndarray, mask: np.ndarray) -> None:
        n_bins, window_s, notes = self.spec.n_bins, clip.window_s, clip.performance
        column = 0
        for time_s, values in (
            note_features.note_measures(notes, window_s),
            note_features.lift_measures(notes, window_s),
            note_features.step_measures(notes, window_s),
        ):
            columns = slice(column, column + values.shape[1])
            column = columns.stop
            bins = pooling.note_bins(time_s, n_bins, window_s)
            layers[:, columns] = pooling.time_stats(values)
            frames[:, 0, columns], frames[:, 1, columns], _ = pooling.bin_stats(values, bins, n_bins)
        rates = note_features.bin_rates(notes, n_bins, window_s)
        layers[:, _N_MEASURED:] = pooling.time_stats(rates)
        frames[:, 0, _N_MEASURED:] = rates
        silent = CHANNELS.index("rest"), CHANNELS.index("note_rate_hz"), CHANNELS.index("pedal_travel_hz")
        mask[:] = (frames[:, 0, silent[0]] < 1) | (frames[:, 0, silent[1]] > 0) | (frames[:, 0, silent[2]] > 0)
        frames[~mask] = 0
