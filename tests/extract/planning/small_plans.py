"""Small plans, and corpora with changed lines in their CSV."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from keybed.extract.config import PlanConfig

PLACEHOLDERS = ("placeholder-audio", "placeholder-midi")


def config_for(corpus: Path, store: Path, **changes: object) -> PlanConfig:
    defaults: dict[str, object] = {"encoders": PLACEHOLDERS, "limit": 10, "shard_rows": 8, "jobs": 1}
    return PlanConfig(corpus, store, **{**defaults, **changes})  # type: ignore[arg-type]


def rewritten(corpus: Path, target: Path, change: dict[str, dict[str, str]]) -> Path:
    """A copy of the corpus whose CSV lines are changed by MIDI name."""
    shutil.copytree(corpus, target)
    path = target / "maestro-v3.0.0.csv"
    lines = list(csv.DictReader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        for line in lines:
            writer.writerow({**line, **change.get(line["midi_filename"], {})})
    return target


def midi_names(corpus: Path) -> list[str]:
    return [line["midi_filename"] for line in csv.DictReader((corpus / "maestro-v3.0.0.csv").read_text().splitlines())]
