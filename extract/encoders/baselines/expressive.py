"""`expressive`: the MIDI baseline without weights, from what MIDIBert's tokens leave out (velocity, timing, pedal …).

docs/expressive.md describes every channel. `frames` holds the mean and standard deviation of each channel per bin, over its
events: notes, pairs of notes, pedal lifts, holds, or steps of 10 or 100 ms; `layers` holds the same over the whole window, as its
single state. A context channel is measured around each bin (`contexts`): `frames` holds that and, in place of a standard
deviation, the measure of the whole window; `layers` holds the window's and the standard deviation over bins. A channel with
nothing to measure in a bin is 0 there, and the rate channels show that. A bin is masked only where no note begins, no
key is held, and the pedal neither moves nor is down.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders import blas, pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.extract.encoders.baselines import (
    arch_features,
    articulation_features,
    note_features,
    pedal_features,
    touch_features,
    wrong_note_features,
)
from keybed.extract.encoders.baselines.contexts import CONTEXT_S, Contexts
from keybed.extract.encoders.baselines.events import Events
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.loudness_trend import TREND_SIGMA_S
from keybed.store.format.recipe import EncoderSpec

CODE_VERSION = 5
"""3: 28 channels. 5: 113 more; the 28 are as they were."""


_LENGTH_CONTEXTS = (
    *articulation_features.LENGTH_CONTEXTS,
    *articulation_features.VOICE_CONTEXTS,
    *articulation_features.AUDIBLE_CONTEXTS,
)
FAMILIES = {
    "first": (
        *note_features.NOTE_CHANNELS,
        *note_features.LIFT_CHANNELS,
        *note_features.STEP_CHANNELS,
        *note_features.RATE_CHANNELS,
    ),
    "notes": (*wrong_note_features.HARMONY_CHANNELS, *wrong_note_features.HARMONY_CONTEXTS),
    "articulation": (
        *articulation_features.LENGTH_CHANNELS,
        *articulation_features.VOICE_CHANNELS,
        *articulation_features.AUDIBLE_CHANNELS,
        *_LENGTH_CONTEXTS,
    ),
    "pedal": (
        *pedal_features.GAP_CHANNELS,
        *pedal_features.PRESS_CHANNELS,
        *pedal_features.BASS_CHANNELS,
        *pedal_features.HOLD_CHANNELS,
        *pedal_features.DIP_CHANNELS,
        *pedal_features.PEDAL_CONTEXTS,
    ),
    "dynamics": (
        *touch_features.TOUCH_CHANNELS,
        *touch_features.TOUCH_CONTEXTS,
    ),
    "expression": (*arch_features.ARCH_CHANNELS, *arch_features.ARCH_CONTEXTS),
}
"""The 28 channels of code version 3, and the later ones by the kind of mistake that they were made for."""
CHANNELS = (
    *note_features.NOTE_CHANNELS,
    *wrong_note_features.HARMONY_CHANNELS,
    *arch_features.ARCH_CHANNELS,
    *touch_features.TOUCH_CHANNELS,
    *note_features.LIFT_CHANNELS,
    *pedal_features.GAP_CHANNELS,
    *pedal_features.PRESS_CHANNELS,
    *pedal_features.BASS_CHANNELS,
    *pedal_features.HOLD_CHANNELS,
    *note_features.STEP_CHANNELS,
    *articulation_features.LENGTH_CHANNELS,
    *articulation_features.VOICE_CHANNELS,
    *articulation_features.AUDIBLE_CHANNELS,
    *note_features.RATE_CHANNELS,
    *pedal_features.DIP_CHANNELS,
    *wrong_note_features.HARMONY_CONTEXTS,
    *arch_features.ARCH_CONTEXTS,
    *touch_features.TOUCH_CONTEXTS,
    *pedal_features.PEDAL_CONTEXTS,
    *_LENGTH_CONTEXTS,
)
"""All channels: those with one kind of event beside each other, then rates, then contexts."""


def describe(*, n_bins: int, window_s: float, threads: int) -> EncoderSpec:
    """Spec of `expressive`: one state of 141 channels, mean and sd, masked."""
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
            "context_s": CONTEXT_S,
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
        with blas.one_thread():
            for row, clip in enumerate(clips):
                if clip is not None:
                    _Row(clip, layers[row, :, 0], frames[row], mask[row]).fill()
        return pooling.finish(spec.name, layers, frames, mask, failed_clips(clips))


def event_stats(
    values: NDArray[np.float64], time_s: NDArray[np.float64], n_bins: int, window_s: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel in each bin, then of all events: float32 (n_bins + 1, C) twice.

    values: (events, C). time_s: (events,), of which those outside the window are in no bin.
    """
    mean, sd, _ = pooling.bin_stats(values, pooling.note_bins(time_s, n_bins, window_s), n_bins)
    of_all = pooling.time_stats(values)
    return np.concatenate([mean, of_all[:1]]), np.concatenate([sd, of_all[1:]])


