"""Logs of tasks that ended with an error, for `keybed status`."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime

from keybed.store.disk.durable import canonical
from keybed.store.disk.json_files import read_json_object
from keybed.store.format.layout import Layout


@dataclass(frozen=True)
class TaskFailure:
    """The last error on a shard that is not committed yet."""

    shard: int
    reason: str
    holder: str
    time: str


def record_failure(layout: Layout, shard: int, error: BaseException, holder: str) -> None:
    """Log an error and its traceback. If the log cannot be written, a note on the error says so."""
    entry = {
        "shard": shard,
        "reason": f"{type(error).__name__}: {error}",
        "holder": holder,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "traceback": "".join(traceback.format_exception(error)),
    }
    try:
        layout.failure_of(shard).write_bytes(canonical(entry))
    except OSError as second:
        error.add_note(f"(and the failure could not be logged to {layout.failure_of(shard)}: {second})")


def read_failures(layout: Layout) -> dict[int, TaskFailure]:
    """Shard → last error, for every shard that has a log of one."""
    failures = {}
    for path in sorted(layout.logs.glob("*.failed.json")):
        number = path.name.split(".")[0]
        if not (number.isascii() and number.isdecimal()):
            continue
        try:
            entry = read_json_object(path)
            texts = [str(entry[key]) for key in ("reason", "holder", "time")]
            failure = TaskFailure(int(number), *texts)
        except (OSError, ValueError, KeyError) as error:
            failure = TaskFailure(
                int(number), f"unreadable log {path.name} ({error}); `keybed verify --repair` removes it", "", ""
            )
        failures[failure.shard] = failure
    return failures
