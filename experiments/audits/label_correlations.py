"""Correlations between a profile's eight labels, and r of a predictor that knows the tier (quality grade) alone.

    python -m keybed.experiments.audits.label_correlations                                   24,000 planned rows per profile, 5 s
    python -m keybed.experiments.audits.label_correlations --realised ../shared/data/maestro-mini --rows 4000   1 min

Expected: `mixed` about 0.33 between dimensions with pristine rows and 0.04 without, rows weighted as in training
(30/30/25/15; unweighted 0.31); `tiered` about 0.94, where the tier alone predicts every dimension at r = 0.97. Without --realised, a row's scores are the drawn ones (at most 97.5,
as stored); with it, those measured on the degraded notes, in the dimensions that are valid there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.goal import goal_line
from keybed.extract.degrade import CURVES, PROFILES, draw_levels, make_variant, prepare
from keybed.extract.degrade.labels import scores
from keybed.extract.music.midi import read_midi
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXES, DIMENSIONS, TIER_SHARES, TIERS, Status

WINDOW_S, HOP_S = 10.0, 6.2
LEAST_ROWS = 20_000


@dataclass(frozen=True)
class Config:
    """rows: planned rows per profile, four per segment. realised: a folder of MIDI files, or None for the drawn scores."""

    rows: int = 24_000
    seed: int = 0
    realised: Path | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """tier (n,), score (n, 8) with NaN where a dimension is not valid."""

    tier: NDArray[np.int64]
    score: NDArray[np.float64]

    def correlation(self, *, pristine: bool, weighted: bool) -> float:
        """Mean correlation between the seven axis dimensions, over the rows valid in both; weighted by TIER_SHARES."""
        rows = (self.tier > 0) | pristine
        weight = np.array(TIER_SHARES)[self.tier] if weighted else np.ones(self.tier.size)
        r = []
        for i in range(len(AXES)):
            for j in range(i):
                both = rows & np.isfinite(self.score[:, i] + self.score[:, j])
                covariance = np.cov(self.score[both][:, [i, j]].T, aweights=weight[both])
                r.append(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
        return float(np.mean(r))

    def tier_oracle(self) -> NDArray[np.float64]:
        """r (8,) of each dimension with its mean in the row's tier: the best prediction from the tier alone."""
        r = []
        for column in self.score.T:
            known = np.isfinite(column)
            tier, score = self.tier[known], column[known]
            mean = np.array([score[tier == t].mean() for t in range(len(TIERS))])
            r.append(np.corrcoef(mean[tier], score)[0, 1])
        return np.array(r)


def planned(config: Config, profile: str) -> Labels:
    """The drawn scores of planned rows."""
    tiers = np.tile(np.arange(len(TIERS)), config.rows // len(TIERS))
    table = np.empty((tiers.size, len(DIMENSIONS)))
    every = np.ones(len(DIMENSIONS), bool)
    for i, tier in enumerate(tiers):
        segment = i // len(TIERS)
        level = draw_levels(config.seed, segment // 60, HOP_S * (segment % 60), int(tier), profile)
        table[i] = scores(level, every, tempo_applied=False)
    return Labels(tiers, table)


def realised(config: Config, profile: str) -> Labels:
    """The scores measured on degraded notes."""
    tiers, table = [], []
    for tier, score in _realised_rows(config, profile):
        tiers.append(tier)
        table.append(score)
        if len(tiers) == config.rows:
            break
    return Labels(np.array(tiers), np.array(table))


def _realised_rows(config: Config, profile: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
    assert config.realised is not None
    files = sorted([*config.realised.rglob("*.midi"), *config.realised.rglob("*.mid")])
    segments_each = -(-config.rows // (len(TIERS) * max(len(files), 1)))
    for recording, path in enumerate(files):
        prepared = prepare(read_midi(path))
        last = prepared.performance.offset_s[-1] - WINDOW_S
        starts = np.arange(0.0, max(last, 0.1), HOP_S)
        for start_s in np.random.default_rng(recording).permutation(starts)[:segments_each]:
            for tier in range(len(TIERS)):
                aim = draw_levels(config.seed, recording, float(start_s), tier, profile)
                v = make_variant(
                    prepared, float(start_s), WINDOW_S, aim, seed=config.seed, recording_id=recording, tier=tier
                )
                if v.status == Status.OK:
                    yield tier, np.where(v.valid, v.score, np.nan)


def report(labels: Labels, profile: str) -> list[str]:
    """The findings on one profile, as lines."""
    oracle = labels.tier_oracle()
    with_weighted, with_plain, without_weighted, without_plain = (
        labels.correlation(pristine=p, weighted=w) for p in (True, False) for w in (True, False)
    )
    lines = [
        f"{profile}: {counted(labels.tier.size, 'row')}, mean r between the seven axis dimensions {with_weighted:.3f} with and "
        f"{without_weighted:.3f} without pristine rows (unweighted: {with_plain:.3f} and {without_plain:.3f})",
        f"{profile}: r of the tier alone: "
        + ", ".join(f"{name} {r:.3f}" for name, r in zip(DIMENSIONS, oracle, strict=True)),
        f"{profile}: share valid: "
        + ", ".join(f"{n} {x:.2f}" for n, x in zip(DIMENSIONS, np.isfinite(labels.score).mean(0), strict=True)),
    ]
    return lines


def main() -> None:
    """Print both profiles."""
    defaults = Config()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=defaults.rows, help="planned rows per profile (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--realised", type=Path, default=None, metavar="MIDI_DIR", help="measure on real notes")
    parser.add_argument("--quick", action="store_true", help="2,000 rows, to see that it runs")
    given = parser.parse_args()
    config = Config(2_000 if given.quick else given.rows, given.seed, given.realised)
    label_r = {}
    for profile in PROFILES:
        labels = (planned if config.realised is None else realised)(config, profile)
        label_r[profile] = labels.correlation(pristine=True, weighted=True)
        print("\n".join(report(labels, profile)))
    if config.realised is None:
        print(goal_line("rows per profile", config.rows, LEAST_ROWS, "at least"))
        for profile, want in (("mixed", 0.33), ("tiered", 0.94)):
            print(
                goal_line(f"difference of label r, {profile}, to {want}", abs(label_r[profile] - want), 0.03, "at most")
            )


if __name__ == "__main__":
    assert set(AXES) < set(CURVES)
    main()
