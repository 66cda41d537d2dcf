"""Claim files: which process holds a shard, and whether that claim is live.

A claim is the file `claims/SHARD.json`, created with O_EXCL, so that one process succeeds. Its holder refreshes the
file's modification time every minute. A claim is live while it is younger than 10 minutes and its process is not known to
be dead.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from keybed.store.disk.json_files import read_json_object
from keybed.store.format.layout import Layout

STALE_AFTER_S = 600.0
"""A claim that was not refreshed for longer may be taken over."""


@dataclass(frozen=True)
class Holder:
    """The process that made a claim.

    boot: the kernel's boot id; namespace: of process ids; started: the process's start time in clock ticks. Together they
    tell a dead process from a later one with the same number.
    """

    shard: int
    token: str
    host: str
    pid: int
    boot: str
    namespace: str
    started: str
    time: str

    @staticmethod
    def of_this_process(shard: int) -> Holder:
        """The calling process as the holder of a shard, with a fresh token."""
        boot, namespace = _kernel()
        return Holder(
            shard=shard,
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            pid=os.getpid(),
            boot=boot,
            namespace=namespace,
            started=_started(os.getpid()),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def surely_dead(self) -> bool:
        """True where this kernel started the process and it has ended; never true for a process of another host."""
        if (self.boot, self.namespace) != _kernel() or not self.boot:
            return False
        return _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.time}"


@dataclass(frozen=True)
class ClaimState:
    """One claim file. holder: None where a crash cut the file short. silent_s: seconds since the last refresh.

    ahead_s: seconds by which the file's time lies after the file server's clock, as after a restored backup; else 0.
    """

    shard: int
    holder: Holder | None
    silent_s: float
    ahead_s: float = 0.0

    def is_live(self, stale_after_s: float = STALE_AFTER_S) -> bool:
        """False for a claim that is older than stale_after_s, or whose process is known to be dead."""
        return self.silent_s <= stale_after_s and not (self.holder and self.holder.surely_dead())


def read_holder(path: Path) -> Holder | None:
    """The holder named in a claim file; None where there is no file, or one that a crash cut short."""
    try:
        entry = read_json_object(path)
        texts = ("token", "host", "boot", "namespace", "started", "time")
        if any(type(entry[key]) is not int for key in ("shard", "pid")) or any(
            type(entry[key]) is not str for key in texts
        ):
            return None
        return Holder(**entry)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_claim(layout: Layout, shard: int | None, now: float) -> ClaimState | None:
    """The claim on one shard, or None where there is none. now: seconds since the epoch on the file server's clock.

    shard None: the claim to add and drop encoders, whose state has the shard −1.
    """
    path = layout.claim_of(shard)
    holder = read_holder(path)
    try:
        silent_s = now - path.stat().st_mtime
        return ClaimState(-1 if shard is None else shard, holder, max(0.0, silent_s), max(0.0, -silent_s))
    except FileNotFoundError:
        return None


def claimed_shards(layout: Layout) -> list[int]:
    """Shards with a claim file, live or not, ascending."""
    return sorted(int(path.stem) for path in layout.claims.glob("*.json") if path.stem.isdecimal())


def live_claims(layout: Layout, now: float) -> list[ClaimState]:
    """All live claims, by shard."""
    states = (read_claim(layout, shard, now) for shard in claimed_shards(layout))
    return [state for state in states if state is not None and state.is_live()]


def _kernel() -> tuple[str, str]:
    """Boot id and process namespace of this kernel; empty strings where it tells neither."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    if not boot.exists() or not namespace.exists():
        return "", ""
    return boot.read_text().strip(), str(namespace.readlink())


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot; "" for one that does not exist or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
