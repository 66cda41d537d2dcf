"""Plan a store: read a corpus, decide every choice that shapes a number, and create the empty store."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from keybed import store as stores
from keybed.extract.audio.room import describe_rooms, rooms_bytes
from keybed.extract.config import ExtendConfig, PlanConfig
from keybed.extract.corpus.files import ABSENT
from keybed.extract.corpus.parse import ParsedRecording, file_problems, parse_all
from keybed.extract.encoders import NEED_FILES, check_checkpoint, describe, has_bfloat16
from keybed.extract.planning.disk_space import check_disk_space
from keybed.extract.planning.estimate import Estimate, estimate
from keybed.extract.planning.measured_precision import planned_clips, precision_lines
from keybed.extract.planning.planned_audio import planned_audio
from keybed.extract.planning.recipe import recording_entries, store_recipe
from keybed.extract.planning.report import PlanReport
from keybed.extract.planning.rooms import ROOMS, draw_rooms, make_rooms, room_line
from keybed.extract.planning.row_plan import PlanError, RowPlan, draw_all_levels, plan_rows, rating_columns
from keybed.extract.planning.soundfonts import check_hold_out, draw_soundfonts, soundfont_line
from keybed.extract.planning.speeds import MEASURED_RATES, Rates
from keybed.extract.progress import Progress, silent
from keybed.store.errors import NoDiskSpace
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.soundfonts import held_out_soundfont, soundfont_names
from keybed.store.format.vocabulary import SPLITS
from keybed.store.write.create import refuse_foreign, update_machine_paths

__all__ = ["PlanError", "dry_run", "plan"]


def plan(config: PlanConfig, progress: Progress = silent) -> PlanReport:
    """Create the empty store, or leave a store of the same plan as it is.

    Raises CorpusError, PlanError, RecipeMismatch (the store has another plan), NotAStore (the folder holds other files),
    NoDiskSpace, and errors of encoders and soundfonts.
    """
    if config.metadata_only:
        raise PlanError("--metadata-only reads no MIDI, so that no store can be made; add --dry-run")
    refuse_foreign(config.store)
    check_hold_out(config)
    rates = MEASURED_RATES.with_measured(config.rates)
    row_plan = plan_rows(config, progress)
    specs, machine_paths = _encoders(config)
    remarks = checkpoint_remarks(specs, machine_paths)
    audio = planned_audio(config)
    machine_paths["maestro"] = str(row_plan.corpus.folder.absolute())
    machine_paths |= audio.machine_paths
    remarks += [audio.remark] if audio.remark else []
    with tempfile.TemporaryDirectory(prefix="keybed-notes-") as folder:
        parsed = _parse(config, row_plan, Path(folder), progress)
        rooms = None if config.rooms is None else make_rooms(config.rooms, config.seed)
        description = dict(audio.description)
        if rooms is not None:
            (Path(folder) / ROOMS).write_bytes(rooms_bytes(rooms))
            description["rooms"] = describe_rooms(rooms)
        recipe = store_recipe(config, row_plan, specs, description, parsed)
        costs = _estimate(config, row_plan, recipe, rates)
        if config.check_disk_space:
            check_disk_space(config.store, costs)
        planned = {**row_plan.order.columns, "level_drawn": draw_all_levels(config, row_plan.order, progress)}
        if names := soundfont_names(recipe.audio):
            held_out = held_out_soundfont(recipe.audio)
            planned["soundfont"] = draw_soundfonts(row_plan.order, len(names), held_out, config.seed)
            remarks.append(soundfont_line(names, planned["soundfont"], held_out))
        if rooms is not None:
            planned |= draw_rooms(row_plan.order, len(rooms.rt60_s), config.seed)
            remarks.append(room_line(rooms))
        planned |= rating_columns(row_plan)
        progress("making the store", 0, 1)
        stores.create(
            config.store,
            recipe,
            planned,
            row_plan.order.split_ranges,
            recording_entries(row_plan, parsed),
            machine_paths,
            write_notes=partial(_copy_notes, Path(folder)),
        )
        update_machine_paths(stores.open(config.store), machine_paths)
        progress("making the store", 1, 1)
        clips = planned_clips(config, row_plan, planned["level_drawn"], parsed, Path(folder), *audio.first)
        remarks += precision_lines(specs, machine_paths, clips)
    return _report(config, row_plan, specs, parsed, costs, created=True, weights_remarks=tuple(remarks))


def checkpoint_remarks(specs: Sequence[EncoderSpec], machine_paths: Mapping[str, str]) -> list[str]:
    """What was seen in each checkpoint. Raises WeightsRefused."""
    on_disk = [spec for spec in specs if spec.source not in ("none", "random")]
    return [check_checkpoint(spec, machine_paths[f"weights/{spec.name}"]) for spec in on_disk]


def dry_run(config: PlanConfig, progress: Progress = silent) -> PlanReport:
    """The report of a plan, without creating a store or reading weights; with `metadata_only` from the CSV alone."""
    check_hold_out(config)
    rates = MEASURED_RATES.with_measured(config.rates)
    row_plan = plan_rows(config, progress)
    specs, _ = _encoders(config, dry=True)
    parsed: dict[int, ParsedRecording] = {}
    if not config.metadata_only:
        with tempfile.TemporaryDirectory(prefix="keybed-notes-") as folder:
            parsed = _parse(config, row_plan, Path(folder), progress)
    audio = {"source": config.audio, "renderer": config.renderer}  # enough for an estimate
    recipe = store_recipe(config, row_plan, specs, audio, parsed)
    costs = _estimate(config, row_plan, recipe, rates)
    return _report(
        config, row_plan, specs, parsed, costs, created=False, disk_space_problem=_disk_space_problem(config, costs)
    )


def _disk_space_problem(config: PlanConfig, costs: Estimate) -> str | None:
    try:
        if config.check_disk_space:
            check_disk_space(config.store, costs)
    except NoDiskSpace as error:
        return str(error)
    return None


def _encoders(config: PlanConfig, *, dry: bool = False) -> tuple[tuple[EncoderSpec, ...], dict[str, str]]:
    return encoder_specs(config, n_bins=config.n_bins, window_s=config.window_s, dry=dry)


def encoder_specs(
    config: PlanConfig | ExtendConfig, *, n_bins: int, window_s: float, dry: bool = False
) -> tuple[tuple[EncoderSpec, ...], dict[str, str]]:
    """The specs of the encoders asked for, and where their weights lie: "weights/<encoder>" -> path.

    dry: seeded random weights where none are named, for estimates. Raises PlanError, and errors of encoders.
    """
    specs, machine_paths = [], {}
    for name in config.encoders:
        weights = config.weights.get(name)
        spec, path = describe(
            name,
            weights="random" if dry and weights is None and name in NEED_FILES else weights,
            n_bins=n_bins,
            window_s=window_s,
            threads=config.threads,
            revision=config.revisions.get(name),
            compute_dtype=config.compute_dtype,
        )
        specs.append(spec)
        if path is not None:
            machine_paths[f"weights/{name}"] = path
    if len({spec.group for spec in specs}) != len(specs):
        raise PlanError(f"encoders {', '.join(config.encoders)}: one of them is named twice")
    return tuple(specs), machine_paths


def _parse(config: PlanConfig, row_plan: RowPlan, folder: Path, progress: Progress) -> dict[int, ParsedRecording]:
    parsed = parse_all(
        row_plan.corpus,
        row_plan.used,
        folder,
        jobs=config.jobs or len(os.sched_getaffinity(0)),
        progress=progress,
    )
    _check_files_exist(row_plan, parsed, recorded=config.audio == "recorded")
    return parsed


def _check_files_exist(row_plan: RowPlan, parsed: Mapping[int, ParsedRecording], *, recorded: bool) -> None:
    """Raise PlanError where no MIDI file, or no sound file, exists: the folder is probably the wrong one."""
    corpus = row_plan.corpus
    first = corpus.recordings[next(iter(parsed))]
    if all(recording.midi_sha256 == ABSENT for recording in parsed.values()):
        raise PlanError(
            f"{corpus.folder}: none of the {len(parsed)} MIDI files named in {corpus.listed_in.name} exists or may be read "
            f"(the first: {parsed[first.index].problem}); give the folder that holds them"
        )
    if recorded and not any(row_plan.files[index].audio for index in parsed):
        raise PlanError(
            f"{corpus.folder}: none of the {len(parsed)} sound files of {corpus.listed_in.name} can be read "
            f"(the first: {row_plan.files[first.index].audio_problem}); --audio rendered needs no sound files"
        )


def _copy_notes(source: Path, target: Path) -> None:
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, target / file.name)


def _estimate(config: PlanConfig, row_plan: RowPlan, recipe: Recipe, rates: Rates) -> Estimate:
    return estimate(
        recipe,
        seconds_of_notes=sum(row_plan.corpus.recordings[index].seconds for index in row_plan.used),
        n_notes_files=len(row_plan.used),
        cores_per_task=config.cores_per_task,
        task_hours=config.task_hours,
        rates=rates,
    )


def _report(
    config: PlanConfig,
    row_plan: RowPlan,
    specs: tuple[EncoderSpec, ...],
    parsed: Mapping[int, ParsedRecording],
    costs: Estimate,
    *,
    created: bool,
    weights_remarks: tuple[str, ...] = (),
    disk_space_problem: str | None = None,
) -> PlanReport:
    recordings = row_plan.corpus.recordings
    ranges = row_plan.order.split_ranges
    return PlanReport(
        store=config.store,
        created=created,
        n_recordings=len(recordings),
        n_recordings_used=len(row_plan.used),
        n_segments=len(row_plan.segments),
        n_rows=int(row_plan.order.columns["tier"].size),
        rows_of_split={name: ranges[name][1] - ranges[name][0] for name in SPLITS},
        remarks=row_plan.remarks,
        left_out=row_plan.corpus.left_out,
        unreadable=row_plan.corpus.unreadable,
        pieces=row_plan.pieces,
        too_short=row_plan.too_short,
        problems=tuple(
            line
            for index in sorted(parsed)
            for line in file_problems(recordings[index], row_plan.files[index], parsed[index])
        ),
        random_weights=tuple(spec.name for spec in specs if created and spec.random_weights),
        slow_arithmetic=tuple(s.name for s in specs if has_bfloat16(s) and s.compute_dtype == "float32"),
        weights_remarks=weights_remarks,
        estimate=costs,
        disk_space_problem=disk_space_problem,
    )
