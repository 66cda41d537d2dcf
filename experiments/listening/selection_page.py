"""The page that says what was drawn and what it can show, to be read before raters are paid. Holds no answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keybed.experiments.data.json_codec import plain
from keybed.experiments.evaluation.gates import Override
from keybed.experiments.listening.selection_plots import label_strengths, score_ranges
from keybed.experiments.reports.audio_source import sound_banner
from keybed.experiments.reports.page import Banner, Page, Section, Table, number, write_page
from keybed.store.format.vocabulary import AXIS_DIMENSIONS


def write_selection_page(facts: Mapping[str, Any], overrides: Sequence[Override], path: Path) -> Path:
    """One self-contained HTML file."""
    facts = plain(facts)
    power = facts["power"]
    low, high = power["interval_at_half"]
    labels = Table(
        ["", *(str(i + 1) for i in range(len(AXIS_DIMENSIONS)))],
        [
            [f"{i + 1} {name.replace('_', ' ')}", *(number(r, 2) for r in row[: i + 1]), *[""] * (len(row) - i - 1)]
            for i, (name, row) in enumerate(zip(AXIS_DIMENSIONS, facts["label_correlations"], strict=True))
        ],
        caption="Correlations with their signs",
        numeric=tuple(range(1, 8)),
        fold=True,
    )
    ranges = Table(
        ["dimension", "clips that can be judged", "lowest", "quarter", "middle", "three quarters", "highest"],
        [
            [name.replace("_", " "), str(facts["judgeable"][name]), *(number(q, 1) for q in quantiles)]
            for name, quantiles in facts["score_quantiles"].items()
        ],
        caption="Lowest, quartiles and highest",
        numeric=tuple(range(1, 7)),
        fold=True,
    )
    banners = [
        Banner(
            f"Phase {o.phase} ({o.run}) said {o.verdict}; someone went on with the reason: “{o.reason}”",
            "Override.",
            True,
        )
        for o in overrides
    ]
    banners.append(sound_banner(facts["audio_source"]))
    if not facts["model_known"]:
        banners.append(Banner("No model's predictions were at hand, so its sure and unsure clips were not balanced."))
    page = Page(
        title="Phase 5: clips for expert ears",
        verdict="DRAWN",
        word=f"{facts['n']} clips",
        lead=[
            f"{facts['n']} clips of {facts['n_pieces']} pieces for {len(facts['raters'])} raters; {facts['n_anchors']} practice "
            f"clips first, {facts['repeats']} clips heard twice. Pristine: {facts['pristine_share']:.0%}.",
            f"Largest correlation between two dimensions' labels: {number(facts['largest_label_correlation'], 2)} "
            f"({number(facts['largest_before'], 2)} in the whole test split).",
        ],
        below=[],
        advice=None,
        banners=banners,
        sections=[
            Section(
                "What this many clips can show",
                [
                    f"If the raters' mean has a reliability of {power['assumed_reliability']:g}, a correlation of "
                    f"{number(power['smallest_true_r'], 2)} between labels and what raters would say without noise is told from zero "
                    f"four times in five (observed: {number(power['smallest_r'], 2)}; given the other six labels: "
                    f"{number(power['smallest_specific_r'], 2)}).",
                    f"Where r = 0.50 is found, its 95 % interval will be about {number(low, 2)} to {number(high, 2)}.",
                ],
            ),
            Section(
                "Scores are spread",
                [
                    "Percent of each dimension's clips in five ranges of its score: a judge is tested on good and bad alike.",
                    _spread(facts),
                ],
                [score_ranges(facts["score_ranges"])],
                [ranges],
            ),
            Section(
                "Labels go their own ways",
                [
                    "How far two dimensions' labels go together, as |r|. In the whole test split a good row is good at everything; in "
                    "these clips it is not, so that a rater's one impression cannot pass for eight."
                ],
                [
                    label_strengths(facts["label_correlations_before"], "the whole test split"),
                    label_strengths(facts["label_correlations"], "these clips"),
                ],
                [labels],
            ),
        ],
        footer=[f"seed {facts['seed']}"],
    )
    return write_page(page, path)


def _spread(facts: Mapping[str, Any]) -> str:
    """Clips by piece and by the model's own doubt, in one sentence."""
    few, many = facts["clips_of_a_piece"]
    told = f"A piece gives {few} clips." if few == many else f"A piece gives {few} to {many} clips."
    if facts["model_known"]:
        sure, middle, unsure = facts["sure_middle_unsure"]
        told += f" The model was sure of {sure} clips, in between on {middle}, unsure of {unsure}."
    return told
