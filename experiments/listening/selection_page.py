"""The page on a drawn sample: its power, score ranges and label correlations. Holds nothing of the answer key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Override
from keybed.experiments.listening.power import largest_by_chance
from keybed.experiments.listening.selection_facts import SampleFacts, SamplePower
from keybed.experiments.listening.selection_plots import label_strengths, score_ranges
from keybed.experiments.reports.audio_source import sound_banner
from keybed.experiments.reports.page import Banner, Page, Section, Table, override_banners, write_page
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

FEWEST_FOR_R = 4
"""Three clips correlate at nearly ±1 whatever they are."""
LARGEST_BY_CHANCE = 0.3
"""Samples whose unrelated labels correlate at more than this by chance cannot show that labels are unrelated (43 clips or fewer)."""


def write_selection_page(facts: SampleFacts, overrides: Sequence[Override], path: Path) -> Path:
    """One self-contained HTML file."""
    labels = Table(
        ["", *(str(i + 1) for i in range(len(AXIS_DIMENSIONS)))],
        [
            [f"{i + 1} {name.replace('_', ' ')}", *(number(r, 2) for r in row[: i + 1]), *[""] * (len(row) - i - 1)]
            for i, (name, row) in enumerate(zip(AXIS_DIMENSIONS, facts.label_correlations, strict=True))
        ],
        caption="Correlations with their signs",
        numeric=tuple(range(1, 8)),
        fold=True,
    )
    ranges = Table(
        ["dimension", "valid clips", "lowest", "first quartile", "median", "third quartile", "highest"],
        [
            [name.replace("_", " "), str(facts.valid_clips[name]), *(number(q, 1) for q in quantiles)]
            for name, quantiles in facts.score_quantiles.items()
        ],
        caption="Quartiles of the scores",
        numeric=tuple(range(1, 7)),
        fold=True,
    )
    banners = override_banners(overrides)
    if facts.trial:
        banners.append(
            Banner("Clips of any split and any kind, to try the page with. Their ratings decide nothing.", "Trial.")
        )
    banners.append(sound_banner(facts.audio_source))
    if not facts.model_known and not facts.trial:
        banners.append(
            Banner("There are no predictions of a model (--after), so clips are not balanced by its uncertainty.")
        )
    page = Page(
        title="Phase 5: clips for expert raters",
        verdict="DRAWN",
        word=counted(facts.n, "clip"),
        lead=[
            f"{counted(facts.n, 'clip')} of {counted(facts.n_pieces, 'piece')} for {counted(len(facts.raters), 'rater')}; {counted(facts.n_anchors, 'practice clip')} "
            f"first, {counted(facts.repeats, 'clip')} twice. Pristine (undegraded) clips: {facts.pristine_share:.0%}.",
            _largest(facts),
        ],
        below=[],
        advice=None,
        banners=banners,
        sections=[
            *_power(facts.power),
            Section(
                "Scores of the clips",
                "Whether the performances to be rated reach from poor to good playing in each quality.",
                [
                    "Percent of each dimension's clips in five ranges of its score. Ranges should be about equally full.",
                    _spread(facts),
                ],
                [score_ranges(facts.score_ranges)],
                [ranges],
            ),
            Section(
                "Correlations between labels",
                "Whether one performance can be good in one quality and poor in another, so that raters must listen for each.",
                [f"|r| between two dimensions' labels. {_halo(facts)}"],
                [
                    label_strengths(facts.label_correlations_before, facts.drawn_from),
                    *([label_strengths(facts.label_correlations, "these clips")] if _drawable(facts) else []),
                ],
                [labels] if _drawable(facts) else [],
            ),
        ],
        footer=[f"seed {facts.seed}"],
    )
    return write_page(page, path)


def _drawable(facts: SampleFacts) -> bool:
    return facts.n >= FEWEST_FOR_R


def _few(facts: SampleFacts) -> bool:
    """Whether so few clips cannot show that labels are unrelated."""
    return largest_by_chance(facts.n) > LARGEST_BY_CHANCE


def _chance(facts: SampleFacts) -> str:
    if not _drawable(facts):
        return f"{counted(facts.n, 'clip')} cannot show whether labels are related: a correlation needs at least {FEWEST_FOR_R}."
    return (
        f"{counted(facts.n, 'clip')} are too few to show whether labels are related: among so few, unrelated labels correlate at "
        f"{number(largest_by_chance(facts.n), 2)} or more in 1 of 20 cases."
    )


def _largest(facts: SampleFacts) -> str:
    """The largest correlation between labels, before and after the draw."""
    before = f"{number(facts.largest_before, 2)} in {facts.drawn_from}"
    if _few(facts):
        return f"Largest correlation between two dimensions' labels: {before}. {_chance(facts)}"
    return (
        f"Largest correlation between two dimensions' labels: {number(facts.largest_label_correlation, 2)} ({before})."
    )


def _halo(facts: SampleFacts) -> str:
    """What the correlations mean for a rater with one overall impression, as far as this many clips can show."""
    before = (
        f"In {facts.drawn_from} |r| is up to {number(facts.largest_before, 2)}: the larger |r|, the more often a row that is good in one "
        "dimension is good in the other."
    )
    if _few(facts):
        return f"{before} {_chance(facts)} A set for a study needs more clips."
    return (
        f"{before} In these clips |r| is at most {number(facts.largest_label_correlation, 2)}, so that a rater who gives one overall "
        "impression to all eight scales (halo) gets low correlations."
    )


def _spread(facts: SampleFacts) -> str:
    """Clips per piece and by the model's uncertainty, in words."""
    few, many = facts.clips_of_a_piece
    words = (
        f"A piece gives {counted(few, 'clip')}." if few == many else f"A piece gives {few} to {counted(many, 'clip')}."
    )
    if facts.model_known:
        sure, middle, unsure = facts.sure_middle_unsure
        words += f" By the model's uncertainty: {counted(sure, 'clip')} in the lowest third, {middle} in the middle, {unsure} in the highest."
    return words


def _power(power: SamplePower | None) -> list[Section]:
    if power is None:
        return []
    low, high = power.interval_at_half
    return [
        Section(
            "Power of this sample",
            "How sure a statement about the raters and the playing can be with so many performances.",
            [
                f"If the raters' mean has a reliability of {power.assumed_reliability:g}, a correlation of "
                f"{number(power.smallest_true_r, 2)} between labels and noise-free ratings is told from zero "
                f"in four of five studies (observed: {number(power.smallest_r, 2)}; given the other six labels: "
                f"{number(power.smallest_specific_r, 2)}).",
                f"The 95 % interval of an observed r = 0.50 will be about {number(low, 2)} to {number(high, 2)}.",
            ],
        )
    ]
