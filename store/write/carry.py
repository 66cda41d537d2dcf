"""Carry a whole shard of another store into this one: its files as hard links or copies, its commit with new numbers."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keybed.store.command import command
from keybed.store.disk.commits import Commit
from keybed.store.disk.durable import PARTIAL, sha256_of
from keybed.store.disk.json_files import read_json_object
from keybed.store.errors import ShardDamaged
from keybed.store.format.array_specs import task_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.read.store import Store
from keybed.store.write.claims import Claim
from keybed.store.write.commit import StagedFile, publish_shard

_ENCODING = ("data_type", "chunk_grid", "chunk_key_encoding", "codecs", "fill_value")
"""Fields of an array's metadata that decide what the bytes of a shard mean."""


def same_encoding(source: Store, target: Store) -> bool:
    """Whether a shard's files mean the same in both stores: equal chunks and codecs of every array that tasks write."""
    return all(_encoding(source, spec.path) == _encoding(target, spec.path) for spec in task_written(target.specs))


def _encoding(store: Store, path: str) -> dict[str, Any]:
    metadata = read_json_object(Layout(store.path).array(path) / "zarr.json")
    return {name: metadata.get(name) for name in _ENCODING}


def carry_shard(
    source: Store, source_shard: int, target: Store, shard: int, facts: Mapping[str, Any], claim: Claim
) -> None:
    """Publish a source's shard as a shard of `target`, which has as many rows.

    Each file is read once and compared with its source's commit. Raises ShardDamaged where it differs, and what
    `publish_shard` raises.
    """
    moved = target.shard_range(shard)[0] - source.shard_range(source_shard)[0]
    rows = source.commit(source_shard)
    publish_shard(
        target,
        shard,
        _links(source, source_shard, target, shard),
        claim=claim,
        statuses=rows.statuses,
        failures={row + moved: reason for row, reason in rows.failures.items()},
        facts=facts,
    )


def commits_of(source: Store, shard: int) -> dict[str | None, Commit]:
    """The commits of one shard by part: the rows, and every added encoder."""
    return {part: source.commit(shard, part) for part in source.parts}


def _links(source: Store, source_shard: int, target: Store, shard: int) -> Iterator[tuple[Path, StagedFile]]:
    commits = commits_of(source, source_shard)
    for spec in task_written(target.specs):
        rank = len(spec.shape)
        part = None if spec.path.startswith("row/") else source.part_of(spec.path.split("/")[1])
        key = f"{spec.path}/{object_key(source_shard, rank)}"
        stored, file = commits[part].objects[key], Layout(source.path).features / key
        place = Layout(target.path).array(spec.path) / object_key(shard, rank)
        partial = place.with_name(f"{place.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
        try:
            link_or_copy(file, partial)
            if partial.stat().st_size != stored.bytes or sha256_of(partial) != stored.sha256:
                raise ShardDamaged(
                    f"{file} is not the file that was committed (sha256 differs): "
                    f"run `{command('verify', source.path, '--repair')}` first"
                )
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        yield place, StagedFile(partial, f"{spec.path}/{object_key(shard, rank)}", stored)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none between these two."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
