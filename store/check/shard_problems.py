"""All that is wrong with one committed shard: its files, its commit, the rules of its arrays, and what it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keybed.store.counted import counted
from keybed.store.disk.commits import AUDIO, AUDIO_DRIFT, Commit
from keybed.store.disk.durable import sha256_of
from keybed.store.errors import ShardDamaged, StoreError
from keybed.store.format.array_specs import ArraySpec, task_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.vocabulary import Status
from keybed.store.read.store import Store
from keybed.store.write.rules import broken_rules, count_statuses


def shard_problems(store: Store, shard: int, layer: str | None = None, *, inputs: bool = True) -> list[str]:
    """All that is wrong with one committed shard, one sentence each; empty for a sound one.

    layer: an added encoder. inputs: whether to compare what it was made from with the plan, which only a sound plan allows.
    """
    shards = store.shards_of_layer(layer)
    try:
        commit = shards.commit(shard)
    except ShardDamaged as error:
        return [str(error)]
    specs = task_written(shards.specs)
    if (commit.start, commit.stop) != store.shard_range(shard):
        return [f"the commit is of rows {commit.start}–{commit.stop - 1}, the shard is {store.shard_range(shard)}"]
    damaged = list(_damaged_objects(store, commit, specs, shards.dropped_groups))
    if damaged:
        return damaged
    if inputs and commit.inputs is not None and commit.inputs != store.inputs(shard):
        return ["it was made from other notes, recordings or planned columns than the plan holds"]
    if not all(_metadata_readable(store, spec) for spec in specs):
        return []  # a problem of the plan, which no task can mend; the bytes are those that were committed
    arrays = {}
    for spec in specs:
        try:
            arrays[spec.path] = store.read(spec.path, np.arange(commit.start, commit.stop))
        except (StoreError, IndexError) as error:
            return [f"{spec.path} cannot be decoded, though its checksum is right: {error}"]
    if layer is not None:
        try:
            other = list(_other_rows(store, commit))
            arrays["row/status"] = store.read("row/status", np.arange(commit.start, commit.stop))
        except StoreError:
            return []  # the rows are damaged or not committed, which their own shard says
        if other:
            return other
    return [
        *broken_rules(specs, arrays, commit.failures, commit.start),
        *_wrong_counts(commit, arrays["row/status"]),
        *_constant_features(specs, arrays, commit.start),
    ]


def _metadata_readable(store: Store, spec: ArraySpec) -> bool:
    try:
        array = store.array(spec.path)
    except StoreError:
        return False
    return (array.shape, str(array.dtype)) == (spec.shape, spec.dtype)


def _other_rows(store: Store, commit: Commit) -> Iterator[str]:
    """Whether a layer's commit is of other rows than those that are committed now."""
    rows = store.commit(commit.shard)
    if (rows.statuses, rows.failures) != (commit.statuses, commit.failures):
        yield "other rows have failed than in the committed rows: these were made again since"
    elif _audio_of(commit) != rows.facts.get(AUDIO):
        yield "it was made from other audio than the committed rows (audio_sha256 differs): these were made again since"


def _audio_of(commit: Commit) -> Any:
    """The hash of the rows' audio with which a layer's audio was compared."""
    drift = commit.facts.get(AUDIO_DRIFT)
    return drift.get("of") if isinstance(drift, dict) else commit.facts.get(AUDIO)


def _damaged_objects(
    store: Store, commit: Commit, specs: Sequence[ArraySpec], dropped: tuple[str, ...]
) -> Iterator[str]:
    """dropped: beginnings of the paths of encoders that were dropped, which the commit may list still."""
    expected = {f"{spec.path}/{object_key(commit.shard, len(spec.shape))}" for spec in specs}
    listed = {key for key in commit.objects if not (dropped and key.startswith(dropped))}
    if expected != listed:
        yield f"the commit lists other files than the recipe: {sorted(expected ^ listed)[:4]}"
    for key in sorted(expected & set(commit.objects)):
        stored, file = commit.objects[key], Layout(store.path).features / key
        if not file.is_file():
            yield f"{key} is missing"
        elif (length := file.stat().st_size) != stored.bytes:
            yield f"{key} is {length} bytes long, committed were {stored.bytes}"
        elif sha256_of(file) != stored.sha256:
            yield f"{key} has changed since it was committed (sha256 differs)"


def _wrong_counts(commit: Commit, status: np.ndarray) -> Iterator[str]:
    counts = count_statuses(status)
    if counts != commit.statuses:
        yield f"row/status counts {counts}, the commit says {commit.statuses}"


def _constant_features(specs: Sequence[ArraySpec], arrays: Mapping[str, np.ndarray], start: int) -> Iterator[str]:
    """Features without information: one number throughout a row, or equal rows in the whole shard."""
    ok = np.flatnonzero(arrays["row/status"] == Status.OK)
    for spec in specs:
        if spec.dtype != "float16" or not len(ok):
            continue
        flat = arrays[spec.path][ok].reshape(len(ok), -1)
        constant = (flat == flat[:, :1]).all(axis=1)
        if flat.shape[1] > 1 and constant.any():
            rows = (start + ok[constant])[:8].tolist()
            yield f"{spec.path}: {counted(int(constant.sum()), 'row')} with one number throughout, e.g. {rows}"
        elif len(ok) > 1 and (flat == flat[0]).all():
            yield f"{spec.path}: all {counted(len(ok), 'row')} are equal: the encoder ignored its input"
