"""Where the time of a task went that fills shards: waiting for rows, computing features, waiting for the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class WorkTime:
    """Seconds of the thread that computes features. It waits for rendered rows and for the shard before to be written."""

    rows_s: float = 0.0
    features_s: float = 0.0
    disk_s: float = 0.0

    @staticmethod
    def of(entry: Any) -> WorkTime | None:
        """The seconds that a log holds; None for another entry."""
        known = isinstance(entry, Mapping) and entry.keys() == asdict(WorkTime()).keys()
        return WorkTime(**{key: float(value) for key, value in entry.items()}) if known else None

    def to_json(self) -> dict[str, float]:
        """The seconds, for a log."""
        return {key: round(value, 3) for key, value in asdict(self).items()}

    def __add__(self, other: WorkTime) -> WorkTime:
        return WorkTime(self.rows_s + other.rows_s, self.features_s + other.features_s, self.disk_s + other.disk_s)

    @property
    def features_share(self) -> float:
        """Share of the time in which features were computed; with a GPU, the share in which it had work."""
        total = self.rows_s + self.features_s + self.disk_s
        return self.features_s / total if total else 0.0

    def line(self, *, gpu: bool) -> str | None:
        """What bound the rate, in words; None where nothing was measured."""
        total = self.rows_s + self.features_s + self.disk_s
        if not total:
            return None
        who = "the GPU" if gpu else "the task"
        computed = f"{who} computed features {self.features_s / total:.0%} of the time"
        if self.features_s >= max(self.rows_s, self.disk_s):
            return f"bound by the encoders: {computed}"
        if self.rows_s >= self.disk_s:
            return f"bound by rendering: {computed} and waited for rows {self.rows_s / total:.0%}"
        return f"bound by writing: {computed} and waited for the disk {self.disk_s / total:.0%}"
