"""Logs of committed shards, for speed and kinds of machine. No number of a store depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from keybed.store.disk.json_files import read_json_object
from keybed.store.format.layout import Layout
from keybed.store.write.work_time import WorkTime


@dataclass(frozen=True)
class ShardLog:
    """When a shard was claimed and committed (seconds since the epoch), its rows, kind of machine and time if known."""

    began: float
    committed: float
    rows: int
    machine: Mapping[str, str] | None
    work_time: WorkTime | None = None


def read_log(layout: Layout, shard: int) -> ShardLog | None:
    """The log of one shard; None where there is none, or one that is damaged."""
    try:
        return _parsed(read_json_object(layout.log_of(shard)))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def unreadable_logs(layout: Layout) -> list[Path]:
    """Logs that are damaged: of committed shards and of failed tasks."""
    damaged = []
    for path in sorted(layout.logs.glob("*.json")) if layout.logs.is_dir() else ():
        try:
            entry = read_json_object(path)
            if not path.name.endswith(".failed.json"):
                _parsed(entry)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            damaged.append(path)
    return damaged


def _parsed(entry: Mapping[str, Any]) -> ShardLog:
    began, committed = (datetime.fromisoformat(entry[key]).timestamp() for key in ("began", "committed"))
    machine = entry.get("machine")
    known = isinstance(machine, dict) and all(isinstance(value, str) for value in machine.values())
    return ShardLog(
        began, committed, int(entry["rows"]), machine if known else None, WorkTime.of(entry.get("work_time"))
    )
