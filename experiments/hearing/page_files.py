"""Fill a page's template: jinja2 with escaping, and the shared style and script inside the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from keybed.experiments.data.run_folder import replace_run_file
from keybed.experiments.glossary.marks import FOLDER as GLOSSARY
from keybed.experiments.glossary.marks import Marker, script, style

FOLDER = Path(__file__).parent / "page"


@cache
def part(name: str) -> str:
    """The text of a file in `page/`, such as parts.css."""
    return (FOLDER / name).read_text(encoding="utf-8")


def shared_style() -> str:
    """CSS of every page: marks on terms, and tables that show that they scroll."""
    return style() + part("tables.css")


def shared_script() -> str:
    """Script of every page, for its end."""
    return script() + part("tables.js")


def environment(*folders: Path) -> jinja2.Environment:
    """Templates of these folders and of `page/`; every undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, FOLDER, GLOSSARY]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_template(name: str, page: Any, path: Path, *folders: Path) -> Path:
    """Render the template `name` with `page`, replacing the file in one step."""
    text = (
        environment(*folders)
        .get_template(name)
        .render(page=page, mark=Marker(), shared_style=shared_style(), shared_script=shared_script())
    )
    with replace_run_file(path) as file:
        file.write(text.encode(errors="replace"))
    return path
