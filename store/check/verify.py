"""`keybed verify`: read every file back and compare it with its commit and with the rules of a shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from keybed.store.check.leftovers import find_leftovers, find_uncommitted_files
from keybed.store.check.plan_checksums import plan_problems
from keybed.store.check.recompute_difference import Recompute, RecomputeDifference, measure_recompute_difference
from keybed.store.check.repair import repair
from keybed.store.check.restore import restorable, restore
from keybed.store.counted import counted
from keybed.store.disk.commits import AUDIO, AUDIO_DRIFT, Commit
from keybed.store.disk.commits import committed as committed_on_disk
from keybed.store.disk.derived_files import derived_paths
from keybed.store.disk.durable import sha256_of
from keybed.store.errors import ShardDamaged, StaleDerived, StoreError
from keybed.store.format.array_specs import ArraySpec, task_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.vocabulary import Status
from keybed.store.option import Option
from keybed.store.read.derived import damage
from keybed.store.read.store import Store, open_store
from keybed.store.write.rules import broken_rules, count_statuses


@dataclass(frozen=True)
class VerifyConfig:
    """Settings of `keybed verify`. tasks None: one task per shard, at most 1000."""

    store: Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
    repair: Annotated[bool, Option("take the commits of bad shards back and remove leftover files")] = False
    recompute_rows: Annotated[
        int, Option("make N rows again and report how far they differ", flag="--recompute", metavar="N", least=0)
    ] = 0
    tasks: Annotated[int | None, Option("number of tasks of the array that makes bad shards again", metavar="K")] = None
    script: Annotated[str, Option("batch file of that array")] = "slurm/extract.sbatch"
    seed: Annotated[int, Option("seed that chooses the rows of --recompute", least=0)] = 0


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. shard None: the plan-written part, which no task can make again.

    layer: the added encoder whose shard it is; None: the rows and the encoders planned with them.
    """

    shard: int | None
    what: str
    layer: str | None = None

    def __str__(self) -> str:
        where = "plan" if self.shard is None else f"shard {self.shard}"
        return f"{where}{'' if self.layer is None else f' of layer {self.layer}'}: {self.what}"


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found.

    missing: shards without a commit; missing_of_layers: those of every added encoder that lacks some. leftovers: files of killed tasks. stale: derived arrays made from other data.
    damaged: derived array → what is wrong with its bytes. repaired: whether --repair has removed them. restorable: small files
    that were damaged or missing and follow from the rest; with --repair they have been restored and are no problem.
    """

    config: VerifyConfig
    n_shards: int
    problems: tuple[Problem, ...]
    missing: tuple[int, ...]
    leftovers: tuple[Path, ...]
    recompute_difference: RecomputeDifference | None
    repaired: bool
    stale: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    restorable: tuple[str, ...] = ()
    missing_of_layers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def bad(self) -> tuple[int, ...]:
        """Shards with a problem, ascending."""
        return tuple(sorted({problem.shard for problem in self.problems if problem.shard is not None}))

    @property
    def sound(self) -> bool:
        """True where the store is complete and nothing is wrong with it."""
        return not (self.problems or self.missing or self.missing_of_layers or self.stale or self.damaged) and (
            self.recompute_difference is None or self.recompute_difference.acceptable
        )

    @property
    def redo(self) -> tuple[int, ...]:
        """Shards to extract (again). A shard that the store does not have can be bad, but is not among them."""
        of_layers = (shard for shards in self.missing_of_layers.values() for shard in shards)
        return tuple(sorted({*(shard for shard in self.bad if shard < self.n_shards), *self.missing, *of_layers}))

    @property
    def redo_layers(self) -> tuple[str, ...]:
        """The added encoders to extract (again), where nothing else has to be made; empty otherwise."""
        if self.missing or any(problem.layer is None for problem in self.problems if problem.shard is not None):
            return ()
        of_problems = {problem.layer for problem in self.problems if problem.layer is not None}
        return tuple(sorted({*of_problems, *self.missing_of_layers}))


def verify(
    config: VerifyConfig,
    recompute: Recompute | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    this_machine: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Read every shard and report what is wrong. recompute is needed where config.recompute_rows > 0.

    this_machine: the kind of this machine, compared with the logs when rows are recomputed. Raises StoreError.
    """
    layout = Layout(config.store.absolute())
    small = restorable(layout)
    if config.repair:
        restore(layout, small)
    store = open_store(config.store, even_if_damaged=True)
    plan = [Problem(None, what) for what in plan_problems(store, {} if config.repair else small)]
    problems = list(plan)
    on_disk = {layer: sorted(committed_on_disk(layout.of_layer(layer))) for layer in store.parts}
    problems += [
        Problem(shard, "a commit for a shard that this store does not have", layer)
        for layer, shards in on_disk.items()
        for shard in shards
        if shard >= store.n_shards
    ]
    todo = [(layer, shard) for layer, shards in on_disk.items() for shard in shards if shard < store.n_shards]
    for number, (layer, shard) in enumerate(todo):
        problems += [Problem(shard, what, layer) for what in shard_problems(store, shard, layer, inputs=not plan)]
        progress(number + 1, len(todo))
    bad = {(problem.layer, problem.shard) for problem in problems if problem.shard is not None}
    committed = [shard for layer, shard in todo if layer is None]
    missing = {layer: tuple(sorted(set(range(store.n_shards)) - set(shards))) for layer, shards in on_disk.items()}
    difference = None
    if config.recompute_rows:
        if recompute is None:
            raise StoreError("--recompute needs the extraction's packages: install keybed[extract]")
        sound = [shard for shard in committed if not any((layer, shard) in bad for layer in store.parts)]
        difference = measure_recompute_difference(
            store, sound, config.recompute_rows, recompute, config.seed, this_machine
        )
    stale: list[str] = []
    damaged: dict[str, str] = {}
    if not problems and not any(missing.values()):
        stale, damaged = _derived(store)
    leftovers = [*find_leftovers(store), *find_uncommitted_files(store)]
    if config.repair:
        leftovers = repair(store, sorted(bad, key=lambda entry: (entry[0] or "", entry[1])), damaged)
    return VerifyReport(
        config=config,
        n_shards=store.n_shards,
        problems=tuple(problems),
        missing=missing[None],
        leftovers=tuple(leftovers),
        recompute_difference=difference,
        repaired=config.repair,
        stale=tuple(stale),
        damaged=damaged,
        restorable=tuple(sorted(small)),
        missing_of_layers={layer: shards for layer, shards in missing.items() if layer is not None and shards},
    )


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


def _derived(store: Store) -> tuple[list[str], dict[str, str]]:
    """(paths of stale derived arrays, path → damage of the others)."""
    stale, damaged = [], {}
    for path in derived_paths(Layout(store.path)):
        try:
            store.check_fresh(path)
        except StaleDerived:
            stale.append(path)
            continue
        except ShardDamaged as error:
            damaged[path] = str(error)
            continue
        sentence = damage(store.reader, path)
        if sentence is not None:
            damaged[path] = sentence
    return stale, damaged


def _other_rows(store: Store, commit: Commit) -> Iterator[str]:
    """Whether a layer's commit is of other rows than those that are committed now."""
    rows = store.commit(commit.shard)
    if (rows.statuses, rows.failures) != (commit.statuses, commit.failures):
        yield "other rows have failed than in the committed rows: these were made again since"
    elif AUDIO_DRIFT not in commit.facts and commit.facts.get(AUDIO) != rows.facts.get(AUDIO):
        yield "it was made from other audio than the committed rows (audio_sha256 differs): these were made again since"


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
