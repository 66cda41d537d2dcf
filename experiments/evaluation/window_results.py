"""The window check's results.json as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from keybed.experiments.data.json_codec import Key
from keybed.experiments.data.run_facts import Machine, Pair, StoreFacts
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.tables import Table


@dataclass(frozen=True)
class WindowResults:
    """One store. valid_share: share of (row, dimension) labels that are valid."""

    window_s: float
    store: StoreFacts
    rows: int
    valid_share: Annotated[float, Key("judgeable")]
    pieces: int
    pair: Pair
    fusion: str
    specific: Table
    mean: dict[str, Interval]


@dataclass(frozen=True)
class WindowCheckResults:
    """RUN/results.json of a window check; store and pair are those of the longest window."""

    phase: Literal["window check"]
    store: StoreFacts
    pair: Pair
    windows: tuple[WindowResults, ...]
    word: str
    verdict: str
    machine: Machine
    seconds: float
