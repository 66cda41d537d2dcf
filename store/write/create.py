"""Make an empty store, with all metadata and the plan-written columns, in a staging folder; then rename it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keybed.store.disk.durable import canonical, disk_error, sha256_of, sync_folder, sync_tree, write_durably
from keybed.store.disk.planned_files import plan_bytes
from keybed.store.disk.planned_metadata import make_metadata, recipe_bytes
from keybed.store.disk.staging import staging_folder
from keybed.store.errors import NotAStore, PlanRefused, RecipeMismatch
from keybed.store.format.array_specs import ArraySpec, array_specs, plan_written
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import Recipe, differences
from keybed.store.format.recipe_rules import recipe_problems
from keybed.store.format.splits import checked_splits
from keybed.store.format.vocabulary import SPLITS
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store


def create(
    path: str | Path,
    recipe: Recipe,
    planned: Mapping[str, np.ndarray],
    split_ranges: Mapping[str, tuple[int, int]],
    recordings: Sequence[Mapping[str, Any]],
    machine_paths: Mapping[str, str],
    *,
    write_notes: Callable[[Path], None] | None = None,
) -> None:
    """Make a store; a crash leaves a whole store or none. A store with the same recipe is left as it is.

    planned: the plan-written columns without "row/". split_ranges: split → rows (start, stop), in the order train,
    validation, test, without gaps. recordings: one JSON entry per recording. machine_paths: name → path of corpus, soundfont, weights.
    write_notes: writes `00017.npz`, … into the given folder; `commits/plan.json` then has the checksums of all files.
    Raises RecipeMismatch naming every difference, NotAStore where the folder holds other files, PlanRefused, NoDiskSpace.
    """
    path = Path(path).absolute()
    problems = list(recipe_problems(recipe.to_json()))
    if problems:
        raise PlanRefused(f"{path} cannot be planned: {'; '.join(problems)}")
    specs = array_specs(recipe)
    columns = _checked_columns(plan_written(specs), planned)
    _check_ranges(split_ranges, recipe.n_rows)
    if _exists_already(path, recipe):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = staging_folder(path.parent, path.name)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        _fill(Layout(staging), recipe, specs, columns, split_ranges, recordings, machine_paths, write_notes)
        sync_tree(staging)
        staging.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        if path.is_dir() and _exists_already(path, recipe):  # another process has made the same store
            return
        raise disk_error(error, path) from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def update_machine_paths(store: Store, machine_paths: Mapping[str, str]) -> None:
    """Replace the paths of this machine in the store; the recipe does not change. Equal paths are not written again.

    Paths of added encoders' weights stay unless they are named.
    """
    added = {f"weights/{name}" for name in store.layers}
    kept = {name: path for name, path in store.machine_paths.items() if name in added}
    paths = {**kept, **machine_paths}
    if store.machine_paths != paths:
        write_durably(Layout(store.path).machine_paths, canonical(paths))


def _fill(
    layout: Layout,
    recipe: Recipe,
    specs: Sequence[ArraySpec],
    columns: Mapping[str, np.ndarray],
    split_ranges: Mapping[str, tuple[int, int]],
    recordings: Sequence[Mapping[str, Any]],
    machine_paths: Mapping[str, str],
    write_notes: Callable[[Path], None] | None,
) -> None:
    import zarr

    for folder in (layout.notes, layout.claims, layout.commits, layout.logs):
        folder.mkdir()
    layout.recipe.write_bytes(recipe_bytes(recipe))
    layout.recordings.write_bytes(canonical([dict(recording) for recording in recordings]))
    layout.machine_paths.write_bytes(canonical(dict(machine_paths)))

    arrays = make_metadata(zarr.storage.LocalStore(layout.features), recipe, specs, split_ranges)
    for spec in specs:
        layout.array(spec.path).mkdir(exist_ok=True)
        if spec.writer == "plan":
            arrays[spec.path][...] = columns[spec.path]
    if write_notes is not None:
        write_notes(layout.notes)
    planned = [layout.recipe, layout.recordings, *layout.features.rglob("*"), *layout.notes.rglob("*")]
    objects: dict[str, bytes | tuple[int, str]] = {
        file.relative_to(layout.root).as_posix(): (file.stat().st_size, sha256_of(file))
        for file in sorted(planned)
        if file.is_file()
    }
    layout.plan_commit.write_bytes(plan_bytes(recipe.fingerprint, objects))


def refuse_foreign(path: str | Path) -> None:
    """Raise NotAStore where `path` is a file, or a folder that is neither empty nor a store."""
    path = Path(path).absolute()
    if not path.exists():
        return
    if not path.is_dir():
        raise NotAStore(f"{path} is a file; give the store another name")
    layout = Layout(path)
    if any(path.iterdir()) and not (layout.recipe.exists() or layout.features.exists()):
        raise NotAStore(f"{path} holds other files and is not a store; give the store another name or an empty folder")


def _exists_already(path: Path, recipe: Recipe) -> bool:
    refuse_foreign(path)
    if not path.exists() or not any(path.iterdir()):
        return False
    stored = open_store(path).planned_recipe
    if stored.fingerprint == recipe.fingerprint:
        return True
    listed = "\n  ".join(differences(stored.to_json(), recipe.to_json()))
    raise RecipeMismatch(
        f"{path} was planned with another recipe; nothing was changed. Stored | requested:\n  {listed}\n"
        f"Use another folder, or the settings that the store was planned with."
    )


def _checked_columns(specs: Sequence[ArraySpec], planned: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    wanted = {spec.path.removeprefix("row/") for spec in specs}
    if wanted != set(planned):
        raise PlanRefused(
            f"planned columns missing {sorted(wanted - set(planned))}, unknown {sorted(set(planned) - wanted)}"
        )
    columns = {}
    for spec in specs:
        values = np.asarray(planned[spec.path.removeprefix("row/")])
        if values.shape != spec.shape:
            raise PlanRefused(f"{spec.path} has shape {values.shape}, the recipe says {spec.shape}")
        stored = values.astype(spec.dtype)
        if not np.can_cast(values.dtype, spec.dtype, "same_kind") and not np.array_equal(stored, values):
            raise PlanRefused(f"{spec.path} is {values.dtype} and does not fit into {spec.dtype}")
        columns[spec.path] = stored
    return columns


def _check_ranges(split_ranges: Mapping[str, tuple[int, int]], n_rows: int) -> None:
    if tuple(split_ranges) != SPLITS:
        raise PlanRefused(f"split ranges {tuple(split_ranges)}: need exactly {SPLITS}, in this order")
    try:
        checked_splits({name: (int(start), int(stop)) for name, (start, stop) in split_ranges.items()}, n_rows)
    except ValueError as error:
        raise PlanRefused(str(error)) from error
