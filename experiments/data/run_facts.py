"""What every results.json says about its store, its encoders, its rows and the machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import numpy as np

from keybed.extract.demo.composers import is_composed
from keybed.store.format.vocabulary import Status
from keybed.store.read.store import Store


@dataclass(frozen=True)
class EncoderFacts:
    """One encoder of the store. random: it ran with seeded random weights."""

    name: str
    modality: str
    source: str
    random: bool
    revision: str


@dataclass(frozen=True)
class StoreFacts:
    """The data of a run. status: number of rows by status name; every status but OK is a row that could not be made."""

    fingerprint: str
    n_rows: int
    profile: str
    audio_source: str
    window_s: float | None
    encoders: tuple[EncoderFacts, ...]
    status: dict[str, int]
    degradation_version: int = 1
    """Of the code that degraded the rows; runs before version 2 do not name it."""
    composed: bool = False
    """All music was composed by the demo."""

    @property
    def tiered(self) -> bool:
        """Every dimension of a row has the row's tier, so that only the plan's literal arithmetic applies."""
        return self.profile == "tiered"


@dataclass(frozen=True)
class Pair:
    """The two encoders that a run compares, and the view of their features."""

    audio: str
    midi: str
    view: str

    def of(self, modality: str) -> str:
        """The encoder of "audio" or "midi"."""
        return self.audio if modality == "audio" else self.midi


@dataclass(frozen=True)
class RowCounts:
    """Test rows, their pieces, and the number of folds that tested them."""

    rows: int
    pieces: int
    folds: int


@dataclass(frozen=True)
class RunBefore:
    """The run of the phase before, and its gate's verdict."""

    run: str
    verdict: str


@dataclass(frozen=True)
class Machine:
    """Where a run ran, for the footer; it shapes no number that is compared."""

    system: str
    processor: str
    cores: int | None
    python: str


def store_facts(store: Store) -> StoreFacts:
    """Facts of an open store."""
    status = store.rows(status=None).status
    return StoreFacts(
        fingerprint=store.fingerprint,
        n_rows=store.n_rows,
        profile=store.recipe.degradation.get("profile", "unknown"),
        audio_source=store.recipe.audio.get("source", "unknown"),
        window_s=store.recipe.segments.get("window_s"),
        encoders=tuple(
            EncoderFacts(e.name, e.modality, e.source, e.random_weights, e.revision) for e in store.recipe.encoders
        ),
        status={Status(int(code)).name: int((status == code).sum()) for code in np.unique(status)},
        degradation_version=int(store.recipe.degradation.get("code_version", 1)),
        composed=is_composed(store.recordings),
    )


def this_machine() -> Machine:
    """The machine of this process."""
    return Machine(platform.system(), platform.machine(), os.cpu_count(), platform.python_version())
