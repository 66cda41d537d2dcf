"""Claims: the right of one task to write a shard, taken, refreshed, checked and released.

The package filelock is not used: a claim must name its holder to other hosts, be taken over only after 10 minutes of
silence, and tell the old holder that it was taken over.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from keybed.store.disk.durable import canonical, disk_error, server_now
from keybed.store.disk.layer_files import dropped_names, still_there
from keybed.store.errors import AlreadyCommitted, ClaimLost, ClaimTrouble, EncoderDropped, ShardBusy
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.claim_files import STALE_AFTER_S, Holder, read_claim, read_holder
from keybed.store.write.task_failures import record_failure

REFRESH_S = 60.0
"""A held claim is refreshed this often."""


class Claim:
    """A held claim. `refresh` keeps it young; `check` raises ClaimLost once another task has taken it over.

    shard None: the claim to add and drop encoders.
    """

    def __init__(self, layout: Layout, shard: int | None, holder: Holder, handle: int) -> None:
        self.layout, self.shard, self.holder = layout, shard, holder
        self.path = layout.claim_of(shard)
        self.began = time.time()
        self._handle = handle
        self._over = threading.Event()

    def refresh(self) -> None:
        """Set the file's time to now, by its handle: a file that has replaced it is not touched. Raises ClaimLost."""
        self.check()
        os.utime(self._handle)

    def check(self) -> None:
        """Raises ClaimLost unless the claim on disk is still this one."""
        holder = read_holder(self.path)
        if self._over.is_set() or holder is None or holder.token != self.holder.token:
            new_holder = f"{holder} holds it now" if holder else "it is gone"
            raise ClaimLost(
                f"{_named(self.layout, self.shard)}: this task's claim was not refreshed for {STALE_AFTER_S / 60:.0f} minutes and was "
                f"taken over ({new_holder}); this task has published nothing of it"
            )

    def _keep_young(self, every_s: float) -> None:
        while not self._over.wait(every_s):
            try:
                self.refresh()
            except ClaimLost:
                return  # the working thread calls check() before it publishes anything
            except OSError as error:
                warnings.warn(f"claim on shard {self.shard}: {error}; trying again", ClaimTrouble, stacklevel=1)

    def _release(self) -> None:
        self._over.set()
        holder = read_holder(self.path)
        if holder is not None and holder.token == self.holder.token:
            self.path.unlink(missing_ok=True)
        os.close(self._handle)


@contextmanager
def claim(
    store: Store,
    shard: int,
    layer: str | None = None,
    *,
    refresh_s: float = REFRESH_S,
    stale_after_s: float = STALE_AFTER_S,
) -> Iterator[Claim]:
    """Hold the claim on one shard while the block runs; a thread refreshes it.

    layer: an added encoder; None: the rows and the encoders planned with them. Raises AlreadyCommitted, EncoderDropped, or
    ShardBusy where another process has a live claim (younger than stale_after_s, process not
    known to be dead). An error that leaves the block is logged in `logs/` for `keybed status`; an interruption is not.
    """
    shards = store.shards_of_layer(layer)
    layout = shards.layout
    shards.rows_of(shard)
    check_not_dropped(store, layer)
    with _refreshed(_acquire(layout, shard, stale_after_s), refresh_s) as held:
        try:
            check_not_dropped(store, layer)  # `drop` looks at claims after it has taken the record away
            if layout.commit_of(shard).exists():
                raise AlreadyCommitted(f"{shards.named(shard)} of {store.path} is committed already")
            yield held
        except (ClaimLost, AlreadyCommitted, EncoderDropped):
            raise
        except Exception as error:
            record_failure(layout, shard, error, str(held.holder))
            raise


@contextmanager
def claim_layers(layout: Layout, *, wait_s: float = 30.0, refresh_s: float = REFRESH_S) -> Iterator[Claim]:
    """Hold the claim to add and drop encoders; wait for another holder, then raise ShardBusy."""
    until = time.monotonic() + wait_s
    while True:
        try:
            held = _acquire(layout.of_layer(None), None, STALE_AFTER_S)
            break
        except ShardBusy:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    with _refreshed(held, refresh_s):
        yield held


