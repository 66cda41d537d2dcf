"""Paths and other words of a user are printed as they are, whatever rich's markup would make of them."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest
from rich.table import Table

from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "[bold]x[/bold] [/] [link=a]y :smile: " + "long " * 30 + "end"


def test_the_console_prints_what_it_is_given(capsys):
    console = terminal()
    table = Table("path", title=HOSTILE, box=None)
    table.add_row("[red]cell[/red]")
    console.print(HOSTILE)
    console.print(table)
    console.rule("[i]rule[/i]")
    printed = capsys.readouterr().out
    assert HOSTILE in printed.splitlines()[0], "in one line, so that it can be copied"
    for part in ("[red]cell[/red]", "[i]rule[/i]", "[bold]x[/bold]", ":smile:"):
        assert part in printed.replace("\n", " ")


@pytest.mark.parametrize("command", ["status", "info", "verify"])
def test_a_store_in_a_folder_with_markup_in_its_name(command, planned_placeholder_store, tmp_path, capsys):
    store = tmp_path / "[bold]x[" / "bold] :smile:"
    shutil.copytree(planned_placeholder_store, store)
    main([command, str(store)])
    printed = capsys.readouterr().out
    assert str(store) in printed
    if command != "info":
        assert f"keybed extract '{store}' --shards 0-14" in printed


def test_a_plan_into_a_folder_with_markup_in_its_name(tiny_maestro, tmp_path, capsys):
    store = tmp_path / "[bold]x[" / "bold] :smile:"
    store.parent.mkdir()
    encoders = ("--encoders", "placeholder-audio,placeholder-midi")
    assert main(["plan", str(tiny_maestro), str(store), *encoders, "--limit", "4", "--jobs", "1"]) == 0
    assert f"next: keybed extract '{store}'" in capsys.readouterr().out
    assert main(["plan", "[bold]none[/bold]", str(store)]) == 1
    assert "[bold]none[/bold]" in capsys.readouterr().err


def test_every_console_is_without_markup():
    """Benchmarks print no path."""
    marked_up, tags = [], re.compile(r"\[/?(bold|dim|italic|red|green|yellow|blue|cyan)?[a-z ]*\]\S")
    for path in sorted((ROOT / "experiments").rglob("*.py")):
        if "benchmarks" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "Console" and "markup=False" not in ast.unparse(node):
                marked_up.append(f"{path}:{node.lineno}: a console with markup")
            if called.endswith("console.print"):
                literals = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                marked_up += [f"{path}:{node.lineno}: {text}" for text in map(str, literals) if tags.search(text)]
    assert marked_up == []
