"""What scoring gives: frozen dataclasses, written as score.json by the codec of every results.json.

`ScoreResults` is one call of `keybed score`. What a page needs beside the numbers (notes, sound, weights of the heads) is in
`ScoredMusic`, one per scored file, and is not written as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.run_facts import EncoderFacts
from keybed.extract.music.performance import Performance
from keybed.store.counted import counted
from keybed.store.format.vocabulary import DIMENSIONS

Reason = Literal[
    "no notes",
    "no sound",
    "few notes",
    "few pedal lifts",
    "few releases",
    "even velocity",
    "even loudness",
    "too little judged",
    "outside training",
    "wide interval",
]
"""Why a dimension of a window is not judged."""
REASONS: dict[Reason, str] = {
    "no notes": "no note is struck in the window",
    "no sound": "the window's sound is silent or cannot be read",
    "few notes": "fewer than 20 notes are struck in the window",
    "few pedal lifts": "the pedal is lifted less than twice in the window",
    "few releases": "fewer than 8 notes are released while the pedal is up",
    "even velocity": "velocities follow their trend so closely that there are no accents to judge (sd below 1 step)",
    "even loudness": "loudness hardly changes over the window (sd below 1 velocity step), and the beat is not clear",
    "too little judged": "the dimensions that can be judged hold less than half of the overall score's weight",
    "outside training": "the features lie farther from those of the training data than 99 % of the validation windows",
    "wide interval": "the interval is wider than that of the labels themselves, so the score says nothing",
}
"""The reasons in words."""


@dataclass(frozen=True)
class DimensionScore:
    """One dimension of one window. score, lower, upper: None where it is not judged; reason: None where it is."""

    score: float | None
    lower: float | None
    upper: float | None
    reason: Reason | None = None

    JSON_PROPERTIES = ("judged",)

    @property
    def judged(self) -> bool:
        """Whether there is a score."""
        return self.reason is None


@dataclass(frozen=True)
class WindowScores:
    """One window of a file. distance: of its features from the training data; above 1 they lie outside (`ModelCard.distance`)."""

    start_s: float
    end_s: float
    n_notes: int
    distance: float | None
    scores: dict[str, DimensionScore]
    """By dimension, in the order of `DIMENSIONS`."""


@dataclass(frozen=True)
class WholeScore:
    """One dimension of a whole file: means over the judged windows. None where no window is judged.

    lower and upper are the means of the windows' bounds. They are not narrowed by the number of windows, because the errors of
    one recording's windows are alike.
    """

    score: float | None
    lower: float | None
    upper: float | None
    windows_judged: int


@dataclass(frozen=True)
class ScoredFile:
    """One recording. remarks: sentences about the input that a reader of the scores must know.

    sha256: of the notes and pedal; equal notes and sound give equal scores.
    """

    name: str
    path: str | None
    """None for an object that came from Python."""
    audio_path: str | None
    """The sound that was given; None where it was rendered from the notes."""
    notes_from: Literal["midi", "transcription"]
    sha256: str
    duration_s: float
    n_notes: int
    windows: tuple[WindowScores, ...]
    whole: dict[str, WholeScore]
    remarks: tuple[str, ...] = ()

    @property
    def start_s(self) -> NDArray[np.float64]:
        """Start of each window, (window,)."""
        return np.array([w.start_s for w in self.windows])

    @property
    def end_s(self) -> NDArray[np.float64]:
        """End of each window, (window,)."""
        return np.array([w.end_s for w in self.windows])

    @property
    def score(self) -> NDArray[np.float64]:
        """Scores (window, dimension), NaN where not judged."""
        return self._column("score")

    @property
    def lower(self) -> NDArray[np.float64]:
        """Lower ends of the intervals (window, dimension), NaN where not judged."""
        return self._column("lower")

    @property
    def upper(self) -> NDArray[np.float64]:
        """Upper ends of the intervals (window, dimension), NaN where not judged."""
        return self._column("upper")

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Which dimensions of which windows have a score, (window, dimension)."""
        cells = [[w.scores[d].judged for d in DIMENSIONS] for w in self.windows]
        return np.array(cells, bool).reshape(len(self.windows), len(DIMENSIONS))

    def _column(self, name: str) -> NDArray[np.float64]:
        cells = [[getattr(w.scores[d], name) for d in DIMENSIONS] for w in self.windows]
        return np.array(cells, np.float64).reshape(len(self.windows), len(DIMENSIONS))

    def extremes(self, dimension: str = DIMENSIONS[-1]) -> tuple[int, int] | None:
        """Numbers of the windows with the lowest and the highest score of a dimension; None where none is judged."""
        column = self.score[:, DIMENSIONS.index(dimension)]
        if np.isnan(column).all():
            return None
        return int(np.nanargmin(column)), int(np.nanargmax(column))

    def __repr__(self) -> str:
        overall = self.whole[DIMENSIONS[-1]]
        shown = (
            "not judged" if overall.score is None else f"{overall.score:.1f} ({overall.lower:.1f}–{overall.upper:.1f})"
        )
        return f"<ScoredFile {self.name}: {counted(len(self.windows), 'window')}, {self.duration_s:.1f} s, overall {shown}>"


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be scored, and why."""

    name: str
    path: str
    problem: str


@dataclass(frozen=True)
class DimensionCard:
    """What is known of one dimension's scores, on pieces that the heads did not see in training.

    covered: share of held-out test windows whose label lies in the interval, mean over pieces; least_covered: the piece with
    the smallest share. width: mean width of the intervals there. known_nothing_width: width of the central interval of the
    training labels at the same coverage. specific_r: partial correlation with the label given the other six. None where there is
    nothing to measure it on.
    """

    covered: float | None
    least_covered: float | None
    width: float | None
    known_nothing_width: float | None
    specific_r: float | None


@dataclass(frozen=True)
class DistanceCard:
    """How far features may lie from the training data. threshold: of each modality's distance, by modality."""

    method: str
    validation_share: float
    threshold: dict[str, float]


