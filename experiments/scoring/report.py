"""report.html of scored recordings: the page of one file, or a comparison that links to the page of each; sounds lie beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keybed.experiments.hearing.page_files import part, write_template
from keybed.experiments.scoring.file_page import FOLDER, write_file_page
from keybed.experiments.scoring.human_agreement import compared_in_words
from keybed.experiments.scoring.page_words import (
    TITLES,
    clock,
    footer,
    meaning,
    score_cell,
    title,
    trust,
    trust_compared,
)
from keybed.experiments.scoring.results import Comparison, PairedPassage, ScoredFile, ScoreRecord, ScoreResults
from keybed.experiments.scoring.sound_file import write_flac
from keybed.extract.progress import Progress, silent
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

REPORT = "report.html"


def write_report(results: ScoreResults, out: Path, progress: Progress = silent) -> list[Path]:
    """Write report.html, and the sound of each file, into a folder that exists; returns all paths, report.html first.

    A file whose sound cannot be made has a page without sound that says why.
    """
    record, n = results.record, len(results.record.files)
    several = n + len(record.failed) > 1
    pages, sounds = [], []
    for number, (file, music) in enumerate(zip(record.files, results.music, strict=True), start=1):
        progress("pages", number - 1, n)
        name: str | None = f"sound-{number}.flac" if several else "sound.flac"
        assert name is not None
        try:
            sounds.append(write_flac(music.sound, file.duration_s, out / name))
            size = sounds[-1].stat().st_size / 1e6
            kind = "given" if file.audio_path is not None else "rendered from the notes"
            words = f"Sound: {kind}, {name} beside this page ({size:.1f} MB)."
        except KeybedError as error:
            name, words = None, f"Without sound: {error}"
        path = out / (f"file-{number}.html" if several else REPORT)
        pages.append(write_file_page(record, file, music, path, sound=name, sound_words=words, up=several))
    progress("pages", n, n)
    if several:
        pages.insert(0, _write_comparison(record, pages, out / REPORT))
    return [*pages, *sounds]


def _write_comparison(record: ScoreRecord, pages: list[Path], path: Path) -> Path:
    page = {
        "title": f"{counted(len(record.files), 'recording')} scored",
        "titles": TITLES,
        "files": [_file(file, link.name) for file, link in zip(record.files, pages, strict=True)],
        "comparisons": [_comparison(comparison) for comparison in record.comparisons],
        "failed": [{"name": f.name, "problem": f.problem} for f in record.failed],
        "meaning": meaning(record.model, some_rendered=any(f.audio_path is None for f in record.files)),
        "trust": trust(record.model),
        "trust_compared": trust_compared(record.model),
        "compared_in_words": compared_in_words(),
        "footer": footer(record.model, record.hop_s),
        "style": part("parts.css") + part("page.css"),
    }
    return write_template("comparison.html.jinja", page, path, FOLDER)


def _file(file: ScoredFile, link: str) -> dict[str, Any]:
    cells = [score_cell(whole.score, whole.lower, whole.upper) for whole in (file.whole[d] for d in DIMENSIONS)]
    return {
        "name": file.name,
        "link": link,
        "length": f"{clock(file.duration_s)}, {counted(len(file.windows), 'passage')}",
        "cells": cells,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "title": f"{comparison.other} compared with {comparison.first}",
        "first": comparison.first,
        "other": comparison.other,
        "remark": comparison.remark,
        "words": f"Over the {counted(len(comparison.passages), 'passage')} that both play; above 0: {comparison.other} is better.",
        "compared": bool(comparison.compared),
        "rows": [
            {
                "title": title(dimension),
                "difference": _signed(comparison.difference[dimension]),
                "passages": comparison.passages_judged[dimension],
                **_compared(comparison, dimension),
            }
            for dimension in DIMENSIONS
        ],
        "passages": [
            {
                "at": clock(p.start_s),
                "other_at": clock(p.other_start_s),
                "same": f"{100 * p.same_notes:.0f} %",
                "cells": [_cell(p, dimension) for dimension in DIMENSIONS],
            }
            for p in comparison.passages
        ],
    }


def _compared(comparison: Comparison, dimension: str) -> dict[str, str]:
    """What comparing says of a dimension, as text."""
    cell = comparison.compared.get(dimension)
    if cell is None:
        return {"value": "–", "interval": "", "better": "–"}
    n = comparison.passages_compared[dimension]
    return {
        "value": _signed(cell.difference),
        "interval": f"{_signed(cell.lower)} to {_signed(cell.upper)}",
        "better": f"{comparison.passages_better[dimension]} of {n}",
    }


def _cell(passage: PairedPassage, dimension: str) -> str:
    """The compared difference of a passage, or that of the scores where nothing was compared."""
    if not passage.compared:
        return _signed(passage.difference[dimension])
    cell = passage.compared[dimension]
    return _signed(None if cell is None else cell.difference)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}".replace("-", "−")