KERNEL = "keybed.extract.encoders.baselines.event_kernel"
"""The module of `event_stats` compiled; where numba is not installed it cannot be imported."""
_event_stats = event_stats


def use_compiled_loops() -> bool:
    """Compute with compiled loops in this process from now on; False where numba is not installed."""
    global _event_stats
    try:
        from keybed.extract.encoders.baselines.event_kernel import event_stats as compiled
    except ImportError:
        return False
    _event_stats = compiled
    return True


class _Row:
    """One row's features while its columns are filled from left to right, in the order of CHANNELS."""

    def __init__(
        self, clip: Clip, layers: NDArray[np.float32], frames: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> None:
        self.notes, self.window_s, self.n_bins = clip.performance, clip.window_s, mask.size
        self.layers, self.frames, self.mask = layers, frames, mask
        self._column = 0

    def fill(self) -> None:
        """Fill all columns and the mask."""
        notes, window_s = self.notes, self.window_s
        harmony = wrong_note_features.harmony_measures(notes, window_s)
        trends = arch_features.trends_of(notes, window_s)
        touch = touch_features.touch_of(notes, window_s)
        self._add(
            Events(*note_features.note_measures(notes, window_s)),
            harmony,
            arch_features.arch_measures(trends),
            touch_features.touch_measures(touch),
        )
        pedalling = pedal_features.pedalling_of(notes, window_s)
        gaps, presses, basses = (
            measured(pedalling)
            for measured in (pedal_features.gap_measures, pedal_features.press_measures, pedal_features.bass_measures)
        )
        self._add(Events(*note_features.lift_measures(notes, window_s)), gaps)
        self._add(presses)
        self._add(basses)
        self._add(pedal_features.hold_measures(pedalling))
        self._add(Events(*note_features.step_measures(notes, window_s)))
        length_contexts = self._add_lengths()
        self._add_rates(
            note_features.bin_rates(notes, self.n_bins, window_s),
            pedal_features.dip_rates(notes, self.n_bins, window_s),
        )
        at_notes = self._contexts(harmony)
        self._add_contexts(
            *wrong_note_features.harmony_contexts(harmony, at_notes),
            *arch_features.arch_contexts(trends, at_notes),
            *touch_features.touch_contexts(touch, at_notes),
            *pedal_features.pedal_contexts(gaps, presses, basses, self._contexts),
            *length_contexts,
        )
        _mask(self.frames, self.mask)

    def _add_lengths(self) -> list[NDArray[np.float64]]:
        """The channels of articulation; returns their contexts."""
        lengths = articulation_features.lengths_of(self.notes, self.window_s)
        measured, residual = articulation_features.length_measures(lengths)
        voices = articulation_features.voice_measures(lengths)
        audible, audible_residual = articulation_features.audible_measures(lengths)
        for events in (measured, voices, audible):
            self._add(events)
        return [
            *articulation_features.length_contexts(measured, residual, self._contexts(measured)),
            *articulation_features.voice_contexts(voices, self._contexts(voices)),
            *articulation_features.audible_contexts(audible, audible_residual, self._contexts(audible)),
        ]

    def _contexts(self, events: Events) -> Contexts:
        return Contexts(events.time_s, self.n_bins, self.window_s)

    def _columns(self, n: int) -> slice:
        self._column += n
        return slice(self._column - n, self._column)

    def _add(self, *of_one_time: Events) -> None:
        """Add the channels of events that have the same times."""
        tables = [events.values for events in of_one_time]
        values = tables[0] if len(tables) == 1 else np.concatenate(tables, axis=1)
        columns = self._columns(values.shape[1])
        stats = _event_stats if values.shape[1] > 1 else event_stats
        mean, sd = stats(values, of_one_time[0].time_s, self.n_bins, self.window_s)
        self.layers[0, columns], self.layers[1, columns] = mean[-1], sd[-1]
        self.frames[:, 0, columns], self.frames[:, 1, columns] = mean[:-1], sd[:-1]

    def _add_rates(self, *tables: NDArray[np.float64]) -> None:
        rates = np.concatenate(tables, axis=1)
        columns = self._columns(rates.shape[1])
        self.layers[:, columns] = pooling.time_stats(rates)
        self.frames[:, 0, columns] = rates

    def _add_contexts(self, *tables: NDArray[np.float64]) -> None:
        table = np.concatenate(tables, axis=1)
        columns = self._columns(table.shape[1])
        self.layers[:, columns] = [table[-1], table[:-1].std(axis=0)]
        self.frames[:, 0, columns], self.frames[:, 1, columns] = table[:-1], table[-1]


def _mask(frames: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    rest, notes, travel = (frames[:, 0, CHANNELS.index(n)] for n in ("rest", "note_rate_hz", "pedal_travel_hz"))
    mask[:] = (rest < 1) | (notes > 0) | (travel > 0)
    frames[~mask] = 0
