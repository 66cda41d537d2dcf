"""Reading everything back: is what lies on disk what was committed, and is it sound?"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keybed.store.check.leftovers import find_leftovers, find_unproven
from keybed.store.check.plan_checksums import plan_problems
from keybed.store.check.recompute_difference import Recompute, RecomputeDifference, measure_recompute_difference
from keybed.store.check.repair import repair
from keybed.store.disk.commits import Commit
from keybed.store.disk.durable import sha256_of
from keybed.store.errors import ShardDamaged, StaleDerived, StoreError
from keybed.store.format import shards
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.vocabulary import Status
from keybed.store.read.derived import damage, derived_arrays
from keybed.store.read.store import Store, open_store
from keybed.store.write.rules import broken_rules

MAX_TASKS = 1000
"""Slurm's usual MaxArraySize is 1001."""


@dataclass(frozen=True)
class VerifyConfig:
    """What `keybed verify` may be asked. tasks: the array's K, by default one task a shard (at most 1000)."""

    store: Path
    repair: bool = False
    recompute_rows: int = 0
    tasks: int | None = None
    script: str = "slurm/extract.sbatch"
    seed: int = 0


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; shard None means the plan-written part, which no task can redo."""

    shard: int | None
    what: str

    def __str__(self) -> str:
        return f"{'plan' if self.shard is None else f'shard {self.shard}'}: {self.what}"


@dataclass(frozen=True)
class VerifyReport:
    """What was found. missing: shards without a commit; stale: derived arrays made from other data; damaged: derived
    array → what is wrong with its bytes; repaired: --repair acted.
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

    @property
    def bad(self) -> tuple[int, ...]:
        """Shards with a problem, ascending."""
        return tuple(sorted({problem.shard for problem in self.problems if problem.shard is not None}))

    @property
    def sound(self) -> bool:
        """True where the store is complete and nothing is wrong with it."""
        return not (self.problems or self.missing or self.stale or self.damaged) and (
            self.recompute_difference is None or self.recompute_difference.acceptable
        )

    @property
    def redo(self) -> tuple[int, ...]:
        """Shards to extract (again); a commit of a shard that does not exist is bad, but nothing to be made."""
        return tuple(sorted({*(shard for shard in self.bad if shard < self.n_shards), *self.missing}))

    def sbatch_line(self) -> str:
        """The whole line that redoes `redo` as an array job, with the number of tasks written out."""
        tasks = self.config.tasks or min(self.n_shards, MAX_TASKS)
        elements = shards.as_ranges(shards.tasks_of_shards(self.redo, tasks))
        return (
            f"sbatch --array={elements} {shlex.quote(self.config.script)} {shlex.quote(str(self.config.store))} {tasks}"
        )

    def extract_line(self) -> str:
        """The line that redoes `redo` here."""
        return f"keybed extract {shlex.quote(str(self.config.store))} --shards {shards.as_ranges(self.redo)}"

    def lines(self) -> list[str]:
        """What to tell the person who asked."""
        said = [str(problem) for problem in self.problems]
        if self.missing:
            said.append(
                f"not committed: {len(self.missing)} of {self.n_shards} shards ({shards.as_ranges(self.missing)})"
            )
        if self.leftovers:
            did = "removed" if self.repaired else "left by killed tasks (--repair removes it)"
            said.append(f"litter, {did}: {len(self.leftovers)} files, e.g. {self.leftovers[0]}")
        if self.recompute_difference is not None:
            said += self.recompute_difference.lines()
        if any(problem.shard is None for problem in self.problems):
            said.append("the plan-written part is damaged: copy it again from a good copy, or plan a new store")
        said += [f"{path}: {what}{', removed' if self.repaired else ''}" for path, what in self.damaged.items()]
        if (self.bad or self.damaged) and not self.repaired:
            does = " and ".join(
                [
                    *(["un-commits bad shards"] if self.bad else []),
                    *(["removes derived arrays"] if self.damaged else []),
                ]
            )
            said.append(f"first: keybed verify {shlex.quote(str(self.config.store))} --repair   ({does})")
        if self.redo:
            said += [f"on a cluster: {self.sbatch_line()}", f"or here: {self.extract_line()}"]
        if self.stale:
            said.append(f"derived from other data than lies here now: {', '.join(self.stale)}")
        if self.stale or self.damaged:
            said.append(f"afterwards: keybed derive {shlex.quote(str(self.config.store))}")
        if self.sound:
            which = "the one shard is" if self.n_shards == 1 else f"all {self.n_shards} shards are"
            said.append(f"{which} whole and sound; next: keybed info {self.config.store}")
        return said


