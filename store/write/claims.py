"""A task's hold on a shard: one file, made with O_EXCL, kept young, taken over when it has grown old."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from keybed.store.disk.durable import canonical, disk_error, server_now
from keybed.store.errors import AlreadyCommitted, ClaimLost, ClaimTrouble, ShardBusy
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.task_failures import record_failure

REFRESH_S = 60.0
STALE_AFTER_S = 600.0


@dataclass(frozen=True)
class Holder:
    """Who made a claim. boot, namespace and started tell a dead process from one that only has the same number."""

    shard: int
    token: str
    host: str
    pid: int
    boot: str
    namespace: str
    started: str
    time: str

    def surely_dead(self) -> bool:
        """True only where this very kernel says that the process is gone; another host's holder is never sure."""
        if (self.boot, self.namespace) != _kernel() or not self.boot:
            return False
        return _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.time}"


def read_holder(path: Path) -> Holder | None:
    """The holder that a claim file names; None where there is no file, or one cut short by a crash."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


class Claim:
    """A held claim. `refresh` keeps it young, `check` raises ClaimLost once another task has taken it over."""

    def __init__(self, layout: Layout, shard: int, holder: Holder, handle: int) -> None:
        self.layout, self.shard, self.holder = layout, shard, holder
        self.path = layout.claim_of(shard)
        self.began = time.time()
        self._handle = handle
        self._over = threading.Event()

    def refresh(self) -> None:
        """Touch our own file. By its handle, so that a file which replaced it is never touched."""
        self.check()
        os.utime(self._handle)

    def check(self) -> None:
        """Raises ClaimLost unless the claim on disk is still this one."""
        holder = read_holder(self.path)
        if self._over.is_set() or holder is None or holder.token != self.holder.token:
            taker = f"{holder} holds it now" if holder else "it is gone"
            raise ClaimLost(
                f"shard {self.shard}: this task's claim was not refreshed for {STALE_AFTER_S / 60:.0f} minutes and was "
                f"taken over ({taker}); nothing of this shard was published by this task"
            )

    def _keep_young(self, every_s: float) -> None:
        while not self._over.wait(every_s):
            try:
                self.refresh()
            except ClaimLost:
                return  # check() tells the working thread, before anything is published
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
    store: Store, shard: int, *, refresh_s: float = REFRESH_S, stale_after_s: float = STALE_AFTER_S
) -> Iterator[Claim]:
    """Hold one shard while the block runs.

    Raises AlreadyCommitted, or ShardBusy where a claim younger than stale_after_s exists whose process is not known to
    be dead. An error that leaves the block is written to `logs/` for `keybed status`; an interruption is not.
    """
    layout = Layout(store.path)
    store.shard_range(shard)
    held = _acquire(layout, shard, stale_after_s)
    keeper = threading.Thread(target=held._keep_young, args=(refresh_s,), name=f"claim-{shard}", daemon=True)
    keeper.start()
    try:
        if layout.commit_of(shard).exists():
            raise AlreadyCommitted(f"shard {shard} of {store.path} is committed already")
        yield held
    except (ClaimLost, AlreadyCommitted):
        raise
    except Exception as error:
        record_failure(layout, shard, error, str(held.holder))
        raise
    finally:
        held._release()
        keeper.join()


@contextmanager
def claim_for_repair(store: Store, shard: int) -> Iterator[Claim]:
    """Keep all tasks off a shard, committed or not, for the moments that mending it takes. Raises ShardBusy."""
    held = _acquire(Layout(store.path), shard, STALE_AFTER_S)
    try:
        yield held
    finally:
        held._release()


def _acquire(layout: Layout, shard: int, stale_after_s: float) -> Claim:
    path = layout.claim_of(shard)
    for _ in range(8):
        made = _make(layout, shard)
        if made is not None:
            return made
        seen = read_holder(path)
        try:
            age_s = server_now(layout.claims) - path.stat().st_mtime
        except FileNotFoundError:
            continue
        if age_s <= stale_after_s and not (seen and seen.surely_dead()):
            who = seen if seen else "a task that is just starting"
            raise ShardBusy(
                f"shard {shard} is being made by {who} (sign of life {max(age_s, 0):.0f} s ago); a claim silent for "
                f"{stale_after_s / 60:.0f} minutes may be taken over"
            )
        _move_away(path, seen)
    raise ShardBusy(f"shard {shard}: several tasks are after its old claim at this moment; run again")


def _make(layout: Layout, shard: int) -> Claim | None:
    path = layout.claim_of(shard)
    token = uuid.uuid4().hex
    boot, namespace = _kernel()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder = Holder(shard, token, socket.gethostname(), os.getpid(), boot, namespace, _started(os.getpid()), now)
    try:
        path.parent.mkdir(exist_ok=True)  # a copy of a finished store may lack empty folders
        layout.logs.mkdir(exist_ok=True)
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


def _move_away(path: Path, seen: Holder | None) -> None:
    """Rename an old claim aside; of several takers one succeeds. A fresh claim caught by mistake is put back."""
    aside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}.stale")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    moved = read_holder(aside)
    if moved is not None and (seen is None or moved.token != seen.token):
        # A third task was faster, or a repair swept it: the one put aside learns of it from check().
        with suppress(FileExistsError, FileNotFoundError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)


def _kernel() -> tuple[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    if not boot.exists() or not namespace.exists():
        return "", ""
    return boot.read_text().strip(), str(namespace.readlink())


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot, "" for one that does not exist or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
