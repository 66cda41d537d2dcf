"""Damage every file of a store in turn: nothing wrong is accepted in silence, and nothing ends in a traceback.

Each case flips one bit of a file, cuts it, empties it, exchanges it with another one or deletes it. Then the store is opened
and everything in it is read; `status`, `verify` and `verify --repair` run; what they name is made again. A case is

- repaired: afterwards the store holds the bytes that it held before;
- refused: it cannot be mended from the store alone, and the message says what to do;
- harmless: nothing that the store holds has changed, as with a log or a claim, or JSON that says the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.experiments.cli.status_view import render
from keybed.experiments.cli.verify_view import verify_lines
from keybed.store.check import restore
from keybed.store.check.status import status
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.derive.derive import DeriveConfig, derive
from keybed.store.disk import planned_metadata
from keybed.store.disk.durable import canonical
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec
from keybed.store.write.claim_files import Holder
from keybed.store.write.layers import add_encoders
from tests.store.conftest import encoder

KINDS = ("flip", "cut", "empty", "exchange", "delete")
MUTABLE = ("logs", "claims", "places.json")
"""What no number depends on: who did what when, and where things lie on this machine."""
ADDED = (encoder("b", "audio", 5), encoder("n", "midi", 3))


class Subject:
    """A small whole store, its bytes, and the values of everything that can be read from it."""

    def __init__(self, root: Path, synthetic, added: tuple[EncoderSpec, ...] = ()) -> None:
        self.root, self.synthetic = root, synthetic
        self.content = replace(synthetic, encoders=(*synthetic.encoders, *added))
        store.create(
            root,
            synthetic.recipe,
            synthetic.planned,
            synthetic.split_ranges,
            synthetic.recordings,
            {"maestro": "/somewhere"},
            write_notes=lambda folder: [(folder / f"{i:05d}.npz").write_bytes(bytes([i]) * 300) for i in range(3)],
        )
        if added:
            add_encoders(root, added, {})
        self.fill(range(2))
        self.derive()
        dead = replace(Holder.of_this_process(1), started="before")
        (root / "claims/000001.json").write_bytes(canonical(asdict(dead)))
        (root / "logs/000002.failed.json").write_text('{"shard": 2, "reason": "r", "holder": "h", "time": "t"}')
        self.bytes = {path.relative_to(root).as_posix(): path.read_bytes() for path in self.files()}
        self.stats = {name: self.stat(name) for name in self.bytes}
        self.arrays = sorted({str(Path(n).parent) for n in self.bytes if "/derived/" in n and "/c." in n})
        self.values = {}
        self.values, refused = self.read()
        assert not refused

    def derive(self) -> None:
        derive(DeriveConfig(self.root, features=("audio/a/frames",), pca=3, threads=1))

    def fill(self, shards: Iterable[int]) -> None:
        """Make those parts of the shards that are not committed."""
        opened = store.open(self.root)
        for part in opened.parts:
            missing = sorted(set(shards) - opened.shards_of_layer(part).numbers)
            if part is None:
                self.synthetic.fill(opened, missing)
            else:
                self.content.fill_layer(opened, part, missing)

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def stat(self, name: str) -> tuple[int, int, int]:
        found = (self.root / name).stat()
        return found.st_size, found.st_mtime_ns, found.st_ino

    def reset(self) -> None:
        """Put every file back that a case has changed, removed or added."""
        for path in self.files():
            if path.relative_to(self.root).as_posix() not in self.bytes:
                path.unlink()
        for name, data in self.bytes.items():
            path = self.root / name
            if not path.exists() or self.stat(name) != self.stats[name]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                self.stats[name] = self.stat(name)

    def read(self) -> tuple[dict[str, object], list[str]]:
        """(everything that can be read, messages of what is refused). Raises what is no named error."""
        try:
            opened = store.open(self.root)
        except KeybedError as error:
            return {}, [str(error)]
        index = np.arange(self.synthetic.n_rows)
        tasks = {
            "rows": lambda: {k: v.tobytes() for k, v in vars(opened.rows(status=None)).items()},
            "recordings": lambda: opened.recordings,
            "recipe": lambda: (opened.recipe.to_json(), opened.splits),
            "int8": lambda: opened.from_int8(
                "derived/a/frames_int8", opened.read("derived/a/frames_int8", index)
            ).tobytes(),
            "moments": lambda: [part.tobytes() for part in vars(opened.moments("a")).values()],
        }
        features = [spec.path for spec in opened.specs if not spec.path.startswith("row/")]
        whole = [path.removeprefix("features.zarr/") for path in self.arrays]
        by_row = [path for path in whole if path.endswith(("int8", "pca3"))]
        tasks |= {path: lambda path=path: opened.read(path, index).tobytes() for path in (*features, *by_row)}
        tasks |= {p: lambda p=p: opened.reader.whole(p).tobytes() for p in whole if p not in by_row}
        tasks |= {f"note {i}": lambda i=i: opened.notes_path(i).read_bytes() for i in range(3)}
        tasks |= {
            f"commit {i} of {part}": lambda i=i, part=part: asdict(opened.commit(i, part))
            for i in range(opened.n_shards)
            for part in opened.parts
        }
        values, refused = {}, []
        for name, task in tasks.items():
            try:
                values[name] = task()
            except KeybedError as error:
                refused.append(str(error))
        return values, refused

    def wrong(self, values: dict[str, object]) -> list[str]:
        return [name for name, value in values.items() if value != self.values[name]]

    def held(self) -> dict[str, bytes]:
        """The bytes now, without those on which no number depends."""
        names = {path.relative_to(self.root).as_posix(): path for path in self.files()}
        return {name: path.read_bytes() for name, path in names.items() if name.split("/")[0] not in MUTABLE}


@pytest.fixture
def quick(monkeypatch):
    """Spare the threads that zarr-python hands each call to, and the wait for the disk: half of the time, no result."""
    own, loops = threading.local(), []

    def at_once(coroutine, loop) -> Future:
        if not hasattr(own, "loop"):
            own.loop = asyncio.new_event_loop()
            loops.append(own.loop)
        done: Future = Future()
        try:
            done.set_result(own.loop.run_until_complete(coroutine))
        except BaseException as error:
            done.set_exception(error)
        return done

    async def call(function, *arguments, **named):
        return function(*arguments, **named)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", at_once)
    monkeypatch.setattr(asyncio, "to_thread", call)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    made: dict[str, dict[str, bytes]] = {}

    def metadata_files(recipe, splits):
        key = f"{recipe.fingerprint} {splits}"
        if key not in made:
            made[key] = planned_metadata.metadata_files(recipe, splits)
        return made[key]

    monkeypatch.setattr(restore, "metadata_files", metadata_files)
    yield
    for loop in loops:
        loop.close()


def cases(names: list[str], number: int, seed: int) -> list[tuple[str, str, int]]:
    """(kind, file, seed) of every kind for every file first, then flipped bits and exchanges."""
    draw = random.Random(seed)
    listed = [(kind, name, draw.getrandbits(32)) for kind in KINDS for name in names]
    while len(listed) < number:
        listed.append((draw.choice(("flip", "flip", "flip", "exchange")), draw.choice(names), draw.getrandbits(32)))
    return draw.sample(listed, number)


def spoil(subject: Subject, kind: str, name: str, seed: int) -> list[str]:
    """Damage one file, or exchange two. Returns the names of the files that now hold other bytes."""
    draw, path, data = random.Random(seed), subject.root / name, bytearray(subject.bytes[name])
    if kind == "delete":
        path.unlink()
    elif kind == "exchange":
        alike = [
            n
            for n in subject.bytes
            if n != name and (Path(n).name == Path(name).name or Path(n).parent == Path(name).parent)
        ]
        other = draw.choice(alike if alike and draw.random() < 0.7 else [n for n in subject.bytes if n != name])
        path.write_bytes(subject.bytes[other])
        (subject.root / other).write_bytes(data)
        return [n for n in (name, other) if subject.bytes[name] != subject.bytes[other]]
    elif kind == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    else:
        path.write_bytes(data[: draw.randrange(len(data)) if kind == "cut" else 0])
    return [name]


def same_json(a: bytes, b: Path) -> bool:
    try:
        return json.loads(a) == json.loads(b.read_bytes())
    except (OSError, ValueError):
        return False


def outcome(subject: Subject, changed: list[str]) -> str:
    """What became of one case: repaired, refused, harmless, or "accepted in silence" with the reason."""
    root = subject.root
    values, messages = subject.read()
    if wrong := subject.wrong(values):
        return f"accepted in silence: {wrong} differ"
    harmless = all(n.split("/")[0] in MUTABLE or same_json(subject.bytes[n], root / n) for n in changed)
    named = []
    for look in (lambda: render(status(store.open(root))), lambda: "\n".join(verify_lines(verify(VerifyConfig(root))))):
        try:
            named.append(look())
        except KeybedError as error:
            named.append(None)
            messages.append(str(error))
    try:
        report = verify(VerifyConfig(root, repair=True))
    except KeybedError as error:
        messages.append(str(error))
        return "refused"
    verify_lines(report)
    reported = messages or report.problems or report.damaged or report.restorable or report.missing
    if not reported and not harmless:
        return "accepted in silence: verify calls it sound"
    if not report.problems and not report.missing and not reported:
        return "harmless"
    values, refused = subject.read()
    if not refused and (wrong := subject.wrong(values)):
        return f"accepted in silence after the repair: {wrong} differ"
    try:
        if report.redo:
            subject.fill(report.redo)
        if any("/derived/" in name for name in changed):
            subject.derive()
    except KeybedError as error:
        messages.append(str(error))
    if subject.held() == {n: b for n, b in subject.bytes.items() if n.split("/")[0] not in MUTABLE}:
        return "repaired" if any(n.split("/")[0] not in MUTABLE for n in changed) else "harmless"
    values, refused = subject.read()
    if wrong := subject.wrong(values):
        return f"accepted in silence after all: {wrong} differ"
    if not refused and verify(VerifyConfig(root)).sound and not harmless:
        return "accepted in silence: sound in the end, with other bytes"
    unclear = [message for message in messages if str(root) not in message]
    assert not unclear, unclear
    return "refused" if messages else "harmless"


@pytest.mark.parametrize(
    ("number", "added"),
    [
        (40, ()),
        pytest.param(2000, (), marks=[pytest.mark.slow, pytest.mark.long]),
        pytest.param(2000, ADDED, marks=[pytest.mark.slow, pytest.mark.long]),
    ],
    ids=["sample", "every file", "added encoders"],
)
def test_no_damage_is_accepted_in_silence(tmp_path, synthetic, capsys, quick, number, added):
    subject = Subject(tmp_path / "S", type(synthetic)(n_rows=16, shard_rows=8, failed=(5,)), added)
    counts: Counter[str] = Counter()
    faults = []
    for kind, name, seed in cases(sorted(subject.bytes), number, seed=0):
        changed = spoil(subject, kind, name, seed)
        try:
            result = outcome(subject, changed) if changed else "harmless"
        except Exception:
            result = "traceback"
            faults.append((kind, changed, seed, traceback.format_exc()))
        if result.startswith("accepted"):
            faults.append((kind, changed, seed, result))
        counts[result.partition(":")[0]] += 1
        subject.reset()
    with capsys.disabled():
        print(f"\n{number} damaged stores of {len(subject.bytes)} files: {dict(sorted(counts.items()))}")
    assert not faults, f"{len(faults)} of {number}; the first: {faults[0]}"
    assert set(counts) == {"repaired", "refused", "harmless"}