def check_not_dropped(store: Store, layer: str | None) -> None:
    """Raise EncoderDropped where the encoders of this part of the store are not those that it was opened with."""
    if layer is not None:
        gone = [] if still_there(store.shards_of_layer(layer).layout, store.layers[layer]) else [layer]
    else:
        gone = sorted(dropped_names(Layout(store.path), store.planned_recipe) - store.dropped)
    if gone:
        raise EncoderDropped(f"{', '.join(gone)}: dropped from {store.path} meanwhile; run the same command again")


@contextmanager
def _refreshed(held: Claim, refresh_s: float) -> Iterator[Claim]:
    keeper = threading.Thread(target=held._keep_young, args=(refresh_s,), name=f"claim-{held.shard}", daemon=True)
    keeper.start()
    try:
        yield held
    finally:
        held._release()
        keeper.join()


@contextmanager
def claim_for_repair(store: Store, shard: int, layer: str | None = None) -> Iterator[Claim]:
    """Hold the claim on a shard, committed or not, while the block repairs it. Raises ShardBusy."""
    held = _acquire(store.shards_of_layer(layer).layout, shard, STALE_AFTER_S)
    try:
        yield held
    finally:
        held._release()


def _named(layout: Layout, shard: int | None) -> str:
    if shard is None:
        return f"the list of encoders of {layout.root}"
    return f"shard {shard}" if layout.layer is None else f"shard {shard} of layer {layout.layer}"


def _acquire(layout: Layout, shard: int | None, stale_after_s: float) -> Claim:
    for _ in range(8):
        held = _create(layout, shard)
        if held is not None:
            return held
        state = read_claim(layout, shard, server_now(layout.claims))
        if state is None:
            continue
        if state.is_live(stale_after_s):
            holder = state.holder if state.holder else "a task that is just starting"
            refreshed = f"last refreshed {state.silent_s:.0f} s ago"
            if state.ahead_s > REFRESH_S:
                _date_now(layout.claim_of(shard))
                refreshed = f"its claim was dated {state.ahead_s:.0f} s in the future, and is dated now from here on"
            made = "made" if shard is not None else "changed"
            raise ShardBusy(
                f"{_named(layout, shard)} is being {made} by {holder} ({refreshed}); a claim that is not refreshed for "
                f"{stale_after_s / 60:.0f} minutes may be taken over"
            )
        _remove_old(layout.claim_of(shard), state.holder)
    raise ShardBusy(f"{_named(layout, shard)}: several tasks are taking over its old claim at this moment; run again")


def _date_now(path: Path) -> None:
    """Date a claim from the future now, so that it lives for one lease unless its holder refreshes it.

    A clock that was set back, or a restored backup, makes such claims; by its date alone one would block its shard until
    that time comes.
    """
    with suppress(FileNotFoundError, PermissionError):
        os.utime(path)


def _create(layout: Layout, shard: int | None) -> Claim | None:
    """Create the claim file; None where one exists."""
    path = layout.claim_of(shard)
    holder = Holder.of_this_process(-1 if shard is None else shard)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # a copy of a finished store may lack empty folders
        layout.logs.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o664)
    except FileExistsError:
        return None
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        os.write(handle, canonical(asdict(holder)))
        os.fsync(handle)
    except OSError as error:
        os.close(handle)
        path.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    return Claim(layout, shard, holder, handle)


def _remove_old(path: Path, old: Holder | None) -> None:
    """Rename an old claim aside and delete it; of several takers one succeeds. A newer claim is put back."""
    aside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}.stale")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    moved = read_holder(aside)
    if moved is not None and (old is None or moved.token != old.token):
        # A third task took the claim over, or a repair removed it, in between. If putting it back fails because the
        # name is taken again, the holder of the moved claim gets ClaimLost from check().
        with suppress(FileExistsError, FileNotFoundError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)
