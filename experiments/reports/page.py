"""A report's page: the verdict, then warnings, then sections of pictures and tables. It has no code about any phase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from keybed.experiments.data.run_folder import replace_run_file
from keybed.experiments.evaluation.criteria import Criterion
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import NO_RUN, Gate, Override
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.glossary.marks import FOLDER, Marker
from keybed.experiments.hearing.page_files import shared_script, shared_style

TEMPLATES = Path(__file__).parent / "templates"
Cell = str | dict[str, str]
BESIDE_COLUMNS = 4
"""Tables with more columns stand under their picture."""


@dataclass(frozen=True)
class Banner:
    """A warning above all numbers."""

    text: str
    head: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text. numeric: columns that are set to the right. fold: hide the table behind its caption."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    numeric: Sequence[int] = ()
    fold: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Section:
    """One card of the page. plain: what it tells about the playing, in one sentence for a pianist, without a term of the glossary."""

    title: str
    plain: str
    text: Sequence[str] = ()
    pictures: Sequence[str] = ()
    tables: Sequence[Table] = ()
    wide: bool = False


@dataclass(frozen=True)
class Page:
    """All that the template shows."""

    title: str
    verdict: str
    word: str
    lead: Sequence[str]
    below: Sequence[str]
    advice: str | None
    banners: Sequence[Banner]
    sections: Sequence[Section]
    footer: Sequence[str] = field(default_factory=tuple)
    notice: str = ""
    """What a reader must know before the verdict."""
    style: str = ""
    """Further CSS, and a script that runs at the end of the page."""
    script: str = ""


def write_page(page: Page, path: Path) -> Path:
    """Render to one self-contained HTML file, replacing it in one step."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("report.html.jinja").render(
        page=page,
        rows=rows(page.sections),
        beside=beside,
        whole=whole_intervals,
        mark=Marker(),
        shared_style=shared_style(),
        shared_script=shared_script(),
    )
    with replace_run_file(path) as file:
        file.write(text.encode(errors="replace"))
    return path


def filled(sections: Sequence[Section]) -> list[Section]:
    """The same cards; one that would stand alone in a row of two gets the whole width, so that no row is half empty."""
    cards: list[Section] = []
    alone = False
    for section in sections:
        if section.wide and alone:
            cards[-1] = replace(cards[-1], wide=True)
        alone = not section.wide and not alone
        cards.append(section)
    if alone:
        cards[-1] = replace(cards[-1], wide=True)
    return cards


def rows(sections: Sequence[Section]) -> list[list[Section]]:
    """The cards from the top down: a card of the whole width, or cards that stand in two columns."""
    groups: list[list[Section]] = []
    for section in filled(sections):
        if groups and not section.wide and not groups[-1][-1].wide:
            groups[-1].append(section)
        else:
            groups.append([section])
    return groups


def beside(section: Section) -> bool:
    """Whether a card of the whole width has its picture to the left of its tables: they are narrow enough."""
    narrow = all(len(table.head) <= BESIDE_COLUMNS for table in section.tables)
    return section.wide and len(section.pictures) == 1 and bool(section.tables) and narrow


def whole_intervals(cell: Markup) -> Markup:
    """The cell of a number, which may be wrapped before an interval and not within it."""
    return Markup(re.sub(r"\([^()<>]* to [^()<>]*\)", r'<span class="whole">\g<0></span>', str(cell)))  # noqa: S704


def with_interval(v: Interval, digits: int = 3) -> str:
    """0.412 (0.380 to 0.441)."""
    if not np.isfinite(v.value):
        return "undefined"
    if not np.isfinite(v.low):
        return number(v.value, digits)
    return f"{number(v.value, digits)} ({number(v.low, digits)} to {number(v.high, digits)})"


def criteria_table(criteria: Sequence[Criterion], caption: str = "", fold: bool = False) -> Table:
    """Every criterion with its value, interval, threshold, verdict and arithmetic."""
    rows: list[list[Cell]] = []
    for c in criteria:
        value = _value(Interval.from_json({"value": c.value, "low": c.low, "high": c.high}))
        style = f"pill {c.outcome}" if c.required else "pill shown"
        text = c.outcome if c.required else f"{c.outcome} · shown only"
        rows.append([c.name, value, c.threshold, {"text": text, "style": style}, c.arithmetic])
    head = ["criterion", "value (95 % interval)", "threshold", "outcome", "arithmetic"]
    return Table(head, rows, caption=caption, fold=fold, kind="gate")


def _value(v: Interval) -> str:
    """A criterion's value; a count (a whole number above 1, without an interval) has no digits after the point."""
    is_count = not np.isfinite(v.low) and v.value > 1 and float(v.value).is_integer()
    return number(v.value, 0) if is_count else with_interval(v)


def gate_section(gate: Gate) -> Section:
    """The gate as a table, with the plan's literal arithmetic under it."""
    plain = "What must be shown about hearing the quality of playing before the next step is worth its cost, and what was shown."
    tables = [criteria_table(gate.criteria)]
    if gate.literal:
        tables.append(
            criteria_table(
                gate.literal, caption=f"The plan’s literal arithmetic (plain r): {gate.literal_verdict}, marked literal"
            )
        )
    return Section("Gate criteria", plain, tables=tables, wide=True)


def override_banners(overrides: Sequence[Override]) -> list[Banner]:
    """One banner per decision to go on against a gate, or without one."""
    return [Banner(f"{_before(o)} The recorded reason to go on: “{o.reason}”", "Override.", True) for o in overrides]


def _before(override: Override) -> str:
    if override.verdict == NO_RUN:
        return f"No run of Phase {override.phase} was named, so no gate was checked."
    return f"Phase {override.phase} ({override.run}) ended with {override.verdict}."
