"""`keybed score` and `keybed pack`: score recordings with the heads of a run, and put these into one file."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keybed.experiments.cli.arguments import add_paths, given_paths
from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.flags import add_options, config_from
from keybed.experiments.cli.output import Document, add_json
from keybed.store.command import command
from keybed.store.counted import counted

if TYPE_CHECKING:
    from rich.console import Console

    from keybed.experiments.scoring.results import Comparison, ScoredFile, ScoreRecord


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    add_command(
        subcommands,
        "score",
        "score recordings, window by window, with the heads of a run",
        _fill_score,
        example="score PIECE.mid --run RUN/phase2",
    )
    add_command(
        subcommands,
        "pack",
        "write what recordings are scored with into one small file",
        _fill_pack,
        example="pack RUN/phase2 model.keybed",
    )


def _fill_score(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.scoring.config import ScoreConfig

    add_options(parser, ScoreConfig)
    add_json(parser)
    add_paths(parser, corpus=False)
    parser.set_defaults(run=_score)


def _fill_pack(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.scoring.config import PackConfig

    add_options(parser, PackConfig)
    parser.set_defaults(run=_pack)


def _score(options: argparse.Namespace) -> Document | int:
    """Exit status 1 where a file could not be scored."""
    from keybed.experiments.data.json_codec import plain
    from keybed.experiments.scoring.config import DEFAULT_OUT, ScoreConfig
    from keybed.experiments.scoring.report import write_report
    from keybed.experiments.scoring.score import make_scorer, score_files
    from keybed.experiments.scoring.write import write_record
    from keybed.extract.progress import progress_bar

    config = config_from(ScoreConfig, options, {"paths": given_paths(options)})
    with progress_bar() as progress:
        scorer = make_scorer(config.model, config.store, config.paths, progress)
        results = score_files(
            config.files, scorer, audio=config.audio, hop_s=config.hop_s, progress=progress, notice=_notice
        )
        record = results.record
        out = config.out or (None if options.json else DEFAULT_OUT)
        written = []
        if out is not None and record.files:
            written = [*write_record(record, out), *write_report(results, out, progress)]
    for failed in record.failed:
        print(f"keybed: not scored: {failed.problem}", file=sys.stderr)
    _show(record, written, terminal(highlight=False))
    status = int(bool(record.failed))
    return Document(plain(record), status) if options.json else status


def _notice(line: str) -> None:
    print(f"keybed: {line}", file=sys.stderr)


def _show(record: ScoreRecord, written: list[Path], console: Console) -> None:
    """Everything on the terminal."""
    for file in record.files:
        _show_file(file, console)
    for comparison in record.comparisons:
        _show_comparison(comparison, console)
        few = 2 * max(comparison.passages_compared.values(), default=0) < len(comparison.passages)
        if comparison.compared and few and record.hop_s > record.model.window_s / 2:
            console.print(
                f"  with --hop {record.hop_s:g} few windows of both begin at the same notes; give --hop {record.model.window_s / 2:g} or less"
            )
    card = record.model
    total = len(record.files) + len(record.failed)
    console.print(
        f"{len(record.files)} of {counted(total, 'file')} scored in {record.seconds:.0f} s with {card.run} ({card.head}, "
        f"{counted(card.n_seeds, 'seed')}); intervals are meant to hold {card.coverage:.0%} of passages of new pieces"
    )
    if written:
        console.print(f"written: {', '.join(map(str, written))}")
        report = next(path for path in written if path.name == "report.html")
        console.print(f"next: open {report} in a browser", soft_wrap=True)
        if len(record.files) == 1:
            console.print("or give several recordings of one piece: they are compared passage by passage")


def _show_file(file: ScoredFile, console: Console) -> None:
    from rich.table import Table

    table = Table(
        title=f"{file.name}: {file.duration_s:.1f} s, {counted(len(file.windows), 'window')}", title_justify="left"
    )
    for name in ("dimension", "score", "interval", "judged", "why not"):
        table.add_column(name, justify="right" if name in ("score", "interval", "judged") else "left")
    for dimension, whole in file.whole.items():
        why = Counter(w.scores[dimension].reason for w in file.windows if w.scores[dimension].reason)
        listed = ", ".join(f"{reason} ({n})" for reason, n in why.most_common())
        shown = (
            ("not judged", "")
            if whole.score is None
            else (f"{whole.score:.1f}", f"{whole.lower:.1f}–{whole.upper:.1f}")
        )
        table.add_row(dimension.replace("_", " "), *shown, f"{whole.windows_judged}/{len(file.windows)}", listed)
    console.print(table)
    for remark in file.remarks:
        console.print(f"  {remark}")


def _compared_cells(comparison: Comparison, dimension: str) -> tuple[str, ...]:
    cell = comparison.compared.get(dimension)
    if cell is None:
        return "not judged", "", ""
    better = f"{comparison.passages_better[dimension]}/{comparison.passages_compared[dimension]}"
    return f"{cell.difference:+.1f}", f"{cell.lower:+.1f} to {cell.upper:+.1f}", better


def _show_comparison(comparison: Comparison, console: Console) -> None:
    from rich.table import Table

    if comparison.remark:
        console.print(comparison.remark)
        return
    table = Table(
        title=f"{comparison.other} less {comparison.first}: {counted(len(comparison.passages), 'passage')} in common",
        title_justify="left",
    )
    names = ("compared", "interval", "better in") if comparison.compared else ("difference", "passages")
    for name in ("dimension", *names):
        table.add_column(name, justify="left" if name == "dimension" else "right")
    for dimension, difference in comparison.difference.items():
        if comparison.compared:
            cells = _compared_cells(comparison, dimension)
        else:
            shown = "not judged" if difference is None else f"{difference:+.1f}"
            cells = (shown, str(comparison.passages_judged[dimension]))
        table.add_row(dimension.replace("_", " "), *cells)
    console.print(table)


def _pack(options: argparse.Namespace) -> None:
    from keybed.experiments.scoring.config import PackConfig
    from keybed.experiments.scoring.load import load_model
    from keybed.experiments.scoring.pack import write_pack
    from keybed.extract.progress import progress_bar

    config = config_from(PackConfig, options)
    with progress_bar() as progress:
        model = load_model(config.run_folder, config.store, progress)
    n_bytes = write_pack(config.out, model)
    console = terminal(highlight=False)
    console.print(f"{config.out}: {n_bytes / 1e6:.1f} MB; head {model.head} of {model.card.run}, calibrated")
    console.print(f"next: {command('score', 'FILE.mid', '--run', config.out)}")
