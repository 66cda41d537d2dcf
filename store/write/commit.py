"""Store a whole shard: check, encode, write beside, read back, publish by rename, then write the commit.

Readers trust the commit only, so that a crash at any moment leaves the shard whole or absent.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from keybed.store.command import command
from keybed.store.disk.commits import Commit, StoredObject
from keybed.store.disk.durable import canonical, disk_error, sync_folder, write_aside, write_durably
from keybed.store.disk.zarr_arrays import encode_shard
from keybed.store.errors import AlreadyCommitted, ClaimLost, ShardRefused
from keybed.store.format.array_specs import ArraySpec, task_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.read.store import Store
from keybed.store.write.claims import Claim, check_not_dropped
from keybed.store.write.rules import checked_arrays, count_statuses


@dataclass(frozen=True)
class StagedFile:
    """A file beside its place. key: path under `features.zarr`; stored: its size and checksums, as the commit has them."""

    partial: Path
    key: str
    stored: StoredObject


def commit_shard(
    store: Store,
    shard: int,
    arrays: Mapping[str, np.ndarray],
    *,
    claim: Claim,
    failures: Mapping[int, str],
    facts: Mapping[str, Any],
    log: Mapping[str, Any] | None = None,
    layer: str | None = None,
) -> None:
    """Store one whole shard and its commit.

    arrays: every task-written array by its full path, with exactly the shard's rows; features float32 or float16.
    failures: store row → reason, for exactly the rows whose status is not OK. facts: reproducible JSON for the commit.
    log: JSON about this run (machine kind, job …) for `logs/`. layer: the added encoder whose arrays these are; the rows
    must be committed before. None: the rows and the encoders planned with them. Raises ShardRefused, ClaimLost,
    AlreadyCommitted, NoDiskSpace, ReadOnlyStore, ShardDamaged, Incomplete, EncoderDropped.
    """
    shards = store.shards_of_layer(layer)
    layout = shards.layout
    if claim.shard != shard or claim.layout != layout:
        raise ShardRefused(
            f"{shards.named(shard)} of {store.path}: the claim is for shard {claim.shard} of {claim.layout.root}"
        )
    start, stop = store.shard_range(shard)
    specs = task_written(shards.specs)
    if layer is None:
        ready = checked_arrays(specs, arrays, failures, shard=shard, start=start, stop=stop)
        status = ready["row/status"]
    else:
        status = _committed_status(store, shard, failures)
        failures = store.commit(shard).failures  # in the same words, which libraries of other versions choose otherwise
        ready = checked_arrays(specs, arrays, failures, shard=shard, start=start, stop=stop, status=status)

    stage = (_stage(layout, spec, shard, start, ready[spec.path]) for spec in specs)
    publish_shard(
        store,
        shard,
        stage,
        claim=claim,
        statuses=count_statuses(status),
        failures=failures,
        facts=facts,
        log=log,
        layer=layer,
    )


def publish_shard(
    store: Store,
    shard: int,
    stage: Iterable[tuple[Path, StagedFile]],
    *,
    claim: Claim,
    statuses: Mapping[str, int],
    failures: Mapping[int, str],
    facts: Mapping[str, Any],
    log: Mapping[str, Any] | None = None,
    layer: str | None = None,
) -> None:
    """Rename the files of a whole, checked shard to their places, then write its commit and its log.

    stage: (place, file beside it) of every array; it is consumed here, so that an error leaves no such file. Other
    arguments and errors as of `commit_shard`.
    """
    shards = store.shards_of_layer(layer)
    layout = shards.layout
    start, stop = store.shard_range(shard)

    def check_claim() -> None:
        claim.check()
        check_not_dropped(store, layer)

    check_claim()

    staged: dict[Path, StagedFile] = {}
    try:
        for target, entry in stage:
            staged[target] = entry
        check_claim()
        if layout.commit_of(shard).exists():
            raise AlreadyCommitted(
                f"{shards.named(shard)} of {store.path} was committed by another task in the meantime"
            )
        for target, file in staged.items():
            file.partial.replace(target)
        for folder in {target.parent for target in staged}:
            sync_folder(folder)
    except OSError as error:
        raise disk_error(error, layout.features) from error
    finally:
        for file in staged.values():
            file.partial.unlink(missing_ok=True)

    commit = Commit(
        shard=shard,
        start=start,
        stop=stop,
        recipe=shards.fingerprint,
        objects={file.key: file.stored for file in staged.values()},
        statuses=dict(statuses),
        failures=dict(failures),
        facts=dict(facts),
        inputs=store.inputs(shard),
    )
    try:
        write_durably(layout.commit_of(shard), commit.to_bytes(), before_publishing=check_claim)
    except ClaimLost as error:
        raise ClaimLost(
            f"{shards.named(shard)}: this task's claim was taken over while it published, so its files may have replaced "
            f"another task's; run `{command('verify', store.path, '--repair')}` when that task has ended"
        ) from error
    layout.failure_of(shard).unlink(missing_ok=True)
    _write_log(layout, claim, stop - start, dict(log or {}))


def _committed_status(store: Store, shard: int, failures: Mapping[int, str]) -> np.ndarray:
    """`row/status` of the shard's committed rows. Raises ShardRefused where other rows have failed now."""
    commit = store.commit(shard)
    if set(failures) != set(commit.failures):
        raise ShardRefused(
            f"shard {shard} of {store.path}: other rows fail than when the rows were made: "
            f"{sorted(set(failures) ^ set(commit.failures))[:8]}"
        )
    return store.read("row/status", np.arange(commit.start, commit.stop))


def _stage(layout: Layout, spec: ArraySpec, shard: int, start: int, values: np.ndarray) -> tuple[Path, StagedFile]:
    key = object_key(shard, len(spec.shape))
    target = layout.array(spec.path) / key
    data, chunks = encode_shard(target.parent, spec, shard, start, values)
    partial, digest = write_aside(target, data)
    return target, StagedFile(partial, f"{spec.path}/{key}", StoredObject(data.nbytes, digest, chunks))


def _write_log(layout: Layout, claim: Claim, n_rows: int, details: dict[str, Any]) -> None:
    now = time.time()
    entry = {
        **details,
        "shard": claim.shard,
        "rows": n_rows,
        "host": claim.holder.host,
        "pid": claim.holder.pid,
        "began": datetime.fromtimestamp(claim.began, UTC).isoformat(timespec="milliseconds"),
        "committed": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "seconds": round(now - claim.began, 3),
    }
    assert claim.shard is not None
    write_durably(layout.log_of(claim.shard), canonical(entry))
