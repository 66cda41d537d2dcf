"""`ScoringModel`: everything that turns a recording into scores. It comes from a run (`from_run`) or from a packed file (`pack`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.view import View
from keybed.experiments.scoring.calibration import Calibration
from keybed.experiments.scoring.comparing import Comparing
from keybed.experiments.scoring.derived_view import Arrays
from keybed.experiments.scoring.distance import ModalityDistance
from keybed.experiments.scoring.results import ModelCard
from keybed.extract.audio.room import Recording
from keybed.heads import align
from keybed.heads.fitted import FitResult
from keybed.heads.inputs import HeadInput
from keybed.store.format.recipe import Recipe


@dataclass(frozen=True, eq=False)
class ScoringModel:
    """One head with its seeds, and what its features and scores rest on.

    recipe: of the store, with the head's two encoders alone. projection: of Phase 3 where the head reads aligned features.
    distance: by modality, of those that the head reads. trained_on: sha256 of the MIDI files of the training pieces.
    paths: where soundfont, note bank and weights lie on this machine, as far as it is known. constants: by modality, what a
    derived view is made with (`derived_view.constants_of`). room: where MIDI files are heard in; None where the rows are dry, and
    for packed models of format 1 and 2. fitted: the file of each encoder whose models a user has fitted, as bytes.
    comparing: what performances of the same notes are compared by; None where the head reads no bins, and for packed models of
    formats 1 to 4.
    """

    card: ModelCard
    recipe: Recipe
    view: View
    fit: FitResult
    projection: align.AlignResult | None
    calibration: Calibration
    distance: Mapping[str, ModalityDistance]
    trained_on: frozenset[str]
    paths: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Arrays] = field(default_factory=dict)
    room: Recording | None = None
    fitted: Mapping[str, bytes] = field(default_factory=dict)
    comparing: Comparing | None = None

    @property
    def head(self) -> str:
        """The head's name."""
        return self.card.head

    @property
    def window_s(self) -> float:
        """Length of a window."""
        return float(self.recipe.segments["window_s"])

    @property
    def batch_rows(self) -> int:
        """Windows that are computed at once; the heads are compiled for this number."""
        return self.fit.config.batch_rows

    def inputs(self, batches: Iterable[HeadInput]) -> Iterator[HeadInput]:
        """What the head reads: the encoders' features, or the same after the projection."""
        return head_inputs(self.projection, batches)


def head_inputs(projection: align.AlignResult | None, batches: Iterable[HeadInput]) -> Iterator[HeadInput]:
    """The batches, with aligned frames where there is a projection; as float16, in which Phase 4 trained."""
    if projection is None:
        yield from batches
        return
    for batch in align.aligned(projection, batches):
        yield batch._replace(audio_BxTxC=_half(batch.audio_BxTxC), midi_BxTxC=_half(batch.midi_BxTxC))


def _half(frames: NDArray[np.floating]) -> NDArray[np.float16]:
    return np.asarray(frames, np.float16)
