"""Two placeholder encoders: the whole pipeline runs and is tested without weights or torch.

They are simple deterministic functions of the clip with the layout of the big encoders (several states, a mask for
MIDI), so that a pipeline that works with them works with MERT and MIDIBert.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.store.format.recipe import EncoderSpec

AUDIO_CODE_VERSION, MIDI_CODE_VERSION = 1, 2
N_STATES = 3
AUDIO_CHANNELS = ("mean", "mean_abs", "rms", "peak", "crossings", "roughness")
MIDI_CHANNELS = ("pitch", "velocity", "length_s", "onset_phase")
_STEPS_PER_BIN = 10


def describe_audio(*, n_bins: int, window_s: float, threads: int) -> EncoderSpec:
    """Spec of `placeholder-audio`: three states of six measures; each bin has 10 steps."""
    return EncoderSpec(
        name="placeholder-audio",
        modality="audio",
        source="none",
        revision="",
        weights_sha256="none",
        code_version=AUDIO_CODE_VERSION,
        preprocessing={"window_s": window_s, "sample_rate_hz": SAMPLE_RATE_HZ, "pooling_version": pooling.VERSION},
        n_states=N_STATES,
        width=len(AUDIO_CHANNELS),
        n_bins=n_bins,
        frame_states=(1, 2),
        threads=threads,
        channels=AUDIO_CHANNELS,
    )


def describe_midi(*, n_bins: int, window_s: float, threads: int) -> EncoderSpec:
    """Spec of `placeholder-midi`: three states of four measures per note; frames hold the mean only; masked."""
    return EncoderSpec(
        name="placeholder-midi",
        modality="midi",
        source="none",
        revision="",
        weights_sha256="none",
        code_version=MIDI_CODE_VERSION,
        preprocessing={"window_s": window_s, "pooling_version": pooling.VERSION},
        n_states=N_STATES,
        width=len(MIDI_CHANNELS),
        n_bins=n_bins,
        frame_states=(1, 2),
        frame_stats=("mean",),
        has_mask=True,
        threads=threads,
        channels=MIDI_CHANNELS,
    )


class PlaceholderAudio(Encoder):
    """Six measures of short pieces of the waveform (mean, RMS, peak …); state s is tanh((s + 1) · measure)."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode."""
        rows = enumerate(clips)
        steps = [None if clip is None else self._steps(checked_waveform(self.spec, clip, row)) for row, clip in rows]
        return _encode(self.spec, steps)

    def _steps(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        n_steps = self.spec.n_bins * _STEPS_PER_BIN
        length = audio.size // n_steps
        pieces = audio[: n_steps * length].reshape(n_steps, length).astype(np.float64)
        measures = np.stack(
            [
                pieces.mean(1),
                np.abs(pieces).mean(1),
                np.sqrt((pieces**2).mean(1)),
                np.abs(pieces).max(1),
                (np.diff(np.signbit(pieces).astype(np.int8), axis=1) != 0).mean(1),
                np.abs(np.diff(pieces, axis=1)).mean(1),
            ],
            axis=1,
        )
        return measures, np.repeat(np.arange(self.spec.n_bins), _STEPS_PER_BIN)


class PlaceholderMidi(Encoder):
    """Four measures per note; state s is tanh((s + 1) · measure)."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode."""
        return _encode(self.spec, [None if clip is None else self._steps(clip) for clip in clips])

    def _steps(self, clip: Clip) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        notes = clip.performance
        bins = pooling.note_bins(notes.onset_s, self.spec.n_bins, clip.window_s)
        bin_s = clip.window_s / self.spec.n_bins
        measures = np.stack(
            [
                notes.pitch / 127.0,
                notes.velocity / 127.0,
                notes.offset_s - notes.onset_s,
                np.mod(notes.onset_s, bin_s) / bin_s,
            ],
            axis=1,
        )
        return measures[bins >= 0], bins[bins >= 0]


def _encode(spec: EncoderSpec, rows: list[tuple[NDArray[np.float64], NDArray[np.intp]] | None]) -> Pooled:
    layers, frames, mask = pooling.zeros(spec, len(rows))
    for index, row in enumerate(rows):
        if row is None:
            continue
        steps, bins = row
        states = [np.tanh((state + 1) * steps) for state in range(spec.n_states)]
        for state, values in enumerate(states):
            layers[index, :, state] = pooling.time_stats(values)
        chosen = np.mean([states[state] for state in spec.frame_states], axis=0)
        mean, sd, count = pooling.bin_stats(chosen, bins, spec.n_bins)
        frames[index] = np.stack([mean, sd][: len(spec.frame_stats)], axis=1)
        mask[index] = count > 0
    return pooling.finish(spec.name, layers, frames, mask, np.array([row is None for row in rows], np.bool_))
