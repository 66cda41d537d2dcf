"""`keybed derive`: train-split moments, principal components, int8 and pooled views, made by Dask, one task per shard."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from keybed.store.derive.derivations import Derivation, Gather
from keybed.store.derive.pooled import pooled_step
from keybed.store.errors import NoSuchFeature
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import EncoderSpec
from keybed.store.option import Option
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

_KINDS = ("layers", "frames")
Progress = Callable[[str, int, int], None]
"""Called with (description, tasks done, tasks in all)."""


@dataclass(frozen=True)
class DeriveConfig:
    """Settings of `keybed derive`."""

    store: Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
    features: Annotated[
        tuple[str, ...] | None, Option("paths of `frames` or `layers` arrays; without it every encoder's frames")
    ] = None
    pca: Annotated[int, Option("principal components of every bin of frames; 0: none", metavar="K", least=0)] = 128
    int8: Annotated[bool, Option("make no int8 views")] = True
    pooled: Annotated[bool, Option("make no pooled views (one vector per row and statistic from `layers`)")] = True
    scheduler: Annotated[
        str | None, Option("address of a running Dask cluster; without it threads of this process", metavar="ADDRESS")
    ] = None
    threads: Annotated[int, Option("threads, each with one shard in float32; 0: one per core, at most 8", least=0)] = 0


@dataclass(frozen=True)
class DeriveReport:
    """made: paths made now; kept: paths that were fresh already. variance_kept: PCA path → share of the variance.

    bytes: path → bytes on disk, of every derived array with one entry per row and of the arrays they were made from.
    """

    store: Path
    made: tuple[str, ...]
    kept: tuple[str, ...]
    variance_kept: dict[str, float]
    bytes: dict[str, int]


def derive(config: DeriveConfig, progress: Progress = lambda what, done, of: None) -> DeriveReport:
    """Make derived arrays that are missing or stale. Raises Incomplete unless every shard is committed, NoSuchFeature."""
    store = open_store(config.store)
    made: list[str] = []
    kept: list[str] = []

    def do(work: Derivation, targets: list[str], make: Callable[[], None]) -> None:
        if all(work.fresh(target) for target in targets):
            kept.extend(targets)
        else:
            make()
            made.extend(targets)

    with _dask(config, progress) as gather:
        for encoder, kind in _wanted(store, config.features):
            work = Derivation(store, encoder, kind, gather, k=config.pca, int8=config.int8)
            for targets, make in work.steps():
                do(work, targets, make)
        for encoder in _to_pool(store, config):
            work = Derivation(store, encoder, "layers", gather, k=0, int8=False)
            do(work, *pooled_step(work))
    return _report(open_store(config.store), tuple(made), tuple(kept))


def _wanted(store: Store, features: Sequence[str] | None) -> list[tuple[EncoderSpec, str]]:
    known = {f"{encoder.group}/{kind}": (encoder, kind) for encoder in store.recipe.encoders for kind in _KINDS}
    chosen = [path for path in known if path.endswith("/frames")] if features is None else features
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise NoSuchFeature(f"nothing can be derived from {', '.join(unknown)}; derive from {', '.join(known)}")
    return [known[path] for path in chosen]


def _to_pool(store: Store, config: DeriveConfig) -> list[EncoderSpec]:
    features = config.features
    encoders = [e for e in store.recipe.encoders if features is None or f"{e.group}/layers" in features]
    return encoders if config.pooled else []


def _report(store: Store, made: tuple[str, ...], kept: tuple[str, ...]) -> DeriveReport:
    layout = Layout(store.path)
    by_row = [path for path in store.features if path in {*made, *kept}]
    sources = dict.fromkeys(store.reader.attributes(path)["sources"][0] for path in by_row)
    sizes = {path: sum(f.stat().st_size for f in layout.array(path).glob("c.*")) for path in (*sources, *by_row)}
    variance = {
        path: attributes["variance_kept"]
        for path in by_row
        if "variance_kept" in (attributes := store.reader.attributes(path))
    }
    return DeriveReport(store.path, made, kept, variance, sizes)


@contextmanager
def _dask(config: DeriveConfig, progress: Progress) -> Iterator[Gather]:
    """Gather on threads of this process, or on the Dask cluster of `config.scheduler`."""
    import dask

    def counting(what: str, of: int) -> Callable[[Any], None]:
        done, lock = 0, threading.Lock()

        def count(_: Any) -> None:
            nonlocal done
            with lock:
                done += 1
                progress(what, done, of)

        return count

    def on_threads(what: str, tasks: Sequence[partial[Any]]) -> list[Any]:
        count = counting(what, len(tasks))

        def run(task: partial[Any]) -> Any:
            result = task()
            count(result)
            return result

        threads = config.threads or min(8, os.cpu_count() or 1)
        delayed = [dask.delayed(run, pure=False)(task) for task in tasks]
        return list(dask.compute(*delayed, scheduler="threads", num_workers=threads))

    if config.scheduler is None:
        yield on_threads
        return
    from distributed import Client

    with Client(config.scheduler) as client:

        def on_cluster(what: str, tasks: Sequence[partial[Any]]) -> list[Any]:
            count = counting(what, len(tasks))
            futures = [client.submit(task, pure=False) for task in tasks]
            for future in futures:
                future.add_done_callback(count)
            return list(client.gather(futures))

        yield on_cluster
