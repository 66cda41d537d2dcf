"""A folder on this machine with those files of a remote store that were asked for: whole, compared with their checksums, bounded.

The folder has the layout of a store, so everything that reads and checks a local store reads it too. A file is fetched when
it is first needed. Files of arrays that were not used for longest are removed when all mirrors together exceed the bound.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keybed.store.disk.planned_files import inside
from keybed.store.errors import ShardDamaged
from keybed.store.remote.address import Remote, RemoteUnreachable

TRIES = 4
FIRST_WAIT_S = 0.5
AT_ONCE = 16
"""Small files that are fetched at a time."""
IN_USE_S = 600.0
"""A file used within this time is not removed, although the bound is exceeded."""
BOUND_GIB = 50.0
BOUND_VARIABLE, FOLDER_VARIABLE = "KEYBED_REMOTE_GIB", "KEYBED_REMOTE_CACHE"


def cache_folder() -> Path:
    """Folder of all mirrors: KEYBED_REMOTE_CACHE, else `keybed/remote` in the user's cache folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keybed" / "remote"


def bound_bytes() -> int:
    """How many bytes of arrays all mirrors may hold: KEYBED_REMOTE_GIB, else 50 GiB. Raises RemoteUnreachable for no number."""
    text = os.environ.get(BOUND_VARIABLE, "")
    try:
        gib = float(text) if text else BOUND_GIB
        if not gib > 0:
            raise ValueError
    except ValueError as error:
        raise RemoteUnreachable(f"{BOUND_VARIABLE}={text}: give a number of GiB above 0") from error
    return int(gib * 2**30)


class Mirror:
    """The mirror of one remote store at `root`. Safe to use from several threads and processes."""

    def __init__(self, remote: Remote) -> None:
        """Raises RemoteUnreachable where the remote gives no listing although it should."""
        self.remote = remote
        self.listing = remote.listing()
        key = hashlib.sha256(f"{remote.address.url} {remote.revision}".encode()).hexdigest()[:16]
        self.root = cache_folder() / key
        self.fixed = remote.address.scheme == "hf"
        """True where files never change: a commit of a Hugging Face repository."""
        self._bound = bound_bytes()
        self._lock = threading.Lock()
        self._held: int | None = None

    @property
    def url(self) -> str:
        """The remote store's URL."""
        return self.remote.address.url

    def has(self, name: str) -> bool:
        """Whether the remote has a file; asked for with a listing, otherwise by fetching the file."""
        if self.listing is not None:
            return name in self.listing
        try:
            self.fetch(name)
        except FileNotFoundError:
            return False
        return True

    def fetch_all(self, names: list[str]) -> None:
        """Fetch small files, several at a time. Raises FileNotFoundError, RemoteUnreachable."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as workers:
            list(workers.map(self.fetch, names))

    def fetch(self, name: str) -> Path:
        """Fetch one file, whatever the mirror holds of it, and return its path. Raises FileNotFoundError, RemoteUnreachable."""
        return self._fetch(name, None)

    def bring(self, name: str, expected: tuple[int, str] | None) -> None:
        """Fetch a file that the mirror does not hold yet.

        expected: its size in bytes and its sha256. Raises ShardDamaged where the remote has other bytes, after another try,
        or no such file; RemoteUnreachable.
        """
        file = self.root / name
        try:
            if expected is None or file.stat().st_size == expected[0]:
                os.utime(file)
                return
        except OSError:
            pass
        try:
            self._fetch(name, expected)
        except FileNotFoundError as error:
            raise ShardDamaged(
                f"{self.url}/{name} is missing; publish it again from a good copy of the store"
            ) from error
        self._make_room(name)

    def _fetch(self, name: str, expected: tuple[int, str] | None) -> Path:
        if not inside(name):
            raise ShardDamaged(f"{self.url}: {name[:80]!r} is no path within a store")
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
        problem = ""
        try:
            for attempt in range(TRIES):
                if attempt:
                    time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
                try:
                    found = self._download(name, partial)
                except ConnectionError as error:
                    problem = str(error)
                    continue
                if expected is None or found == expected:
                    partial.replace(file)
                    return file
                problem = f"it has {found[0]:,} bytes, {expected[0]:,} were committed"
                if found[0] == expected[0]:
                    problem = "its sha256 is not the one that was committed"
        finally:
            partial.unlink(missing_ok=True)
        if "committed" in problem:
            raise ShardDamaged(
                f"{self.url}/{name} is damaged, read {TRIES} times: {problem}; publish it again from a good copy of the store"
            )
        raise RemoteUnreachable(
            f"{self.url}/{name} cannot be read, after {TRIES} tries ({problem}); check the connection, then run the same again"
        )

    def _download(self, name: str, into: Path) -> tuple[int, str]:
        """Bytes and sha256 of what was written. Raises FileNotFoundError, ConnectionError, RemoteUnreachable."""
        digest, n_bytes = hashlib.sha256(), 0
        with into.open("wb") as file:
            for part in self.remote.chunks(name):
                digest.update(part)
                n_bytes += len(part)
                file.write(part)
        return n_bytes, digest.hexdigest()

    def drop(self, names: list[str]) -> None:
        """Forget files that are not those of the remote store any more."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything: another store lies at the URL now."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _make_room(self, name: str) -> None:
        """Remove the files of arrays that were unused for longest, of all mirrors, until they fit the bound."""
        with self._lock:
            if self._held is not None:
                self._held += (self.root / name).stat().st_size
                if self._held <= self._bound:
                    return
            files = []
            for file in cache_folder().glob("*/features.zarr/**/c.*"):
                try:
                    facts = file.stat()
                except FileNotFoundError:  # another process removed it
                    continue
                files.append((facts.st_mtime, facts.st_size, file))
            self._held = sum(size for _, size, _ in files)
            now = time.time()
            for used, size, file in sorted(files):
                if self._held <= self._bound or now - used < IN_USE_S:
                    break
                if file == self.root / name:  # about to be read
                    continue
                file.unlink(missing_ok=True)
                self._held -= size
