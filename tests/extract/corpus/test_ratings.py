from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.corpus.columns import pairs_of
from keybed.extract.corpus.durations import with_durations
from keybed.extract.corpus.layouts import read_corpus
from keybed.extract.corpus.metadata import Corpus, CorpusError, Recording
from keybed.extract.corpus.percepiano import SCALES
from keybed.extract.corpus.rated_passages import rated_passages, window_starts
from keybed.extract.corpus.ratings import Passage, read_ratings, scale_of
from keybed.extract.progress import silent
from tests.extract.corpus.small_music import scale_file

WIDE = "file,rater,timing,overall\na.mid,Ann,1,7\na.mid,Bob,3,\nb.mid,Ann,n/a,4\n"
LONG = "file,rater,dimension,rating\na.mid,Ann,timing,1\na.mid,Ann,overall,7\na.mid,Bob,timing,3\nb.mid,Ann,overall,4\n"


def corpus_of(*names: str, seconds: float | None = 30.0) -> Corpus:
    recordings = (Recording(i, "", name, "", "", name, "", seconds) for i, name in enumerate(names))
    return Corpus(Path("music"), Path("music"), b"", tuple(recordings))


@pytest.mark.parametrize("text", [WIDE, LONG])
def test_raters_are_averaged_and_their_spread_is_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    ratings = read_ratings(tmp_path / "r.csv", {}, (1, 7))
    assert ratings.dimensions == ("timing", "overall")
    a, b = ratings.passages
    np.testing.assert_array_equal(a.mean, [2, 7])
    np.testing.assert_allclose(a.sd, [2**0.5, np.nan])  # of 1 and 3, divided by n − 1
    np.testing.assert_array_equal(a.n, [2, 1])
    np.testing.assert_array_equal(b.mean, [np.nan, 4])
    np.testing.assert_array_equal(b.n, [0, 1])
    assert "a passage has at most 2 ratings of a dimension" in ratings.remarks[-1]


def test_columns_of_ratings_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("clip,von,bis,sauber,Notiz\nx,0,8.5,4,gut\nx,8.5,20,2,\n")
    given = pairs_of(("file=clip", "start=von", "end=bis", "note_accuracy=sauber"), "--labels-columns")
    ratings = read_ratings(tmp_path / "r.csv", given, (1, 5))
    assert ratings.dimensions == ("note_accuracy",)
    assert [(p.file, p.start_s, p.end_s) for p in ratings.passages] == [("x", 0, 8.5), ("x", 8.5, 20)]
    assert "columns of r.csv that were not read as ratings: Notiz" in ratings.remarks
    near = read_ratings(tmp_path / "r.csv", {**given, "note_acuracy": "sauber"}, (1, 5))
    assert "note_acuracy is a dimension of its own; did you mean note_accuracy?" in near.remarks


@pytest.mark.parametrize(
    ("text", "given", "scale", "message"),
    [
        ("a,b\n1,2\n", (), (1, 5), "no column file; its columns are a, b"),
        ("file,x\na,6\n", (), (1, 5), "line 2: 6 for x lies outside --label-scale 1,5"),
        ("file,x\na,2\nb,4\n", (), None, "its ratings run from 2 to 4; say what the worst and the best"),
        ("file,x\na,2\n", ("notes=y",), (1, 5), "has no column y; its columns are file, x"),
        ("file,x\na,two\n", ("notes=x",), (1, 5), "line 2: x is 'two', no number"),
        ("file,x\na,\n", ("notes=x",), (1, 5), "no rating in it"),
        ("file,x\na,two\n", (), (1, 5), "no column of ratings"),
        ("file,start,end,x\na,5,3,2\n", (), (1, 5), "line 2: a passage from 5.0 to 3.0 s"),
        ("file,dimension,rating\na,tone,2\n", ("tone_quality=ton",), (1, 5), "never says ton; did you mean tone?"),
    ],
)
def test_wrong_ratings_are_refused_by_line(
    tmp_path: Path, text: str, given: tuple[str, ...], scale: tuple[float, float] | None, message: str
) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(CorpusError) as caught:
        read_ratings(tmp_path / "r.csv", pairs_of(given), scale)
    assert message in str(caught.value)


def test_the_scale_has_two_ends() -> None:
    assert scale_of(("7", "1")) == (7, 1)
    for wrong in (("1",), ("1", "1"), ("a", "7"), ("1", "nan")):
        with pytest.raises(CorpusError, match="give the worst rating, then the best"):
            scale_of(wrong)