@dataclass(frozen=True)
class RoomCard:
    """The room and microphone that MIDI files are heard in: the medians of the training rows' own. rooms: how many these have.

    decay_s: time of decay by 60 dB; the other values are those of `row/microphone`.
    """

    rooms: int
    decay_s: float
    low_cut_hz: float
    pre_emphasis: float
    drive_db: float


@dataclass(frozen=True)
class ComparingCard:
    """What is known of the differences between two performances of the same notes, on test pieces; None where nothing is.

    covered: share of pairs of variants whose true difference lies in the interval, mean over pieces. width: of the interval.
    specific_r: of a row's difference from the mean of its segment, partial given the other six.
    """

    covered: float | None
    width: float | None
    specific_r: float | None


@dataclass(frozen=True)
class ModelCard:
    """Where the scores come from."""

    run: str
    phase: int
    verdict: str
    """Of the run's gate."""
    head: str
    features: Literal["raw", "aligned"]
    n_seeds: int
    store: str
    """Fingerprint of the rows and encoders."""
    encoders: tuple[EncoderFacts, ...]
    audio_source: str
    """"rendered" or "recorded": what the heads heard in training."""
    window_s: float
    degradation_version: int
    train_pieces: int
    validation_pieces: int
    test_pieces: int
    coverage: float
    """Nominal coverage of the intervals, such as 0.9."""
    dimensions: dict[str, DimensionCard]
    distance: DistanceCard
    keybed_version: str
    room: RoomCard | None = None
    """None where the training rows were rendered dry, or recorded."""
    comparing: dict[str, ComparingCard] | None = None
    """Of the differences that recordings are compared by, by dimension; None for models without them."""


@dataclass(frozen=True)
class Compared:
    """The other performance minus the first, by the difference ridge, with the interval of the difference."""

    difference: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PairedPassage:
    """A window of the first file and the window of the other file that plays the same notes. same_notes: share in common, 0 to 1."""

    start_s: float
    other_start_s: float
    same_notes: float
    difference: dict[str, float | None]
    """Score of the other minus that of the first, by dimension; None where one of them is not judged."""
    compared: dict[str, Compared | None] = field(default_factory=dict)
    """By dimension; None where a window cannot be judged at all, empty for models that hold nothing to compare by."""


@dataclass(frozen=True)
class Comparison:
    """A file against the first one, paired by passage. difference: mean over the passages that both are judged in.

    compared: mean over the passages that were compared, with the mean of their intervals, which are not narrowed by the number of
    passages: errors of one pair of recordings are alike. passages_better: passages whose compared difference is above 0.
    """

    first: str
    other: str
    passages: tuple[PairedPassage, ...]
    difference: dict[str, float | None]
    passages_judged: dict[str, int]
    remark: str = ""
    """Why there are no passages, where there are none."""
    compared: dict[str, Compared | None] = field(default_factory=dict)
    passages_compared: dict[str, int] = field(default_factory=dict)
    passages_better: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ScoredMusic:
    """What a page shows of one scored file beside its scores; never written as JSON. W windows, T bins, K dimensions.

    sound: the sound from one second to another, float32 mono at `SAMPLE_RATE_HZ` of `keybed.extract.audio.waveform`: the
    given file's, or rendered from the notes. Raises KeybedError where it cannot be made. looked_at: weights of the first seed.
    relative_WxK: what recordings are compared by (`Comparing.relative_scores`), NaN in windows without features; None without such a model.
    """

    performance: Performance
    sound: Callable[[float, float], NDArray[np.float32]]
    looked_at: LookedAt
    relative_WxK: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class LookedAt:
    """Weights of the head by window; None where the head has none. NaN in windows that no head saw.

    gate_WxMxK: weight of audio and MIDI for each dimension, summing to 1. pooling: weight of each bin of the window, mean over
    attention heads, summing to 1. audio_to_midi: attention of each audio bin over the MIDI bins, mean over attention heads.
    """

    gate_WxMxK: NDArray[np.float32] | None = None
    audio_pooling_WxT: NDArray[np.float32] | None = None
    midi_pooling_WxT: NDArray[np.float32] | None = None
    audio_to_midi_WxTxT: NDArray[np.float32] | None = None
    midi_to_audio_WxTxT: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ScoreRecord:
    """What one call of `keybed score` found: the contents of score.json."""

    model: ModelCard
    hop_s: float
    files: tuple[ScoredFile, ...]
    failed: tuple[FailedFile, ...]
    comparisons: tuple[Comparison, ...]
    seconds: float
    format_version: int = 1


@dataclass(frozen=True, eq=False)
class ScoreResults:
    """All that one call made: the record, and the music of each of its files, in the same order."""

    record: ScoreRecord
    music: tuple[ScoredMusic, ...]
