"""`transcribed` in torch: clips are transcribed in batches of one fixed size, and the notes measured without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.encoders.baselines.expressive import Expressive
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.transcribed.fidelity import MEASURES, fidelity
from keybed.extract.encoders.transkun.model import (
    CPU_BATCH_ROWS,
    GPU_BATCH_ROWS,
    GPU_SPECTROGRAM_ROWS,
    at_model_rate,
    n_model_samples,
    shared_network,
)
from keybed.extract.encoders.transkun.transcribe import clip_performance, last
from keybed.extract.music.performance import Performance
from keybed.store.format.recipe import EncoderSpec

MOST_NOTES_PER_S = 60
"""Far above what hands can play. Of more, the longest are kept: untrained weights hear thousands."""
_NO_AUDIO = np.zeros(0, np.float32)


class Transcribed(Encoder):
    """`transcribed`; see the module's docstring."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, _ = device.prepare(spec)
        on_gpu = self._device.type == "cuda"
        self._network = shared_network(spec, file, self._device)
        self._network.spectrogram.rows_at_once = GPU_SPECTROGRAM_ROWS if on_gpu else 1
        self._batch_rows = GPU_BATCH_ROWS if on_gpu else CPU_BATCH_ROWS
        self._expressive = Expressive(spec)

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode; `measures` are those of `fidelity` against the clip's own notes.

        Raises EncoderError for a clip of another length than the recipe's window.
        """
        heard: list[Clip | None] = []
        measures = np.full((len(clips), len(MEASURES)), np.nan, np.float32)
        for start in range(0, len(clips), self._batch_rows):
            batch = clips[start : start + self._batch_rows]
            for row, (clip, notes) in enumerate(zip(batch, self._transcribe(batch, start), strict=True), start):
                if clip is None or notes is None:
                    heard.append(None)
                    continue
                heard.append(Clip(_NO_AUDIO, notes, clip.window_s))
                measures[row] = fidelity(notes, clip.performance, clip.window_s)
        return self._expressive.encode(heard)._replace(measures=measures)

    def _transcribe(self, clips: Sequence[Clip | None], first_row: int) -> list[Performance | None]:
        if all(clip is None for clip in clips):
            return [None] * len(clips)
        n_samples = n_model_samples(self.spec.preprocessing["architecture"], self.spec.preprocessing["window_s"])
        waveforms_BxS = np.zeros((self._batch_rows, n_samples), np.float32)
        for index, clip in enumerate(clips):
            if clip is not None:
                waveforms_BxS[index] = at_model_rate(self.spec, checked_waveform(self.spec, clip, first_row + index))
        with torch.inference_mode():
            on_device = torch.from_numpy(waveforms_BxS).to(self._network.upsample.weight)
            states_BxTxFxD = last(self._network.states(on_device))
            return [
                None if clip is None else _playable_in(clip.window_s, clip_performance(self._network, state_TxFxD))
                for clip, state_TxFxD in zip(clips, states_BxTxFxD, strict=False)
            ]


def _playable_in(window_s: float, notes: Performance) -> Performance:
    kept = np.flatnonzero(notes.onset_s < window_s)
    by_length = np.argsort(notes.onset_s[kept] - notes.offset_s[kept], kind="stable")
    kept = np.sort(kept[by_length[: round(MOST_NOTES_PER_S * window_s)]])
    return replace(
        notes,
        onset_s=notes.onset_s[kept],
        offset_s=notes.offset_s[kept],
        pitch=notes.pitch[kept],
        velocity=notes.velocity[kept],
    )
