"""Commits: the record that a shard is whole.

A commit holds reproducible facts only (no times, hosts or paths), so that equal stores have equal commits.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from keybed.store.command import command
from keybed.store.disk.json_files import parsed_json, sealed, unsealed
from keybed.store.errors import ShardDamaged
from keybed.store.format.layout import Layout

AUDIO, AUDIO_DRIFT = "audio_sha256", "audio_drift"
"""Facts of commits: the hash of the rows' audio; in an added layer's commit, how its audio differs from the rows' own."""
_HEX = re.compile(r"[0-9a-f]{64}")
_HEX_WORDS = re.compile(r"([0-9a-f]{8})*")
_NAME = re.compile(r"([0-9]{6,})\.json")


@dataclass(frozen=True)
class StoredObject:
    """Size and sha256 of one file of a shard, from reading it back after writing.

    chunks: of a sharded array, the crc32c of each inner chunk in the order of the index, 8 hex digits each, so that a
    reader knows a chunk of another shard by the checksum that it computes anyway. Empty for other arrays, and in commits
    of version 0.1.
    """

    bytes: int
    sha256: str
    chunks: str = ""

    def __post_init__(self) -> None:
        if type(self.bytes) is not int or not _HEX.fullmatch(self.sha256) or not _HEX_WORDS.fullmatch(self.chunks):
            raise ValueError("not the size and checksums of a file")


@dataclass(frozen=True)
class Commit:
    """The contents of one shard.

    objects: path under `features.zarr` → size and checksum. statuses: name → number of rows. failures: row → reason, a
    sentence. facts: JSON from the writer, such as hashes of the audio. inputs: fingerprint of the planned files that the
    shard was made from (`PlannedFiles.inputs`); None in commits of version 0.1.
    """

    shard: int
    start: int
    stop: int
    recipe: str
    objects: dict[str, StoredObject]
    statuses: dict[str, int]
    failures: dict[int, str]
    facts: dict[str, Any]
    inputs: str | None = None

    def to_bytes(self) -> bytes:
        """Canonical JSON with its own checksum."""
        plain = asdict(self)
        plain["objects"] = {path: _without_empty(entry) for path, entry in plain["objects"].items()}
        plain["failures"] = {f"{row:09d}": reason for row, reason in sorted(self.failures.items())}
        return sealed(plain)

    @staticmethod
    def from_bytes(data: bytes) -> Commit:
        """Inverse of `to_bytes`. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
        plain = unsealed(parsed_json(data))
        objects = {path: StoredObject(**entry) for path, entry in plain["objects"].items()}
        failures = {int(row): reason for row, reason in plain["failures"].items()}
        statuses = {str(name): int(number) for name, number in plain["statuses"].items()}
        commit = Commit(**{**plain, "objects": objects, "failures": failures, "statuses": statuses})
        if {type(number) for number in (commit.shard, commit.start, commit.stop)} != {int}:
            raise ValueError("shard, start and stop must be whole numbers")
        if not all(isinstance(reason, str) for reason in failures.values()):
            raise ValueError("a reason is not a sentence")
        return commit


def committed(layout: Layout) -> frozenset[int]:
    """Numbers of the shards that have a commit, from one listing of the folder."""
    if not layout.commits.is_dir():
        return frozenset()
    matches = (_NAME.fullmatch(entry.name) for entry in layout.commits.iterdir())
    numbers = ((int(match[1]), match[0]) for match in matches if match)
    return frozenset(number for number, name in numbers if layout.commit_of(number).name == name)


def _without_empty(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value != ""}


def read_commit(layout: Layout, shard: int, recipe: str) -> Commit:
    """One shard's commit. Raises ShardDamaged when it is unreadable or belongs to another recipe."""
    path = layout.commit_of(shard)
    advice = f"run `{command('verify', layout.root, '--repair')}`, then extract shard {shard} again"
    try:
        commit = Commit.from_bytes(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardDamaged(f"{path} is not a readable commit ({error}): {advice}") from error
    if (commit.shard, commit.recipe) != (shard, recipe):
        raise ShardDamaged(f"{path} belongs to shard {commit.shard} of recipe {commit.recipe[:12]}…: {advice}")
    return commit
