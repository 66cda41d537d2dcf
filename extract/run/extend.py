"""Add encoders to a planned or filled store: their settings are recorded, and `keybed extract` makes their features."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keybed import store as stores
from keybed.extract.config import ExtendConfig
from keybed.extract.planning.disk_space import FREE_SPACE_MARGIN
from keybed.extract.planning.estimate import Estimate, estimate, human_size
from keybed.extract.planning.plan import checkpoint_remarks, encoder_specs
from keybed.extract.planning.speeds import MEASURED_RATES
from keybed.extract.run.check_recipe import check_same_code, check_same_midi_reading
from keybed.store import Store
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import NoDiskSpace
from keybed.store.format.recipe import EncoderSpec
from keybed.store.write.layers import add_encoders


@dataclass(frozen=True)
class ExtendReport:
    """What was added, as fields and as text (`lines`)."""

    store: Path
    added: tuple[str, ...]
    """Encoders that the store did not have before."""
    present: tuple[str, ...]
    """Encoders that it had, with the same settings."""
    array_bytes: Mapping[str, int]
    """Bytes of each new array before compression."""
    estimate: Estimate
    random_weights: tuple[str, ...]
    remarks: tuple[str, ...]
    rows_left: int
    """Shards whose rows are not committed."""
    dry_run: bool = False

    def lines(self) -> list[str]:
        """The report as lines of text."""
        lines = [f"{', '.join(self.present)}: in the store already, with these settings"] if self.present else []
        lines += self.remarks
        if self.random_weights:
            lines.append(
                f"RANDOM WEIGHTS: {', '.join(self.random_weights)} have seeded random weights; their features describe no music"
            )
        if not self.added:
            return [*lines, f"nothing to add; next: {command('status', self.store)}"]
        wide = max(len(path) for path in self.array_bytes)
        costs, tasks = self.estimate, self.estimate.tasks
        names = ",".join(self.added)
        layer = () if self.rows_left else ("--layer", names)
        array = f"{command('extract', self.store, '--task', 'I', '--tasks', tasks, *layer)}, I from 0 to {tasks - 1}"
        alone = f"next: {command('extract', self.store, *layer)}"
        return [
            *lines,
            "bytes (before compression):",
            *(f"  {path:<{wide}}  {human_size(size):>12}" for path, size in self.array_bytes.items()),
            f"time per shard, rendering included: {costs.minutes_per_shard_gpu:.1f} min with a GPU, "
            f"{costs.minutes_per_shard_cpu:.1f} min on {counted(costs.cores_per_task, 'core')} without",
            *costs.time_lines(),
            *(
                ["dry run: nothing was written"]
                if self.dry_run
                else [
                    f"added to {self.store}: {', '.join(self.added)}",
                    f"{alone}   (or as an array: {array})" if tasks > 1 else alone,
                ]
            ),
        ]


def extend(config: ExtendConfig) -> ExtendReport:
    """Record the encoders in the store; one that it has with the same settings is left as it is.

    Raises RecipeMismatch where it has one of the same name with other settings, NotAsPlanned where this version of Keybed
    makes other rows, PlanError, NoDiskSpace, and errors of encoders and of the store.
    """
    store = stores.open(config.store)
    check_same_midi_reading(store.recipe)
    check_same_code(store.recipe)
    specs, machine_paths = encoder_specs(
        config,
        n_bins=store.recipe.encoders[0].n_bins,
        window_s=float(store.recipe.segments["window_s"]),
        dry=config.dry_run,
    )
    remarks = [] if config.dry_run else checkpoint_remarks(specs, machine_paths)
    present = {spec.name for spec in store.recipe.encoders}
    costs = _costs(config, store, specs)
    new = [spec.name for spec in specs if spec.name not in present]
    if config.check_disk_space and not config.dry_run:
        _check_disk_space(store, sum(_sizes(costs, specs, new).values()))
    added = new if config.dry_run else add_encoders(store.path, specs, machine_paths)
    return ExtendReport(
        store=config.store,
        added=tuple(added),
        present=tuple(spec.name for spec in specs if spec.name not in added),
        array_bytes=_sizes(costs, specs, added),
        estimate=costs,
        random_weights=tuple(spec.name for spec in specs if spec.random_weights and not config.dry_run),
        remarks=tuple(remarks),
        rows_left=store.n_shards - len(store.committed),
        dry_run=config.dry_run,
    )


def _sizes(costs: Estimate, specs: Sequence[EncoderSpec], names: Sequence[str]) -> dict[str, int]:
    """Bytes of each array of these encoders before compression."""
    groups = tuple(f"{spec.group}/" for spec in specs if spec.name in names)
    return {path: size for path, size in costs.array_bytes.items() if groups and path.startswith(groups)}


def _costs(config: ExtendConfig, store: Store, specs: tuple[EncoderSpec, ...]) -> Estimate:
    """The cost of making the rows again with these encoders only."""
    return estimate(
        replace(store.recipe, encoders=specs),
        seconds_of_notes=0.0,
        n_notes_files=0,
        cores_per_task=config.cores_per_task,
        task_hours=config.task_hours,
        rates=MEASURED_RATES.with_measured(config.rates),
    )


def _check_disk_space(store: Store, n_bytes: int) -> None:
    free, needed = shutil.disk_usage(store.path).free, n_bytes * FREE_SPACE_MARGIN
    if free < needed:
        raise NoDiskSpace(
            f"{store.path}: {human_size(free)} free, but the new encoders may need {human_size(needed)}; free some, or add "
            "fewer --encoders (--no-room-check skips this check)"
        )