def test_ratings_of_absent_files_are_counted_and_named(tmp_path: Path) -> None:
    names = ["étude 1.mid", *(f"no{i}.wav" for i in range(7)), "late"]
    (tmp_path / "r.csv").write_text(
        "file,start,x\n" + "".join(f"{name},{40 if name == 'late' else ''},3\n" for name in names), encoding="utf-8"
    )
    ratings = read_ratings(tmp_path / "r.csv", {}, (1, 5))
    rated = rated_passages(corpus_of("set/étude 1.mid", "late.mid", "unrated.mid"), ratings)
    assert [one.recording for one in rated.passages] == [0]
    assert rated.remarks == (
        "ratings for files that do not exist: 7 (no0.wav, no1.wav, no2.wav, no3.wav, no4.wav and 2 more)",
        "ratings of passages beyond the end of their file: 1 (late from 40 s)",
        "recordings without a rating, left out: 2",
    )
    with pytest.raises(
        CorpusError, match=r"none of its 9 passages is of a file of the corpus \(the first: étude 1.mid"
    ):
        rated_passages(corpus_of("b.mid"), ratings)
    with pytest.raises(CorpusError, match=r"étude 1.mid may be a/étude 1.mid and b/étude 1.mid; write the path"):
        rated_passages(corpus_of("a/étude 1.mid", "b/étude 1.mid"), ratings)


def test_a_dimension_that_runs_against_the_others_is_a_warning(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    quality = random.uniform(1, 7, 30)
    columns = np.column_stack([quality, quality, 8 - quality]) + random.normal(0, 0.2, (30, 3))
    lines = [f"f{i}.mid," + ",".join(f"{min(7, max(1, v)):.2f}" for v in row) for i, row in enumerate(columns)]
    (tmp_path / "r.csv").write_text("\n".join(("file,timing,tone,pedal", *lines)))
    ratings = read_ratings(tmp_path / "r.csv", {}, (1, 7))
    warnings = [r for r in rated_passages(corpus_of(*(f"f{i}.mid" for i in range(30))), ratings).remarks if "WARN" in r]
    assert len(warnings) == 1
    assert warnings[0].startswith("WARNING: pedal runs against the mean of the other dimensions (r = -0.9")


def test_windows_of_a_passage() -> None:
    (recording,) = corpus_of("a.mid").recordings
    nothing = (np.zeros(1), np.zeros(1), np.zeros(1, np.int64))
    cases = {(None, None): [0.0, 6.2, 12.4, 18.6], (5.0, 25.0): [5.0, 11.2], (5.0, 9.0): [5.0], (25.0, None): [25.0]}
    for (start, end), expected in cases.items():
        assert window_starts(recording, Passage("a", start, end, *nothing), 10.0, 6.2) == pytest.approx(expected)


def test_percepiano_is_a_corpus_with_ratings(tmp_path: Path) -> None:
    names = ["Schubert_D960_mv3_8bars_1_1", "Schubert_D960_mv3_8bars_2_1"]
    (tmp_path / "labels").mkdir()
    for number, name in enumerate(names):
        scale_file(tmp_path / "midi" / f"{name}.mid", 12, lowest=40 + number)
    means = {name: [0.25 + 0.5 * number] * 20 for number, name in enumerate(names)}
    (tmp_path / "labels" / "label_mean_19.json").write_text(json.dumps(means))
    (tmp_path / "labels" / "label_std_19.json").write_text(json.dumps({names[0]: [0.125] * 20}))
    given = pairs_of(("rhythmic_stability=timing_stable_unstable", "mood=mood_low_high_energy"))
    ratings = read_ratings(tmp_path / "labels", given, None)
    assert ratings.dimensions == ("rhythmic_stability", "mood")
    assert [p.mean.tolist() for p in ratings.passages] == [[0.25, 0.25], [0.75, 0.75]]
    assert ratings.passages[0].sd.tolist() == [0.125, 0.125]
    assert np.isnan(ratings.passages[1].sd).all()
    assert len(read_ratings(tmp_path / "labels", {}, None).dimensions) == len(SCALES)
    corpus = with_durations(read_corpus(tmp_path), 1, silent)
    assert [one.recording for one in rated_passages(corpus, ratings).passages] == [0, 1]
    with pytest.raises(CorpusError, match="PercePiano has no scale timing_stable; did you mean"):
        read_ratings(tmp_path / "labels", {"x": "timing_stable"}, None)
