"""The lines that `keybed verify` prints: what is wrong, and the commands that mend it."""

from __future__ import annotations

from keybed.extract.planning.estimate import MOST_TASKS
from keybed.store.check.recompute_difference import RecomputeDifference
from keybed.store.check.verify import VerifyReport
from keybed.store.command import command, shell_line
from keybed.store.counted import counted
from keybed.store.format import shards


def verify_lines(report: VerifyReport) -> list[str]:
    """The whole report, one line per finding, then the commands in the order in which to run them."""
    store = report.config.store
    lines = [str(problem) for problem in report.problems]
    if report.restorable and report.repaired:
        lines.append(f"restored from the rest of the store: {', '.join(report.restorable)}")
    if report.missing:
        lines.append(
            f"not committed: {len(report.missing)} of {counted(report.n_shards, 'shard')} ({shards.as_ranges(report.missing)})"
        )
    for layer, missing in report.missing_of_layers.items():
        lines.append(
            f"not committed of {layer}: {len(missing)} of {counted(report.n_shards, 'shard')} ({shards.as_ranges(missing)})"
        )
    if report.leftovers:
        action = "removed" if report.repaired else "--repair removes them"
        lines.append(
            f"leftovers of killed tasks, {action}: {counted(len(report.leftovers), 'file')}, e.g. {report.leftovers[0]}"
        )
    if report.recompute_difference is not None:
        lines += difference_lines(report.recompute_difference)
    of_plan = sum(problem.shard is None for problem in report.problems)
    if of_plan > (0 if report.repaired else len(report.restorable)):
        lines.append(
            "the plan-written part is damaged: copy these files from a good copy, or plan a new store with the same command "
            "and copy them from there"
        )
    lines += [f"{path}: {what}{', removed' if report.repaired else ''}" for path, what in report.damaged.items()]
    if (report.bad or report.damaged or report.restorable) and not report.repaired:
        effects = [
            *([f"restores {counted(len(report.restorable), 'small file')}"] if report.restorable else []),
            *(["un-commits bad shards"] if report.bad else []),
            *(["removes derived arrays"] if report.damaged else []),
        ]
        lines.append(f"first: {command('verify', store, '--repair')}   ({' and '.join(effects)})")
    if report.redo:
        lines += [f"on a cluster: {sbatch_line(report)}", f"or here: {extract_line(report)}"]
    if report.stale:
        lines.append(f"derived from other data than the store holds now: {', '.join(report.stale)}")
    if report.stale or report.damaged:
        lines.append(f"afterwards: {command('derive', store)}")
    if report.sound:
        which = "the one shard is" if report.n_shards == 1 else f"all {counted(report.n_shards, 'shard')} are"
        lines.append(f"{which} whole and sound; next: {command('info', store)}")
    return lines


def difference_lines(difference: RecomputeDifference) -> list[str]:
    """One line per array, and how this machine differs from the one that stored the rows."""
    lines = [f"recomputed {counted(difference.n_rows, 'row')}; relative difference of features, mean and largest:"]
    if difference.machine_differences is not None:
        other = f"another kind of machine (stored | this): {'; '.join(difference.machine_differences)}"
        lines.insert(0, f"stored by {other if difference.machine_differences else 'this kind of machine'}")
    lines += [f"  {path}: {mean:.2e}, {largest:.2e}" for path, (mean, largest) in difference.features.items()]
    lines += [f"  {path} DIFFERS in rows {rows[:8]}" for path, rows in difference.labels.items()]
    if not difference.labels:
        lines.append("  labels and degradations are equal, bit for bit")
    return lines


def sbatch_line(report: VerifyReport) -> str:
    """The command that makes the shards of `report.redo` as an array job, with the number of tasks written out."""
    config = report.config
    tasks = config.tasks or min(report.n_shards, MOST_TASKS)
    elements = shards.as_ranges(shards.tasks_of_shards(report.redo, tasks))
    return shell_line("sbatch", f"--array={elements}", config.script, config.store, tasks, *_layers(report))


def extract_line(report: VerifyReport) -> str:
    """The command that makes the shards of `report.redo` on this machine."""
    return command("extract", report.config.store, *_layers(report), "--shards", shards.as_ranges(report.redo))


def _layers(report: VerifyReport) -> tuple[str, ...]:
    return ("--layer", ",".join(report.redo_layers)) if report.redo_layers else ()
