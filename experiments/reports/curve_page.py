"""The page of a curve: the answer, r against training segments, rows against pieces, and human ratings."""

from __future__ import annotations

from keybed.experiments.evaluation.curve_results import BEST_HEAD, RIDGE, CurveResults, RatingCurve
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.learning_curve import FARTHEST
from keybed.experiments.evaluation.model_names import SINGLES, SPECIALISTS
from keybed.experiments.reports.curve_plot import rating_plot, size_curve
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.first_use import SPECIFIC_R
from keybed.experiments.reports.page import Cell, Section, Table, with_interval
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

_ON_PAGE = {
    "mean of the seven": "Mean of the seven dimensions",
    "technical": "Technical dimensions",
    "interpretive": "Musical expression",
}

_PLAIN = {
    "mean of the seven": "How much better playing is judged the more performances a model has learnt from.",
    "technical": "The same for technique: right notes, rhythm, touch, pedal, clean sound and dynamics.",
    "interpretive": "The same for expression: how phrases breathe and grow.",
}


def parts(results: CurveResults) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    below = [
        f"The number is mean {SPECIFIC_R} on {counted(results.rows.pieces, 'test piece')}. Intervals: 95 %, test pieces and "
        f"draws resampled together. Extrapolated intervals reach over two forms, a power law that levels off and a straight line "
        f"in the logarithm; beyond {FARTHEST:.0f} times the measured segments no size is given. They hold for pieces, encoders and "
        "heads like these.",
    ]
    sections = [
        *(_curve(results, group) for group in _ON_PAGE),
        _binding(results),
        _sizes(results),
        _dimensions(results),
        *([] if results.ratings is None else [_ratings(results.ratings)]),
    ]
    return [results.answer], below, sections


def _curve(results: CurveResults, group: str) -> Section:
    needed = results.needed.get(group, {}).get(BEST_HEAD)
    curve = results.curves[group][BEST_HEAD]
    ahead = "; ".join(f"× {m}: {with_interval(v, 2)}" for m, v in curve.ahead.items())
    text = [
        f"Best head, {with_interval(curve.observed, 2)} at all training pieces. Extrapolated to more segments: {ahead}. "
        f"Check: the smaller sizes alone predict {with_interval(curve.backtest, 2)} for the largest."
    ]
    ridge = results.curves[group][RIDGE]
    text.append(
        f"Ridge, {with_interval(ridge.observed, 2)}; at 4 times the segments {with_interval(ridge.ahead['4'], 2)}."
    )
    picture = size_curve(results.cells, group, results.curves[group], None if needed is None else needed.target)
    return Section(_ON_PAGE[group], _PLAIN[group], text, pictures=[picture])


def _binding(results: CurveResults) -> Section:
    changes = {
        "a quarter of the rows, from a quarter of the pieces to all": "more_pieces",
        "a sixteenth of the rows, from a sixteenth of the pieces to all": "fewest",
        "all pieces, from a quarter of their segments to all": "more_rows",
        "from a quarter of the pieces to all, with all their segments": "both",
    }
    rows: list[list[Cell]] = [
        [words, *(with_interval(getattr(b, field)) for b in results.binding.values())]
        for words, field in changes.items()
    ]
    plain = "What teaches more about playing: more passages of the same music, or more music."
    text = ["Change of mean specific r, paired over test pieces and draws."]
    text += [f"{model[0].upper()}{model[1:]}: {b.words}." for model, b in results.binding.items()]
    return Section(
        "Rows or pieces",
        plain,
        text,
        tables=[Table(["change", *results.binding], rows, numeric=range(1, 1 + len(results.binding)))],
    )


def _sizes(results: CurveResults) -> Section:
    models = (BEST_HEAD, SPECIALISTS, RIDGE, *SINGLES)
    rows: list[list[Cell]] = [
        [
            *(f"{c.pieces_16}/16", f"{c.segments_16}/16", number(c.pieces, 1), f"{c.segments:,.0f}", f"{c.rows:,.0f}"),
            *(with_interval(c.r["mean of the seven"][m], 3) for m in models),
        ]
        for c in results.cells
    ]
    head = ["pieces", "of their segments", "pieces", "segments", "rows", *(label(m) for m in models)]
    text = [
        f"Means over {counted(results.rows.folds, 'fold')} and {counted(results.draws, 'draw')}. Every size takes the steps of "
        f"{counted(results.epochs, 'epoch')} on all training rows; the best epoch, the ridge penalty and the specialists are chosen on whole "
        "validation pieces, which favours small sizes a little. Concatenation stands for the fusions."
    ]
    return Section(
        "Every training set",
        "How well playing is judged after learning from each number of performances.",
        text,
        tables=[Table(head, rows, numeric=tuple(range(len(head))))],
        wide=True,
    )


def _dimensions(results: CurveResults) -> Section:
    whole = [c for c in results.cells if c.segments_16 == 16]
    rows: list[list[Cell]] = [
        [label(d), *(with_interval(c.by_dimension[d], 2) for c in whole)] for d in AXIS_DIMENSIONS
    ]
    head = ["dimension", *(f"at {c.segments:,.0f}" for c in whole)]
    plain = "Which qualities of playing are learnt from few performances, and which need many."
    text = ["Specific r at each number of training segments, of whole pieces."]
    table = Table(head, rows, numeric=tuple(range(1, len(head))))
    return Section("Best head by dimension", plain, text, tables=[table], wide=True)


def _ratings(ratings: RatingCurve) -> Section:
    names = list(ratings.sizes[0].trained)
    rows: list[list[Cell]] = [
        [
            *(str(s.passages), f"{s.performances:.0f}"),
            *(with_interval(v, 2) for m in names for v in (s.trained[m], s.over_zero_shot[m])),
        ]
        for s in ratings.sizes
    ]
    head = ["rated passages", "human performances", *(h for m in names for h in (m, "minus zero-shot"))]
    plain = "How many passages pianists must rate until a model follows their ear better than one that knows no rating."
    text = [
        f"PercePiano: mean within-passage r over {counted(len(ratings.questions), 'question')} ({'; '.join(ratings.questions)}), composition "
        f"held out, {counted(ratings.compositions, 'composition')}; players and passages are resampled. Zero-shot, the "
        f"{ratings.head} head of {ratings.run}: {with_interval(ratings.zero_shot, 2)}.",
        "A comparative model reads the notes of all performances of a passage and none of their ratings.",
    ]
    return Section(
        "Human ratings: how many rated passages", plain, text, pictures=[rating_plot(ratings)],
        tables=[Table(head, rows, numeric=tuple(range(len(head))))], wide=True,
    )  # fmt: skip
