"""The sentence for a pianist at the top of every card: one sentence, in plain words."""

import ast
from functools import cache
from pathlib import Path

import pytest

from keybed.experiments.glossary.terms import pattern

ROOT = Path(__file__).resolve().parents[3]


@cache
def sentences() -> list[tuple[str, str]]:
    """(file, second argument of `Section`) of every card in the code; a name stands for all strings assigned to it."""
    found = []
    for path in sorted((ROOT / "experiments").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "Section(" not in source:
            continue
        tree = ast.parse(source)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Section":
                found += [(path.stem, text) for text in _strings(call.args[1], tree)]
    return found


def _strings(node: ast.expr, tree: ast.Module) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    name = node.value if isinstance(node, ast.Subscript) else node
    assert isinstance(name, ast.Name), ast.dump(node)
    if name.id == "plain" and not any(_assigned(tree, "plain")):
        return _strings(next(call.args[1] for call in _calls(tree, "heat")), tree)
    values = [v.values if isinstance(v, ast.Dict) else [v] for v in _assigned(tree, name.id)]
    return [text for value in values for part in value for text in _strings(part, tree)]


def _assigned(tree: ast.Module, name: str) -> list[ast.expr]:
    return [
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and n.targets[0].id == name
    ]


def _calls(tree: ast.Module, name: str) -> list[ast.Call]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name]


def test_the_cards_of_all_reports_are_found():
    pages = {page for page, _ in sentences()}
    assert {"phase2_sections", "phase3_page", "phase4_page", "rating_page", "window_page", "curve_page"} <= pages
    assert {"selection_page", "ingest_page", "page", "report", "piano_section"} <= pages
    assert len(sentences()) > 40


@pytest.mark.parametrize(("page", "text"), sentences())
def test_a_pianist_reads_one_plain_sentence(page, text):
    assert text.endswith(".")
    assert ". " not in text
    assert len(text.split()) <= 30
    assert not pattern().search(text), "a word that only the glossary explains"
