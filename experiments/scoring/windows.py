"""Windows of one recording as the store's own rows: cut, dithered and finished as pristine rows are, rendered, encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.view import View
from keybed.experiments.scoring.derived_view import Arrays, arguments
from keybed.experiments.scoring.source import Source
from keybed.extract.audio.recorded import Recorder
from keybed.extract.audio.render import Renderer
from keybed.extract.audio.room import Recording
from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.degrade import PreparedRecording, make_variant, prepare
from keybed.extract.encoders.base import Clip, Encoder, Music
from keybed.extract.run.row_arrays import feature_arrays
from keybed.heads.inputs import HeadInput, from_arrays
from keybed.store.format.vocabulary import DIMENSIONS, LEVELS, TIERS, Status

_PRISTINE = TIERS.index("pristine")


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Some windows of a recording. rows: one per window. inputs: the features of those whose status is OK, in order; None of none."""

    start_s: NDArray[np.float64]
    rows: tuple[RenderedRow, ...]
    inputs: HeadInput | None

    @property
    def made(self) -> NDArray[np.bool_]:
        """Which windows have features, (window,)."""
        return np.array([row.status == Status.OK for row in self.rows], bool)


def window_starts(duration_s: float, window_s: float, hop_s: float) -> NDArray[np.float64]:
    """Where windows begin: every hop_s while they end within the recording, and one that ends with it; at least one at 0."""
    last_s = duration_s - window_s
    if last_s <= 0:
        return np.zeros(1)
    starts = hop_s * np.arange(int(np.floor(last_s / hop_s + 1e-9)) + 1)
    if last_s - starts[-1] > 1e-3:
        starts = np.append(starts, last_s)
    return np.round(starts, 6)


class WindowEncoder:
    """Makes windows of recordings with the encoders and the renderer of a recipe. Keeps nothing between recordings.

    constants: of the view, by modality (`derived_view.constants_of`). room: where renderings are heard in; None for dry ones.
    """

    def __init__(
        self,
        view: View,
        encoders: list[Encoder],
        renderer: Renderer | None,
        window_s: float,
        seed: int,
        constants: Mapping[str, Arrays] | None = None,
        room: Recording | None = None,
    ) -> None:
        self._view, self._encoders, self._renderer = view, encoders, renderer
        self._constants, self._room = constants or {}, room
        self._window_s, self._seed = window_s, seed
        self._recorder = Recorder()

    def batches(self, source: Source, start_s: NDArray[np.float64], batch_rows: int) -> Iterator[WindowBatch]:
        """All windows of a recording, batch_rows at a time, so that memory does not grow with its length."""
        prepared = prepare(source.performance)
        key = int(source.sha256[:15], 16)
        music = Music(source.midi_sha256) if source.midi_sha256 else None
        for first in range(0, len(start_s), batch_rows):
            part = start_s[first : first + batch_rows]
            rows = tuple(self._row(source, prepared, key, float(s)) for s in part)
            yield WindowBatch(part, rows, self._inputs(rows, first, music))

    def _row(self, source: Source, prepared: PreparedRecording, key: int, start_s: float) -> RenderedRow:
        """A window as the pristine row that a store would hold. key: in place of the recording's number in a store."""
        variant = make_variant(
            prepared,
            start_s,
            self._window_s,
            np.zeros(len(LEVELS), np.float32),
            seed=self._seed,
            recording_id=key,
            tier=_PRISTINE,
        )
        if source.sound is not None:
            return self._recorder.render(variant, self._window_s, source.sound, start_s)
        assert self._renderer is not None
        return self._renderer.render(variant, self._window_s, self._room)

    def _inputs(self, rows: tuple[RenderedRow, ...], first: int, music: Music | None = None) -> HeadInput | None:
        clips = [
            Clip(r.audio, r.variant.performance, self._window_s, music=music) for r in rows if r.status == Status.OK
        ]
        if not clips:
            return None
        arrays: dict[str, NDArray] = {}
        for encoder in self._encoders:
            made = feature_arrays(encoder, clips, np.float16)
            constants = self._constants.get(encoder.spec.modality, {})
            arrays |= arguments(self._view.kind, constants, encoder.spec, made)
        number = first + np.flatnonzero([r.status == Status.OK for r in rows])
        nothing = np.zeros((len(clips), len(DIMENSIONS)), np.float32)
        return from_arrays(**arrays, score=nothing, valid=nothing.astype(bool), segment=number, row=number)
