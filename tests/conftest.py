"""Fixtures that every room's tests share, and which of the slow tests run."""

from __future__ import annotations

import csv
import fcntl
import gc
import hashlib
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import hypothesis
import mido
import pytest

ROOT = Path(__file__).resolve().parents[1]

# A clock in a test fails on a busy machine and says nothing of the code.
hypothesis.settings.register_profile("keybed", deadline=None)
hypothesis.settings.load_profile("keybed")


def _processor() -> str:
    """A name of this kind of processor: JAX does not notice that a program was compiled for another kind."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    features = [platform.machine(), *sorted({line for line in lines if line.startswith(("flags", "Features"))})]
    return hashlib.sha256(" ".join(features).encode()).hexdigest()[:12]


# The libraries of this process and of those that tests start read these when they are loaded. Threads of torch sleep while
# they wait, and OpenBLAS, whose threads always spin, has one: the processes of the suite share the cores, and spinning took up to
# 20 times the processor time of the work. JAX keeps compiled programs for the next run, 256 MB of them at most.
SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "d" / f"jax-{_processor()}"),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**28),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
}
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)

# XLA compiles the many small programs of the tests in half the time without its optimisations. A version that lacks one of these
# flags ends the process.
QUICKLY_COMPILED = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

# Many tests start fresh interpreters. Without stored bytecode each of them would compile the project again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# os.fsync does nothing in the processes of the suite: what a power failure leaves cannot be tested, and tests call it 30,000 times.
# Tests check that it is called before a file is renamed. Processes that tests start call the real one.
pytest.MonkeyPatch().setattr(os, "fsync", lambda handle: None)

# A suite that a script starts in the background has SIGINT ignored, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keybed")
    group.addoption("--slow", choices=("none", "tenth", "all"), default="none", help="which tests over 20 s to run")
    group.addoption("--slow-seed", default=None, help="draws the tenth; default: the commit, so that it moves on")


def pytest_configure(config: pytest.Config) -> None:
    """Let XLA compile quickly in the fast suite; with `--slow tenth` and `all`, as it does for a user."""
    if config.getoption("--slow") == "none" and version("jaxlib").startswith("0.10."):
        os.environ.setdefault("XLA_FLAGS", QUICKLY_COMPILED)


def _seed(config: pytest.Config) -> str:
    given: str | None = config.getoption("--slow-seed")
    if given is None:
        command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
        has_git = shutil.which("git") is not None
        given = subprocess.run(command, capture_output=True, text=True).stdout.strip() if has_git else ""
    return given or "0"


def pytest_report_header(config: pytest.Config) -> str:
    which = config.getoption("--slow")
    return f"slow tests: {which}" + (f" (--slow-seed {_seed(config)})" if which == "tenth" else "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Distribute by file and by folder, see tests/distribution.py; `--dist load` and others as xdist does."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.distribution import Scheduler

    return Scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests, or all but a seeded tenth of them. A slow test asked for by its full name always runs."""
    which = config.getoption("--slow")
    slow = sorted(item.nodeid for item in items if item.get_closest_marker("slow"))
    named = {argument for argument in config.args if "::" in argument}
    if which == "all" or not slow:
        return
    # A test of many minutes would break CI's time whenever it is drawn: `make test-slow` alone runs it.
    short = sorted(item.nodeid for item in items if item.nodeid in set(slow) and not item.get_closest_marker("long"))
    tenth = -(-len(short) // 10) if which == "tenth" else 0
    drawn = set(random.Random(_seed(config)).sample(short, tenth)) if tenth else set()
    out = [
        item
        for item in items
        if item.nodeid in set(slow) - drawn and not named & {item.nodeid, item.nodeid.partition("[")[0]}
    ]
    config.hook.pytest_deselected(items=out)
    left_out = set(map(id, out))
    items[:] = [item for item in items if id(item) not in left_out]


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through the objects that imports made: they stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real performances, ratings and goldens; skipped where absent, a failure in CI."""
    folder = ROOT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if os.environ.get("CI") == "true":
        pytest.fail(f"{folder} is absent in CI")
    pytest.skip(f"{folder} is absent: tests on real data are left out")


CSV_COLUMNS = (
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
)


class MadeOnce(Protocol):
    def __call__(self, name: str, make: Callable[[Path], object]) -> Path: ...


@pytest.fixture(scope="session")
def made_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """made_once(name, make): the folder that make(folder) made, the same one for all processes of the suite. Nobody changes it."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # a process of pytest-xdist, whose folder lies in that of the suite
        folder = folder.parent

    def get(name: str, make: Callable[[Path], object]) -> Path:
        made, making = folder / f"once-{name}", folder / f"once-{name}.making"
        with (folder / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(making, ignore_errors=True)  # a process that was killed left it
                make(making)
                making.rename(made)
        return made

    return get


@pytest.fixture(scope="session")
def tiny_maestro(made_once: MadeOnce) -> Path:
    """Six recordings of 30 s in MAESTRO's layout, seeded: four-part chords, a tune above, pedal now and then."""
    return made_once("maestro", _write_tiny_maestro)


def _write_tiny_maestro(folder: Path) -> None:
    (folder / "2018").mkdir(parents=True)
    rows = []
    for index, split in enumerate(("train", "train", "train", "train", "validation", "test")):
        draw = random.Random(index)
        messages = []
        for beat in range(56):
            chord = [(36 + draw.randrange(12) + 12 * voice, 50 + draw.randrange(40)) for voice in range(3)]
            tune = [(72 + draw.randrange(18), 60 + draw.randrange(60)) for _ in range(2)]
            onset_s = beat * 0.53 + draw.uniform(-0.02, 0.02)
            for part, (key, velocity) in enumerate(chord + tune):
                start_s = onset_s + (0.26 if part == 4 else 0.0) + 0.004 * part
                messages.append((start_s, mido.Message("note_on", note=key, velocity=velocity)))
                messages.append((start_s + draw.uniform(0.15, 0.5), mido.Message("note_off", note=key)))
            for offset_s, value in ((0.1, 100), (0.48, 0)):
                messages.append((onset_s + offset_s, mido.Message("control_change", control=64, value=value)))
        messages.sort(key=lambda timed: timed[0])
        track, now = mido.MidiTrack(), 0
        for at_s, message in messages:
            ticks = max(now, round(at_s * 960))
            track.append(message.copy(time=ticks - now))
            now = ticks
        name = f"2018/piece-{index}.midi"
        mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(folder / name)
        rows.append(
            (f"Composer {index}", f"Sonata No. {index + 1} in C", split, 2018, name, name[:-4] + "wav", now / 960)
        )
    with (folder / "maestro-v3.0.0.csv").open("w", newline="") as file:
        csv.writer(file).writerows([CSV_COLUMNS, *rows])


class Keybed(Protocol):
    def __call__(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def keybed() -> Keybed:
    """Run the command line in a process of its own, and see that it ends with the status expected."""

    def run(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "keybed", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == status, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def planned_placeholder_store(keybed: Keybed, tiny_maestro: Path, made_once: MadeOnce) -> Path:
    """An empty store of 60 rows in 15 shards, with the two encoders that need no torch; copy it to fill it."""
    encoders = ("--encoders", "placeholder-audio,placeholder-midi")
    options = (*encoders, "--limit", "15", "--shard-rows", "4", "--jobs", "1")
    return made_once("planned-store", lambda store: keybed("plan", tiny_maestro, store, *options))


@pytest.fixture(scope="session")
def finished_placeholder_store(keybed: Keybed, planned_placeholder_store: Path, made_once: MadeOnce) -> Path:
    """The same store, filled by one process that nobody disturbed."""

    def fill(store: Path) -> None:
        shutil.copytree(planned_placeholder_store, store)
        keybed("extract", store, "--workers", "0")

    return made_once("finished-store", fill)


NOT_COMPARED = ("logs", "claims", "places.json")
"""What differs from run to run by design: who did what when, and where things lie."""


def contents(store: Path) -> dict[str, str]:
    """sha256 of every file that must be equal in two stores of one recipe, by its path."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in NOT_COMPARED
    }


@pytest.fixture(scope="session")
def differing() -> Callable[[Path, Path], dict[str, str]]:
    """A function of two stores: the files by which they differ, each with how; empty for equal ones."""

    def compare(store: Path, reference: Path) -> dict[str, str]:
        ours, theirs = contents(store), contents(reference)
        differences = {}
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                differences[name] = (
                    "differs" if name in ours and name in theirs else "extra" if name in ours else "missing"
                )
        return differences

    return compare


@pytest.fixture(scope="session")
def commits_of() -> Callable[[Path], dict[int, tuple[int, int]]]:
    """A function of a store: shard -> (inode, time) of its commit, which show whether one was ever written again."""

    def look(store: Path) -> dict[int, tuple[int, int]]:
        inodes = {}
        for path in (store / "commits").glob("[0-9]*.json"):
            status = path.stat()
            inodes[int(path.stem)] = (status.st_ino, status.st_mtime_ns)
        return inodes

    return look
