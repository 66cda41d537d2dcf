"""Who may import whom: read in every file's syntax tree, and seen once more in fresh interpreters."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extract", "store", "heads", "experiments")
SIBLINGS = {
    "store": set(),
    "heads": set(),
    "extract": {"store"},
    "experiments": {"store", "heads", "extract"},
}
FAMILIES = {
    "torch": {"torch", "torchaudio", "transformers", "triton"},
    "jax": {"jax", "jaxlib", "flax", "optax", "orbax"},
    "zarr": {"zarr", "zarrs", "numcodecs"},
    "numba": {"numba", "llvmlite"},
}
HOMES = {"torch": {"extract"}, "numba": {"extract"}, "jax": {"heads", "experiments"}, "zarr": {"store"}}
WITH = {
    "triton": [
        ROOT / "extract/encoders" / name for name in ("mert/fused.py", "torch/linear_gelu.py", "torch/split_taps.py")
    ],
    "numba": [ROOT / "extract" / name for name in ("audio/note_kernel.py", "encoders/baselines/event_kernel.py")],
}
"""Modules that need a library which may be absent: Triton comes with torch's CUDA builds alone."""
BENCHMARKS = ROOT / "experiments" / "benchmarks"
"""A benchmark may import the alternative that it measures against."""
PLACEHOLDERS = "placeholder-audio,placeholder-midi"


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything imported anywhere in the tree, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "keybed":
            yield from ((f"keybed.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield f"{package}.{node.module or ''}", node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value), node.lineno


def breaches(room: str, source: str, *, benchmark: bool = False) -> list[str]:
    lines = []
    for name, line in imported(ast.parse(source), room):
        top, _, below = name.partition(".")
        folder = below.partition(".")[0] if top == "keybed" else top
        if folder in ROOMS and (top != "keybed" or (folder != room and folder not in SIBLINGS[room])):
            lines.append(f"line {line}: {room} imports {name}")
        for family, members in FAMILIES.items():
            if top in members and room not in HOMES[family] and not benchmark:
                lines.append(f"line {line}: {room} imports {name}, which belongs to {sorted(HOMES[family])}")
    return lines


@pytest.mark.parametrize("room", ROOMS)
def test_walls_in_the_source(room):
    walls = {
        str(path.relative_to(ROOT)): bad
        for path in modules(room)
        if (bad := breaches(room, path.read_text(), benchmark=BENCHMARKS in path.parents))
    }
    assert not walls


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("heads", "from keybed.extract.music import performance"),
        ("extract", "import keybed.heads.metrics"),
        ("store", "def f():\n    from keybed.extract.music.performance import Performance"),
        ("heads", "from keybed import store"),
        ("extract", "import keybed.experiments.cli.main"),
        ("store", "from store.errors import KeybedError"),
        ("experiments", "import torch.nn"),
        ("extract", "import flax"),
        ("heads", "from zarr import open_group"),
        ("experiments", "import importlib\nimportlib.import_module('torch')"),
    ],
)
def test_the_scan_sees_a_breach(room, source):
    assert breaches(room, source)


def loaded_by(statements: str) -> set[str]:
    """Which heavy families a fresh interpreter holds after these statements."""
    report = f"\nimport sys\nprint('families', *(f for f, m in {FAMILIES!r}.items() if m & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", statements + report], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("keybed", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@pytest.mark.parametrize("room", ROOMS)
def test_walls_in_a_fresh_interpreter(room):
    """Every module of a room imported together loads only what the room may hold, its siblings' needs included."""
    left_out = [path for library, paths in WITH.items() if not find_spec(library) for path in paths]
    names = [dotted(path) for path in modules(room) if BENCHMARKS not in path.parents and path not in left_out]
    may = {family for family, homes in HOMES.items() if homes & ({room} | SIBLINGS[room])}
    # An experimenter has no torch: reaching into extract from a module's top must not load it.
    may -= {"torch"} if room == "experiments" else set()
    assert loaded_by("\n".join(f"import {name}" for name in names)) <= may


@pytest.mark.parametrize(
    "module",
    [
        "keybed",
        "keybed.store.format.recipe",
        "keybed.extract.music.performance",
        "keybed.extract.encoders",
        "keybed.extract.encoders.base",
    ],
)
def test_light_modules_load_nothing_heavy(module):
    assert loaded_by(f"import {module}") <= {"zarr"}


@pytest.mark.parametrize(
    "command",
    [
        ("status", "STORE"),
        ("info", "STORE"),
        ("verify", "STORE"),
        ("plan", "MAESTRO", "STORE", "--encoders", PLACEHOLDERS, "--limit", "15", "--shard-rows", "4"),
        ("extract", "STORE", "--shards", "0", "--workers", "0"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_loads_only_what_it_needs(command, tiny_maestro, planned_placeholder_store, tmp_path):
    """Looking at a store takes neither torch nor JAX, and extraction no JAX; torch comes with an encoder that needs it."""
    store = shutil.copytree(planned_placeholder_store, tmp_path / "store")
    arguments = [str({"STORE": store, "MAESTRO": tiny_maestro}.get(part, part)) for part in command]
    assert loaded_by(f"from keybed.experiments.cli.main import main\nmain({arguments!r})") <= {"zarr"}
