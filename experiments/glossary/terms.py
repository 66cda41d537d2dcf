"""The terms of the glossary, read from glossary.md beside this file, which is docs/glossary.md byte for byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "glossary.md"

SPELLINGS: dict[str, tuple[str, ...]] = {
    "alignment": ("alignment",),
    "auc": ("AUC",),
    "axis": ("axis", "axes"),
    "bin": ("bin", "bins", "time bins"),
    "cca": ("CCA", "canonical correlation", "canonical correlation analysis"),
    "ccc": ("CCC", "concordance", "concordance (CCC)"),
    "ceiling": ("ceiling",),
    "cka": ("CKA",),
    "codebook": ("codebook", "codeword", "codewords"),
    "collapse": ("collapse",),
    "comparative": ("comparative",),
    "conformal": ("conformal", "conformal interval", "conformal intervals"),
    "cross-attention": ("cross-attention",),
    "degradation": ("degradation", "degraded"),
    "dimension": ("dimension", "dimensions"),
    "effective-rank": ("effective rank",),
    "embedding": ("embedding", "embeddings"),
    "encoder": ("encoder", "encoders"),
    "epoch": ("epoch", "epochs"),
    "errors": ("correlation of errors", "correlation of the residuals"),
    "fold": ("fold", "folds"),
    "fusion": ("fusion", "fusions"),
    "gate": ("gate", "gates"),
    "gated": ("gated", "gated head"),
    "head": ("head", "heads"),
    "holm": ("Holm", "Holm's correction"),
    "icc": ("ICC", "intraclass correlation"),
    "infonce": ("InfoNCE",),
    "interval": ("interval", "intervals"),
    "literal": ("literal",),
    "modality": ("modality", "modalities", "single-modality"),
    "ordering": ("ordering", "ordering accuracy"),
    "out-of-fold": ("out of fold",),
    "pairwise": ("pairwise accuracy",),
    "plain-trees": ("plain trees",),
    "plain-r": ("plain r",),
    "pristine": ("pristine",),
    "r2": ("R²",),
    "reliability": ("reliability",),
    "retention": ("retention",),
    "retrieval": ("R@1", "R@5", "R@10", "R@k"),
    "ridge-probe": ("ridge", "ridge probe", "ridge regression"),
    "row": ("row", "rows"),
    "seed": ("seed", "seeds"),
    "segment": ("segment", "segments"),
    "shortcut": ("shortcut", "shortcuts", "shortcut baselines"),
    "soundfont": ("soundfont", "soundfonts"),
    "spearman": ("Spearman r",),
    "specialists": ("specialist", "specialists"),
    "specific-r": ("specific r",),
    "split": ("split", "splits"),
    "state": ("state", "states"),
    "swap": ("swap", "swapped"),
    "tier": ("tier", "tiers"),
    "uniformity": ("uniformity",),
    "variant": ("variant", "variants"),
    "within-passage-r": ("within-passage r",),
    "within-tier-r": ("within-tier r",),
    "zero-shot": ("zero-shot",),
}
"""Anchor of a term in glossary.md → how pages write it. Capitals are ignored. Words of everyday speech (run, piece, score) stand for
themselves on a page and are left out."""


@dataclass(frozen=True)
class Term:
    """One entry of the glossary. text: what it says, as plain text without links."""

    anchor: str
    name: str
    text: str


@cache
def entries() -> dict[str, Term]:
    """All entries of the glossary by anchor, in its order."""
    found = re.findall(
        r'<a id="([^"]+)"></a>\*\*(.+?)\*\*(.*?)(?:\n\n|\Z)', FILE.read_text(encoding="utf-8"), re.DOTALL
    )
    return {anchor: Term(anchor, _words(name).removesuffix("."), _words(text)) for anchor, name, text in found}


def _words(markdown: str) -> str:
    """Plain text of a paragraph. A sentence or a bracket that is a link and nothing else is left out: a page cannot follow it."""
    text = " ".join(markdown.split())
    text = re.sub(r" ?\(\[[^\]]*\]\([^)]*\)\)|(?<=\.) \[[^\]]*\]\([^)]*\)\.", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*`]", "", text).strip()


@cache
def pattern() -> re.Pattern[str]:
    """Matches every spelling as a whole word, longer ones first. Not within a file's name, such as gate.json."""
    spelt = sorted((s for spellings in SPELLINGS.values() for s in spellings), key=len, reverse=True)
    words = "|".join(re.escape(s).replace("'", "['’]") for s in spelt)
    return re.compile(rf"(?<![\w./_-])(?:{words})(?![\w/_-]|\.\w)", re.IGNORECASE)


@cache
def anchor_of(spelling: str) -> str:
    """The entry that a match of `pattern` belongs to."""
    wanted = spelling.replace("’", "'").casefold()
    return next(anchor for anchor, spelt in SPELLINGS.items() if wanted in (s.casefold() for s in spelt))
