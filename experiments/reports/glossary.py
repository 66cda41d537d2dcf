"""The special terms of the reports: one wording for first uses, and a short glossary at the end of each page."""

from __future__ import annotations

from keybed.experiments.reports.page import Section, Table

SPECIFIC_R = "specific r (partial correlation given the other six scores)"
"""How specific r is written where a page uses it first."""
SPECIALISTS = "specialists (for each dimension the single-modality head that did better on validation rows)"

TERMS = {
    "specific r": "Correlation of a prediction with the score of its dimension after the scores of the other six axes are "
    "regressed out of both, on rows that are not pristine. 0: no information of its own; 1: perfect.",
    "plain r": "Pearson correlation of a prediction with its score, on all rows.",
    "within-tier r": "Correlation of a prediction with its score after the mean of each tier is taken out of both; tiers in "
    "which the score does not vary, such as pristine, are left out.",
    "pairwise accuracy": "Share of pairs of degraded variants of one segment, with different scores in a dimension, that a model "
    "puts in the right order; chance is 0.5. A mean is over the seven axes.",
    "specialists": "A composed model: each dimension comes from the single-modality head, audio or MIDI, with the better "
    "validation r.",
    "tier": "Quality band of a row: pristine, good, moderate or poor. Each segment has one row per tier.",
    "segment, variant, row": "A segment is one window of a recording. A variant is the segment degraded for one tier. A row "
    "of the store is one variant.",
    "dimension, axis": "A dimension is a score from 0 to 100, such as tone_quality. An axis is the kind of degradation "
    "behind it.",
    "state": "Output of one hidden layer of an encoder.",
    "bin": "One cell of the time grid on which both encoders' features are kept.",
    "shard": "A fixed range of rows that one task writes as a whole.",
    "test rows, out of fold": "Rows of pieces that the heads were not trained on. Out of fold: every piece is a test piece "
    "once, for heads trained without it.",
    "shortcut": "A prediction from one measure that is not the performance's quality, such as loudness or number of notes.",
    "interval": "95 % confidence interval, from pieces and seeds resampled together (BCa bootstrap). Differences are paired.",
    "alignment": "Mean cosine of paired audio and MIDI embeddings minus that of unpaired ones, after centring.",
    "R@1": "Share of rows whose partner in the other modality is the nearest neighbour.",
    "effective rank": "Number of directions that the embeddings use, from the entropy of their singular values.",
    "uniformity": "Spread of the embeddings: 0 for a single point, lower for a wider spread.",
    "CCA": "Canonical correlation analysis: the best linear map of both modalities to common axes, in closed form.",
    "concordance (CCC)": "Like r, but also lowered by a wrong mean or scale of the predictions.",
}


def glossary(*names: str) -> Section:
    """A card that explains these terms, hidden behind its caption."""
    return Section(
        "Glossary", tables=[Table(["term", "meaning"], [[n, TERMS[n]] for n in names], kind="gate")], wide=True
    )
