"""The import graph of `keybed`, lazy imports included: no circle, and no arrow against the order of the inner rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = {
    "store": (
        "errors",
        "option",
        "optional",
        "counted",
        "command",
        "format",
        "disk",
        "remote",
        "read",
        "write",
        "derive",
        "check",
        "publish",
    ),
    "extract": (
        "config",
        "progress",
        "processes",
        "regular_files",
        "music",
        "corpus",
        "demo",
        "degrade",
        "audio",
        "encoders",
        "planning",
        "run",
        "export",
    ),
    "experiments": (
        "goal",
        "data",
        "evaluation",
        "glossary",
        "hearing",
        "reports",
        "sensitivity",
        "phases",
        "listening",
        "percepiano",
        "scoring",
        "curve",
        "cli",
        "audits",
        "benchmarks",
        "quick_probe",
    ),
}
"""The inner rooms of each folder; a room imports itself and rooms to its left."""
ENCODERS = (
    "errors",
    "gpu_memory",
    "base",
    "audio_check",
    "pooling",
    "blas",
    "self_check",
    "checkpoint",
    "wheel",
    "weights",
    "pretrained",
    "torch",
    "baselines",
    "expected",
    "mert",
    "midibert",
    "muq",
    "aria",
    "transkun",
    "transcribed",
    "registry",
)
"""The same, within extract/encoders/."""


def graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Module → the modules of the project that it imports anywhere, functions and TYPE_CHECKING blocks included."""
    return {name: set(_imported(ast.parse(source), sources)) - {name} for name, source in sources.items()}


def _imported(tree: ast.AST, known: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if module in known:
                    yield module
                elif node.module in known:
                    yield node.module


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(edges[module]):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            component = []
            while not component or component[-1] != module:
                component.append(stack.pop())
            if len(component) > 1:
                components.append(sorted(component))

    for module in sorted(edges):
        if module not in index:
            visit(module)
    return components


def against(edges: dict[str, set[str]], folder: str, order: tuple[str, ...]) -> list[str]:
    """Imports within a folder that point to a room further right in its order."""
    prefix = f"keybed.{folder.replace('/', '.')}."

    def position(module: str) -> int | None:
        return order.index(module.removeprefix(prefix).split(".")[0]) if module.startswith(prefix) else None

    return [
        f"{module} imports {target}"
        for module, targets in sorted(edges.items())
        for target in sorted(targets)
        if (own := position(module)) is not None and (imported := position(target)) is not None and imported > own
    ]


def project() -> dict[str, str]:
    sources = {}
    for path in sorted((ROOT / "keybed").glob("*.py")):
        sources[".".join(("keybed", path.stem)).removesuffix(".__init__")] = path.read_text()
    for folder in ("store", "extract", "heads", "experiments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(("keybed", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
            sources[name] = path.read_text()
    return sources


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return graph(project())


def test_no_import_circle(edges):
    assert circles(edges) == []


@pytest.mark.parametrize("folder", [*ORDER, "extract/encoders"])
def test_rooms_import_one_way(edges, folder):
    assert against(edges, folder, ORDER.get(folder, ENCODERS)) == []


def test_a_lazy_circle_and_a_backward_arrow_are_seen():
    sources = {
        "keybed.store.read.rows": "def f():\n    from keybed.store.check import verify\n    return verify",
        "keybed.store.check.verify": "from keybed.store.read.rows import f",
        "keybed.store.check": "",
    }
    edges = graph(sources)
    assert circles(edges) == [["keybed.store.check.verify", "keybed.store.read.rows"]]
    assert against(edges, "store", ORDER["store"]) == ["keybed.store.read.rows imports keybed.store.check.verify"]
