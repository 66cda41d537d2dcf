"""`keybed plan`, `extend`, `expect`, `extract`, `sensitivity`, `export`: from a MAESTRO folder to a filled store, and out again."""

from __future__ import annotations

import argparse
from typing import Any

from keybed.experiments.cli.arguments import add_paths, given_paths, rate
from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.flags import add_options, config_from


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    add_command(
        subcommands,
        "plan",
        "read MAESTRO or your own music, decide every row and make the empty store",
        _fill_plan,
        example="plan MAESTRO_DIR STORE --limit 60",
    )
    add_command(
        subcommands,
        "extend",
        "add encoders to a planned or filled store; then keybed extract",
        _fill_extend,
        example="extend STORE --encoders muq",
    )
    add_command(
        subcommands,
        "expect",
        "fit models of undegraded playing, for the encoder expected; needs a planned store, not a filled one",
        _fill_expect,
        example="expect STORE --out expected.npz",
    )
    add_command(
        subcommands,
        "join",
        "make one store of several that differ in their corpus alone",
        _fill_join,
        example="join STORE_A STORE_B --out C",
    )
    add_command(
        subcommands,
        "extract",
        "fill shards of a store: degrade, render, encode, commit",
        _fill_extract,
        example="extract STORE --workers 2",
    )
    add_command(
        subcommands,
        "sensitivity",
        "report which encoder, state (layer) and pooling shows which mistake; needs a planned store, not a filled one",
        _fill_sensitivity,
        example="sensitivity STORE --out RUN/sensitivity",
    )
    add_command(
        subcommands,
        "export",
        "write degraded MIDI, audio and labels into one reproducible archive",
        _fill_export,
        example="export STORE corpus.tar.gz --limit 10",
    )


def _fill_plan(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.config import PlanConfig

    add_options(parser, PlanConfig)
    _add_weights(parser)
    parser.add_argument("--dry-run", action="store_true", help="count and estimate, write nothing")
    parser.set_defaults(run=_plan)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    """Add where the encoders' weights come from, and the rates of the estimate."""
    from keybed.extract.config import WEIGHTS

    parser.add_argument(
        "--weights", choices=("random",), help="seeded random weights for every encoder that has no weights named"
    )
    for name, flags in WEIGHTS.items():
        parser.add_argument(f"--{name}-weights", metavar=flags.metavar, help=flags.help)
        if flags.on_hub:
            parser.add_argument(f"--{name}-revision", help="commit of the Hugging Face repository")
    parser.add_argument(
        "--rate",
        type=rate,
        action="append",
        default=[],
        metavar="NAME=ROWS",
        help="rows per second that you measured, for the estimate: render=14, mert=0.4 (per core), gpu:mert=900",
    )


def _weights_of(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that `_add_weights` fills."""
    from keybed.extract.config import WEIGHTS

    weights = {name: getattr(options, f"{name}_weights") or options.weights for name in WEIGHTS}
    revisions = {name: getattr(options, f"{name}_revision") for name, flags in WEIGHTS.items() if flags.on_hub}
    return {
        "weights": {name: path for name, path in weights.items() if path},
        "revisions": {name: revision for name, revision in revisions.items() if revision},
        "rates": dict(options.rate),
    }


def _plan(options: argparse.Namespace) -> int:
    from keybed.extract.config import PlanConfig
    from keybed.extract.planning.plan import dry_run, plan
    from keybed.extract.progress import progress_bar

    config = config_from(PlanConfig, options, _weights_of(options))
    with progress_bar() as progress:
        report = dry_run(config, progress) if options.dry_run else plan(config, progress)
    console = terminal(highlight=False)
    for line in report.lines():
        console.print(line)
    return 0


def _fill_extend(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.config import ExtendConfig

    add_options(parser, ExtendConfig)
    _add_weights(parser)
    parser.set_defaults(run=_extend)


def _extend(options: argparse.Namespace) -> int:
    from keybed.extract.config import ExtendConfig
    from keybed.extract.run.extend import extend

    report = extend(config_from(ExtendConfig, options, _weights_of(options)))
    console = terminal(highlight=False)
    for line in report.lines():
        console.print(line)
    return 0


def _fill_expect(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.config import ExpectConfig

    add_options(parser, ExpectConfig)
    parser.set_defaults(run=_expect)


def _expect(options: argparse.Namespace) -> None:
    from keybed.extract.config import ExpectConfig
    from keybed.extract.progress import progress_bar
    from keybed.extract.run.expect import expect

    with progress_bar() as progress:
        report = expect(config_from(ExpectConfig, options), progress)
    console = terminal(highlight=False)
    for line in report.lines():
        console.print(line)


def _fill_join(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.config import JoinConfig

    add_options(parser, JoinConfig)
    parser.set_defaults(run=_join)


def _join(options: argparse.Namespace) -> None:
    from keybed.extract.config import JoinConfig
    from keybed.extract.planning.join import join
    from keybed.extract.progress import progress_bar

    with progress_bar() as progress:
        report = join(config_from(JoinConfig, options), progress)
    console = terminal(highlight=False)
    for line in report.lines():
        console.print(line)


def _fill_extract(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.config import ExtractConfig

    add_options(parser, ExtractConfig)
    add_paths(parser)
    parser.set_defaults(run=_extract)


def _extract(options: argparse.Namespace) -> int:
    from keybed.extract.config import ExtractConfig
    from keybed.extract.progress import progress_bar
    from keybed.extract.run.task import extract

    config = config_from(ExtractConfig, options, {"paths": given_paths(options)})
    with progress_bar() as progress:
        report = extract(config, progress)
    print("\n".join(report.lines()))
    return 0 if report.stopped_by is None else 128 + report.stopped_by


def _fill_sensitivity(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.sensitivity.config import SensitivityConfig

    add_options(parser, SensitivityConfig)
    parser.set_defaults(run=_sensitivity)


def _sensitivity(options: argparse.Namespace) -> None:
    from keybed.experiments.sensitivity.config import SensitivityConfig
    from keybed.experiments.sensitivity.run import run_sensitivity

    run_sensitivity(config_from(SensitivityConfig, options), terminal())


def _fill_export(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.config import ExportConfig

    add_options(parser, ExportConfig)
    add_paths(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from keybed.extract.config import ExportConfig
    from keybed.extract.export.archive import export
    from keybed.extract.progress import progress_bar

    with progress_bar() as progress:
        report = export(config_from(ExportConfig, options, {"paths": given_paths(options)}), progress)
    print("\n".join(report.lines()))
