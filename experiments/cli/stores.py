"""status, verify, info, derive: what is in a store, whether it is whole, and views made from it."""

from __future__ import annotations

import argparse
from typing import Any

from keybed.experiments.cli.arguments import add_places, add_store, given_places, names, positive, whole


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    status = subcommands.add_parser("status", help="done, running, missing and failed shards; speed and time left")
    add_store(status)
    status.add_argument("--watch", action="store_true", help="stay and show it live")
    status.set_defaults(run=_status)

    verify = subcommands.add_parser("verify", help="read every shard against its commit; say what to redo")
    add_store(verify)
    verify.add_argument(
        "--repair", action="store_true", help="un-commit bad shards and remove leftovers of killed tasks"
    )
    verify.add_argument("--recompute", metavar="N", type=positive, help="make N rows again and report the differences")
    verify.add_argument("--tasks", metavar="K", type=positive, help="number of tasks of the array that redoes them")
    verify.add_argument("--script", default="slurm/extract.sbatch", help="the batch file of that array")
    verify.add_argument("--seed", type=int, default=0, help="which rows --recompute takes")
    add_places(verify)
    verify.set_defaults(run=_verify)

    info = subcommands.add_parser("info", help="what a store holds: recipe, sizes, parameters, failures")
    add_store(info)
    info.add_argument("--json", action="store_true", help="the whole recipe as JSON")
    info.set_defaults(run=_info)

    derive = subcommands.add_parser("derive", help="make train mean and sd, PCA, int8 and pooled views of the features")
    add_store(derive)
    derive.add_argument("--features", type=names, help="array paths (default: every encoder's frames)")
    derive.add_argument("--pca", metavar="K", type=whole, default=128, help="components; 0: none (128)")
    derive.add_argument("--no-int8", action="store_true", help="leave the int8 views out")
    derive.add_argument("--no-pooled", action="store_true", help="leave out the pooled views, one vector per row")
    derive.add_argument("--scheduler", metavar="ADDRESS", help="an existing Dask cluster (default: local threads)")
    derive.set_defaults(run=_derive)


def _status(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.cli.status_view import render, watch
    from keybed.store.check.status import status
    from keybed.store.read.store import open_store

    store = open_store(options.store)
    if options.watch:
        watch(store)
    else:
        Console(soft_wrap=True, highlight=False).print(render(status(store)))


def _verify(options: argparse.Namespace) -> int:
    from keybed.experiments.cli.verify_view import verify_lines
    from keybed.extract.progress import progress_bar
    from keybed.store.check.verify import VerifyConfig, verify
    from keybed.store.read.store import open_store

    config = VerifyConfig(
        store=options.store,
        repair=options.repair,
        recompute_rows=options.recompute or 0,
        tasks=options.tasks,
        script=options.script,
        seed=options.seed,
    )
    recompute = None
    if config.recompute_rows:
        from keybed.extract.run.recompute import recomputer

        recompute = recomputer(open_store(options.store, even_if_damaged=True), given_places(options))
    this_machine = None if recompute is None else recompute.machine
    with progress_bar() as progress:
        report = verify(config, recompute, lambda done, of: progress("shards read", done, of), this_machine)
    print("\n".join(verify_lines(report)))
    return 0 if report.sound else 1


def _info(options: argparse.Namespace) -> None:
    import json

    from rich.console import Console

    from keybed.experiments.cli.store_info import describe_store
    from keybed.store.read.store import open_store

    store = open_store(options.store)
    if options.json:
        print(json.dumps(store.recipe.to_json(), indent=1, ensure_ascii=False))
    else:
        describe_store(store, Console(soft_wrap=True, highlight=False))


def _derive(options: argparse.Namespace) -> None:
    from keybed.experiments.cli.derive_view import derive_lines
    from keybed.extract.progress import progress_bar
    from keybed.store.derive.derive import DeriveConfig, derive

    config = DeriveConfig(
        store=options.store,
        features=options.features,
        pca=options.pca,
        int8=not options.no_int8,
        pooled=not options.no_pooled,
        scheduler=options.scheduler,
    )
    with progress_bar() as progress:
        report = derive(config, progress)
    print("\n".join(derive_lines(report)))
