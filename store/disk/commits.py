"""Commits: the record that a shard is whole.

A commit holds reproducible facts only (no times, hosts or paths), so that equal stores have equal commits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keybed.store.disk.durable import canonical
from keybed.store.errors import ShardDamaged
from keybed.store.format.layout import Layout

_NAME = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True)
class StoredObject:
    """Size and sha256 of one file of a shard, from reading it back after writing."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """The contents of one shard.

    objects: path under `features.zarr` → size and checksum. statuses: name → number of rows. failures: row → reason, a
    sentence. facts: JSON from the writer, such as hashes of the notes and audio that were read.
    """

    shard: int
    start: int
    stop: int
    recipe: str
    objects: dict[str, StoredObject]
    statuses: dict[str, int]
    failures: dict[int, str]
    facts: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        plain = asdict(self)
        plain["failures"] = {f"{row:09d}": reason for row, reason in sorted(self.failures.items())}
        return canonical(plain)

    @staticmethod
    def from_bytes(data: bytes) -> Commit:
        """Inverse of `to_bytes`. Raises ValueError, KeyError or TypeError for anything else."""
        plain: Mapping[str, Any] = json.loads(data)
        objects = {path: StoredObject(**entry) for path, entry in plain["objects"].items()}
        failures = {int(row): reason for row, reason in plain["failures"].items()}
        return Commit(**{**plain, "objects": objects, "failures": failures})


def committed(layout: Layout) -> frozenset[int]:
    """Numbers of the shards that have a commit, from one listing of the folder."""
    names = (entry.name for entry in layout.commits.iterdir())
    return frozenset(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def read_commit(layout: Layout, shard: int, recipe: str) -> Commit:
    """One shard's commit. Raises ShardDamaged when it is unreadable or belongs to another recipe."""
    path = layout.commit_of(shard)
    advice = f"run `keybed verify {layout.root} --repair`, then extract shard {shard} again"
    try:
        commit = Commit.from_bytes(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShardDamaged(f"{path} is not a readable commit ({error}): {advice}") from error
    if (commit.shard, commit.recipe) != (shard, recipe):
        raise ShardDamaged(f"{path} belongs to shard {commit.shard} of recipe {commit.recipe[:12]}…: {advice}")
    return commit
