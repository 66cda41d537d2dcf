"""`keybed status`, `verify`, `info`, `derive`, `drop`: what a store holds, whether it is whole, and views made from it."""

from __future__ import annotations

import argparse
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from keybed.experiments.cli.arguments import add_paths, given_paths
from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.flags import add_options, config_from
from keybed.experiments.cli.output import Document, add_json
from keybed.store.command import command
from keybed.store.errors import KeybedError


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    add_command(
        subcommands,
        "status",
        "show done, running, missing and failed shards, speed and time left",
        _fill_status,
        example="status STORE --watch",
        prints=True,
    )
    add_command(
        subcommands,
        "verify",
        "compare every shard with its commit and list the shards to make again",
        _fill_verify,
        example="verify STORE --recompute 8",
        prints=True,
    )
    add_command(
        subcommands,
        "info",
        "show what a store holds: recipe, sizes, parameters, failures",
        _fill_info,
        example="info STORE",
        prints=True,
    )
    add_command(
        subcommands,
        "drop",
        "remove an encoder's features; rows and other encoders stay as they are",
        _fill_drop,
        example="drop STORE --encoder muq",
    )
    add_command(
        subcommands,
        "derive",
        "make train mean and sd, PCA, int8 and pooled views of the features",
        _fill_derive,
        example="derive STORE --pca 128",
    )


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", type=Path, help="folder of the store")


def _fill_status(parser: argparse.ArgumentParser) -> None:
    _add_store(parser)
    parser.add_argument("--watch", action="store_true", help="stay and refresh until stopped")
    add_json(parser)
    parser.set_defaults(run=_status)


def _fill_verify(parser: argparse.ArgumentParser) -> None:
    from keybed.store.check.verify import VerifyConfig

    add_options(parser, VerifyConfig)
    add_paths(parser)
    add_json(parser)
    parser.set_defaults(run=_verify)


def _fill_info(parser: argparse.ArgumentParser) -> None:
    _add_store(parser)
    add_json(parser)
    parser.set_defaults(run=_info)


def _fill_derive(parser: argparse.ArgumentParser) -> None:
    from keybed.store.derive.derive import DeriveConfig

    add_options(parser, DeriveConfig)
    parser.set_defaults(run=_derive)


def _fill_drop(parser: argparse.ArgumentParser) -> None:
    _add_store(parser)
    parser.add_argument("--encoder", required=True, metavar="NAME", help="the encoder, as `keybed info` lists it")
    parser.set_defaults(run=_drop)


def _drop(options: argparse.Namespace) -> None:
    from keybed.store.counted import counted
    from keybed.store.write.layers import drop_encoder

    dropped = drop_encoder(options.store, options.encoder)
    size = f"{dropped.n_bytes / 1e6:,.1f} MB in {counted(dropped.n_files, 'file')}"
    print(f"dropped {dropped.name} from {options.store}: {size} removed; next: {command('info', options.store)}")


def _status(options: argparse.Namespace) -> Document | None:
    from keybed.experiments.cli.status_view import render, watch
    from keybed.store.check.status import status
    from keybed.store.read.opening import open_store

    store = open_store(options.store)
    if options.json:
        from keybed.experiments.cli.store_documents import status_document

        if options.watch:
            raise KeybedError("--json prints one document, and --watch goes on printing: leave one of them out")
        return Document(status_document(status(store)))
    if options.watch:
        with suppress(KeyboardInterrupt):  # the way to end it
            watch(store)
    else:
        terminal(highlight=False).print(render(status(store)))
    return None


def _verify(options: argparse.Namespace) -> Document | int:
    from keybed.experiments.cli.verify_view import verify_lines
    from keybed.extract.progress import progress_bar, silent
    from keybed.store.check.verify import VerifyConfig, verify
    from keybed.store.read.opening import open_store

    config = config_from(VerifyConfig, options)
    recompute = None
    if config.recompute_rows:
        from keybed.extract.run.recompute import recomputer

        recompute = recomputer(open_store(options.store, even_if_damaged=True), given_paths(options))
    this_machine = None if recompute is None else recompute.machine
    with nullcontext(silent) if options.quiet else progress_bar() as progress:
        report = verify(config, recompute, lambda done, of: progress("shards read", done, of), this_machine)
    status = 0 if report.sound else 1
    if options.json:
        from keybed.experiments.cli.store_documents import verify_document

        return Document(verify_document(report), status)
    if not (options.quiet and report.sound):
        print("\n".join(verify_lines(report)))
    return status


def _info(options: argparse.Namespace) -> Document | None:
    from keybed.experiments.cli.store_documents import info_document
    from keybed.experiments.cli.store_info import describe_store
    from keybed.store.read.opening import open_store

    store = open_store(options.store)
    if options.json:
        return Document(info_document(store))
    describe_store(store, terminal(highlight=False))
    return None


def _derive(options: argparse.Namespace) -> None:
    from keybed.experiments.cli.derive_view import derive_lines
    from keybed.extract.progress import progress_bar
    from keybed.store.derive.derive import DeriveConfig, derive

    with progress_bar() as progress:
        report = derive(config_from(DeriveConfig, options), progress)
    print("\n".join(derive_lines(report)))
