"""`keybed verify`: read every file back and compare it with its commit and with the rules of a shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from keybed.store.check.leftovers import find_leftovers, find_uncommitted_files
from keybed.store.check.plan_checksums import plan_problems
from keybed.store.check.recompute_difference import Recompute, RecomputeDifference, measure_recompute_difference
from keybed.store.check.repair import repair
from keybed.store.check.restore import restorable, restore
from keybed.store.check.shard_problems import shard_problems
from keybed.store.disk.commits import committed as committed_on_disk
from keybed.store.disk.derived_files import derived_paths
from keybed.store.errors import ShardDamaged, StaleDerived, StoreError
from keybed.store.format.layout import Layout
from keybed.store.option import Option
from keybed.store.read.derived import damage
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store


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