def verify(
    config: VerifyConfig,
    recompute: Recompute | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    here: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Read every shard. recompute(shard, rows) → arrays of those rows is needed where recompute_rows > 0.

    here: the kind of this machine, for the report of what was recomputed.
    """
    store = open_store(config.store, even_if_damaged=True)
    layout = Layout(store.path)
    problems = [Problem(None, what) for what in plan_problems(store)]
    done = sorted(store.committed)
    for shard in (shard for shard in done if shard >= store.n_shards):
        problems.append(Problem(shard, "a commit for a shard that this store does not have"))
    done = [shard for shard in done if shard < store.n_shards]
    for number, shard in enumerate(done):
        problems += [Problem(shard, what) for what in shard_problems(store, shard)]
        progress(number + 1, len(done))
    bad = {problem.shard for problem in problems if problem.shard is not None}
    drift = None
    if config.recompute_rows:
        if recompute is None:
            raise StoreError("--recompute needs the extraction's packages: install keybed[extract]")
        good = [shard for shard in done if shard not in bad]
        drift = measure_recompute_difference(store, good, config.recompute_rows, recompute, config.seed, here)
    stale: list[str] = []
    damaged: dict[str, str] = {}
    if not problems and len(done) == store.n_shards:
        stale, damaged = _derived(store)
    litter = [*find_leftovers(layout), *find_unproven(store)]
    if config.repair:
        litter = repair(store, sorted(bad), damaged)
    missing = sorted(set(range(store.n_shards)) - set(done))
    found = (tuple(problems), tuple(missing), tuple(litter), drift)
    return VerifyReport(config, store.n_shards, *found, repaired=config.repair, stale=tuple(stale), damaged=damaged)


def shard_problems(store: Store, shard: int) -> list[str]:
    """All that is wrong with one committed shard; empty for a sound one."""
    try:
        commit = store.commit(shard)
    except ShardDamaged as error:
        return [str(error)]
    specs = [spec for spec in store.specs if spec.writer == "task"]
    if (commit.start, commit.stop) != store.shard_range(shard):
        return [f"the commit is of rows {commit.start}–{commit.stop - 1}, the shard is {store.shard_range(shard)}"]
    damaged = list(_damaged_objects(store, commit, specs))
    if damaged:
        return damaged
    arrays = {}
    for spec in specs:
        try:
            arrays[spec.path] = store.read(spec.path, np.arange(commit.start, commit.stop))
        except ShardDamaged as error:
            return [f"{spec.path} cannot be decoded, though its checksum is right: {error}"]
    return [
        *broken_rules(specs, arrays, commit.failures, commit.start),
        *_wrong_counts(commit, arrays["row/status"]),
        *_constant_features(specs, arrays, commit.start),
    ]


def _derived(store: Store) -> tuple[list[str], dict[str, str]]:
    """(paths of stale derived arrays, path → damage of the others)."""
    stale, damaged = [], {}
    for path in derived_arrays(store.reader):
        try:
            store.check_fresh(path)
        except StaleDerived:
            stale.append(path)
            continue
        if (found := damage(store.reader, path)) is not None:
            damaged[path] = found
    return stale, damaged


def _damaged_objects(store: Store, commit: Commit, specs: Sequence[ArraySpec]) -> Iterator[str]:
    expected = {f"{spec.path}/{object_key(commit.shard, len(spec.shape))}" for spec in specs}
    if expected != set(commit.objects):
        yield f"the commit lists other files than the schema: {sorted(expected ^ set(commit.objects))[:4]}"
    for key in sorted(expected & set(commit.objects)):
        stored, file = commit.objects[key], Layout(store.path).features / key
        if not file.is_file():
            yield f"{key} is missing"
        elif (length := file.stat().st_size) != stored.bytes:
            yield f"{key} is {length} bytes long, committed were {stored.bytes}"
        elif sha256_of(file) != stored.sha256:
            yield f"{key} has changed since it was committed (sha256 differs)"


def _wrong_counts(commit: Commit, status: np.ndarray) -> Iterator[str]:
    found = {s.name: int(np.sum(status == s)) for s in Status if np.any(status == s)}
    if found != commit.statuses:
        yield f"row/status counts {found}, the commit says {commit.statuses}"


def _constant_features(specs: Sequence[ArraySpec], arrays: Mapping[str, np.ndarray], start: int) -> Iterator[str]:
    """Features that say nothing: one number throughout a row, or the same in every row of the shard."""
    ok = np.flatnonzero(arrays["row/status"] == Status.OK)
    for spec in specs:
        if spec.dtype != "float16" or not len(ok):
            continue
        flat = arrays[spec.path][ok].reshape(len(ok), -1)
        constant = (flat == flat[:, :1]).all(axis=1)
        if flat.shape[1] > 1 and constant.any():
            rows = (start + ok[constant])[:8].tolist()
            yield f"{spec.path}: {int(constant.sum())} rows hold one number throughout, e.g. {rows}"
        elif len(ok) > 1 and (flat == flat[0]).all():
            yield f"{spec.path}: all {len(ok)} rows are equal; the encoder did not listen"
