"""Join stores of one recipe into a new store. The sources are only read; a join that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keybed.store.command import command
from keybed.store.errors import Incomplete, PlanRefused
from keybed.store.format.array_specs import task_written
from keybed.store.format.layout import Layout
from keybed.store.format.shards import as_ranges
from keybed.store.format.vocabulary import SPLITS
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store
from keybed.store.write.carry import carry_shard, commits_of, link_or_copy, same_encoding
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard
from keybed.store.write.create import create, update_machine_paths
from keybed.store.write.join_order import JoinOrder, join_order
from keybed.store.write.join_recipe import joined_recipe

JOINED = "joined_from"
"""Fact of a commit: the shards of the source stores that its rows come from."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Joined:
    """What was made. n_linked: shards whose files were taken as they are; n_copied: shards that were put together anew."""

    n_rows: int
    n_shards: int
    n_linked: int
    n_copied: int


def check_whole(store: Store) -> None:
    """Raise Incomplete unless every shard of the rows and of every added encoder is committed."""
    for part in store.parts:
        of_part = store.shards_of_layer(part)
        missing = sorted(set(range(store.n_shards)) - of_part.numbers)
        if missing:
            what = "" if part is None else f" of layer {part}"
            raise Incomplete(
                f"{store.path}: shards {as_ranges(missing)}{what} are not committed: `{command('extract', store.path)}` "
                "makes them; then join"
            )


def join_stores(
    sources: Sequence[Store], out: Path, entries: Sequence[Mapping[str, Any]], progress: Progress = lambda *_: None
) -> Joined:
    """Make the store at `out` of all rows of the sources.

    entries: of `recordings.json`, the recordings of the first source, then those of the next, with their numbers, pieces and
    splits in the new store. Raises RecipeMismatch where recipes differ in more than the corpus, or `out` holds another
    store; Incomplete, PlanRefused, ShardDamaged, NoDiskSpace.
    """
    out = out.absolute()
    if out.resolve() in {store.path.resolve() for store in sources}:
        raise PlanRefused(f"{out} is one of the stores to join; give --out another folder")
    for store in sources:
        check_whole(store)
    recipe = joined_recipe(sources)
    columns = [_columns(sources, number, entries) for number in range(len(sources))]
    order = join_order([own["split"] for own in columns], [store.shard_rows for store in sources], recipe.shard_rows)
    planned = {name: _in_order(order, [own[name] for own in columns]) for name in columns[0]}
    paths = {name: path for store in reversed(sources) for name, path in store.machine_paths.items()}
    create(out, recipe, planned, order.split_ranges, entries, paths, write_notes=lambda folder: _notes(sources, folder))
    target = open_store(out)
    update_machine_paths(target, paths)
    return _fill(sources, target, order, progress)


def _columns(sources: Sequence[Store], number: int, entries: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """One source's planned columns with the numbers that they have in the joined store."""
    store = sources[number]
    before = sources[:number]
    own = store.columns(0, store.n_rows)
    recording = own["recording"] + sum(len(other.recordings) for other in before)
    segments_before = sum(int(other.columns(0, other.n_rows)["segment"].max(initial=-1)) + 1 for other in before)
    return {
        **own,
        "recording": recording,
        "segment": own["segment"] + segments_before,
        "piece": np.array([entry["piece"] for entry in entries], np.int32)[recording],
        "split": np.array([SPLITS.index(entry["split"]) for entry in entries], np.uint8)[recording],
    }


def _in_order(order: JoinOrder, by_source: Sequence[np.ndarray]) -> np.ndarray:
    values = np.empty((len(order.row), *by_source[0].shape[1:]), by_source[0].dtype)
    for source, own in enumerate(by_source):
        here = order.source == source
        values[here] = own[order.row[here]]
    return values


def _notes(sources: Sequence[Store], folder: Path) -> None:
    first = 0
    rooms = Layout(sources[0].path).rooms
    if rooms.exists():
        sources[0].planned_files.check(rooms.relative_to(sources[0].path).as_posix())
        link_or_copy(rooms, Layout(folder.parent).rooms)
    target = Layout(folder.parent)
    for store in sources:
        for recording in range(len(store.recordings)):
            if Layout(store.path).notes_of(recording).exists():
                link_or_copy(store.notes_path(recording), target.notes_of(first + recording))
        first += len(store.recordings)


def _fill(sources: Sequence[Store], target: Store, order: JoinOrder, progress: Progress) -> Joined:
    n_linked = n_copied = 0
    done = target.committed
    alike = [same_encoding(store, target) for store in sources]
    for shard in range(target.n_shards):
        start, stop = target.shard_range(shard)
        whole = order.whole_shard(start, stop, [store.shard_rows for store in sources])
        linked = whole is not None and alike[whole[0]]
        n_linked, n_copied = n_linked + linked, n_copied + (not linked)
        if shard not in done:
            with claim(target, shard) as held:
                if whole is not None and linked:
                    source, number = sources[whole[0]], whole[1]
                    facts = {**_facts(source, number), JOINED: [[source.fingerprint, number]]}
                    carry_shard(source, number, target, shard, facts, held)
                else:
                    _copy(sources, target, shard, order, held)
        progress("joining", shard + 1, target.n_shards)
    return Joined(target.n_rows, target.n_shards, n_linked, n_copied)


def _facts(source: Store, shard: int) -> dict[str, Any]:
    """The facts of a shard's rows, and under `layers` those of encoders that were added to the source."""
    commits = commits_of(source, shard)
    added = {part: commit.facts for part, commit in commits.items() if part is not None}
    return {**commits[None].facts, **({"layers": added} if added else {})}


def _copy(sources: Sequence[Store], target: Store, shard: int, order: JoinOrder, held: Any) -> None:
    """Put a shard together from rows of several source shards. The hashes of their audio stay with the sources."""
    start, stop = target.shard_range(shard)
    source_of, row_of = order.source[start:stop], order.row[start:stop]
    arrays: dict[str, np.ndarray] = {}
    for spec in task_written(target.specs):
        by_source = {
            source: sources[source].read(spec.path, row_of[source_of == source])
            for source in np.unique(source_of).tolist()
        }
        values = np.empty((stop - start, *spec.shape[1:]), spec.dtype)
        for source, own in by_source.items():
            values[source_of == source] = own
        arrays[spec.path] = values
    failures: dict[int, str] = {}
    origin: list[list[Any]] = []
    for source in np.unique(source_of).tolist():
        store = sources[source]
        rows = row_of[source_of == source]
        positions = dict(zip(rows.tolist(), (start + np.flatnonzero(source_of == source)).tolist(), strict=True))
        for number in np.unique(rows // store.shard_rows).tolist():
            origin.append([store.fingerprint, number])
            reasons = store.commit(number).failures
            failures |= {positions[row]: reason for row, reason in reasons.items() if row in positions}
    commit_shard(target, shard, arrays, claim=held, failures=failures, facts={JOINED: origin})
