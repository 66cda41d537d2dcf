"""Build the documentation site: `python docs/site/build.py`, or `make docs`. The result is build/docs/index.html.

Pages lie where a reader of the repository expects them: README.md, docs/, slurm/, experiments/. mkdocs wants one folder. So the
pages and every file that they link to are copied, with their paths, into build/docs-pages, and relative links keep working.
The reference of the command line and of the Python interface is generated there.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAID_OUT = ROOT / "build" / "docs-pages"
CONFIG = Path(__file__).parent / "mkdocs.yml"
STYLE = Path(__file__).parent / "notebooks.css"
"""Named in mkdocs.yml under `extra_css`, with its path in the repository."""
OUTSIDE_DOCS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "slurm/README.md",
    "experiments/FINDINGS.md",
)
PYTHON_MODULES = (
    "keybed",
    "keybed.store",
    "keybed.heads",
    "keybed.heads.metrics",
    "keybed.heads.ridge",
    "keybed.extract",
)
"""Modules of the Python reference, each with the names in its `__all__`."""


def pages() -> list[Path]:
    """Every page of the site that a person wrote, notebooks included."""
    docs = ROOT / "docs"
    return [
        *(ROOT / name for name in OUTSIDE_DOCS),
        *sorted(docs.glob("*.md")),
        *sorted((docs / "notebooks").glob("*.ipynb")),
    ]


def linked_files(page: Path) -> list[Path]:
    """Files inside the repository that a Markdown page links to or shows, pages left out."""
    if page.suffix != ".md":
        return []
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    files = {(page.parent / target).resolve() for target in targets if "://" not in target}
    return sorted(f for f in files if f.is_file() and f.is_relative_to(ROOT) and f.suffix != ".md")


def lay_out(folder: Path = LAID_OUT) -> None:
    """Copy pages and what they link to into an empty folder, and write the generated reference."""
    shutil.rmtree(folder, ignore_errors=True)
    for page in pages():
        for file in [page, *linked_files(page)]:
            _copy(file, folder)
    _copy(STYLE, folder)
    reference = folder / "reference"
    reference.mkdir()
    (reference / "command-line.md").write_text(command_line(), encoding="utf-8")
    (reference / "python.md").write_text(python_reference(), encoding="utf-8")


def _copy(file: Path, folder: Path) -> None:
    target = folder / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def _subcommands(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    """(name, parser) of each subcommand, and of its subcommands in turn."""
    listed = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                listed.append((name, sub))
                listed += [(f"{name} {inner}", deeper) for inner, deeper in _subcommands(sub)]
    return listed


def command_line() -> str:
    """The help text of every command, as one page."""
    from keybed.experiments.cli.main import parser

    text = ["# Command line\n", "This page is what `keybed COMMAND --help` prints.\n"]
    for name, sub in _subcommands(parser()):
        text.append(f"## keybed {name}\n\n```text\n{sub.format_help().rstrip()}\n```\n")
    return "\n".join(text)


def python_reference() -> str:
    """Directives that let mkdocstrings print the docstrings of PYTHON_MODULES."""
    text = ["# Python\n", "Everything is imported from `keybed`. Names that are not on this page may change.\n"]
    for module in PYTHON_MODULES:
        names = getattr(importlib.import_module(module), "__all__", ())
        members = f"\n    options:\n      members: [{', '.join(names)}]" if names else ""
        text.append(f"::: {module}{members}\n")
    return "\n".join(text)


def main() -> int:
    """Lay the pages out, then run mkdocs strictly: a broken link, a missing anchor or a page outside the navigation fails."""
    try:
        from mkdocs.commands.build import build
        from mkdocs.config import load_config
        from mkdocs.exceptions import MkDocsException
    except ImportError as error:
        print(f"docs: {error.name} is not installed: pip install -c constraints.txt '.[docs]'", file=sys.stderr)
        return 1
    lay_out()
    try:
        build(load_config(str(CONFIG), strict=True))
    except MkDocsException as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    print(f"made the site: {ROOT / 'build' / 'docs' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
