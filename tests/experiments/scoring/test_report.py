"""The pages of scored recordings: what stands on them, and their sound."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed.experiments.scoring.human_agreement import AGREEMENT, COMPARED, agreement_in_words
from keybed.experiments.scoring.report import write_report
from keybed.experiments.scoring.results import FailedFile, LookedAt, ScoreResults
from keybed.experiments.scoring.sound_file import BLOCK_S, write_flac
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.store.errors import KeybedError
from tests.experiments.scoring.made_scores import make_results

ROOT = Path(__file__).resolve().parents[3]


def words(page: str) -> str:
    text = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_the_agreement_with_people_is_that_of_the_findings():
    findings = (ROOT / "experiments" / "FINDINGS.md").read_text()
    table = findings.partition("## Human ratings: PercePiano")[2].partition("**Models that learn")[0]
    columns = [c.strip() for c in re.search(r"^\| dimension and scale \|(.*)\|$", table, re.MULTILINE)[1].split("|")]
    newest = max(columns, key=lambda name: int(name.removeprefix("version ")))
    mean = re.search(r"^\| mean of the six \|(.*)\|$", table, re.MULTILINE)[1].split("|")[columns.index(newest)]
    assert newest == f"version {AGREEMENT.degradation_version}"
    assert mean.split() == [f"{AGREEMENT.mean_r:.2f}", "(goal", f"{AGREEMENT.goal:.2f},", "missed)"]
    number = {0: "none", 1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
    stated = f"people on {number[AGREEMENT.agreeing]} of {number[AGREEMENT.questions]} questions."
    assert stated in " ".join(table.split())
    assert "agreed with the human ratings of PercePiano on 0 of 6 questions (mean r 0.08" in agreement_in_words()


def test_the_agreement_of_compared_performances_is_that_of_the_tables():
    tables = (ROOT / "docs" / "findings-tables.md").read_text()
    table = tables.partition("**A difference ridge agrees with people")[2]
    columns = [c.strip() for c in re.search(r"^\| dimension and scale \|(.*)\|$", table, re.MULTILINE)[1].split("|")]
    at = columns.index("`expressive`, 8,000 rows")
    lines = re.findall(r"^\| (?!dimension|minus)([^|]+) \|(.*)\|$", table.partition("\nThese are")[0], re.MULTILINE)
    cells = {name: values.split("|")[at].strip() for name, values in lines}
    assert cells.pop("mean of the six").startswith(f"{COMPARED.mean_r:.2f} (")
    assert len(cells) == COMPARED.questions
    assert sum(cell.startswith("**") for cell in cells.values()) == COMPARED.agreeing


def test_one_file_is_one_page_with_its_sound(tmp_path):
    written = write_report(make_results('take "1" & <b>.mid'), tmp_path)
    assert [path.name for path in written] == ["report.html", "sound.flac"]
    page = written[0].read_text()
    assert "<b>.mid" not in page.split("<script")[0]
    text = words(page)
    assert "80 (70–88)" in text
    assert "A remark." in text
    assert "fewer than" not in text  # reasons stand with their counts
    assert "the pedal is lifted less than twice in the window (10)" in text
    data = json.loads(re.search(r'id="score-data">(.*?)</script>', page, re.DOTALL)[1])
    assert len(data["windows"]) == 16
    assert data["dimensions"][3]["score"][:2] == [None, None]
    assert data["reasons"][data["dimensions"][3]["reason"][0]].startswith("the pedal is lifted")
    audio, rate = soundfile.read(written[1])
    assert (rate, audio.size) == (24_000, 40 * 24_000)


def test_the_extreme_passages_and_what_the_heads_looked_at(tmp_path):
    text = words(write_report(make_results("a.mid"), tmp_path)[0].read_text())
    # Window k scores 90 - 2k; the last of 16 has 20 more: the weakest is window 14, from 28 s, the strongest window 0.
    assert "Weakest passage Play 0:28.0–0:38.0" in text
    assert "Strongest passage Play 0:00.0–0:10.0" in text
    # Weights 1..20 of 210: the last three bins hold 57 of 210 = 27 %, and are 15 % of the time.
    assert "27 % of the weight at 0:36.5, 0:37.0, 0:37.5 (15 % if all moments counted alike)" in text
    assert "70 % / 30 %" in text


def test_it_says_what_a_score_can_and_cannot_mean(tmp_path):
    text = words(write_report(make_results("a.mid"), tmp_path)[0].read_text())
    assert "learned from performances that a program degraded" in text
    assert "It has not been shown that such scores agree with people" in text
    assert "Where the sound was rendered from the notes, it says nothing about the recording" in text
    assert "The gate of the run ended with NO-GO." in text
    assert "91 % (least piece 72 %)" in text


def test_several_files_are_compared_and_the_unreadable_one_is_named(tmp_path):
    failed = (FailedFile("bad.mid", "/music/bad.mid", "not a MIDI file"),)
    written = write_report(make_results("a.mid", "b.mid", failed=failed), tmp_path)
    assert [p.name for p in written] == ["report.html", "file-1.html", "file-2.html", "sound-1.flac", "sound-2.flac"]
    page = written[0].read_text()
    text = words(page)
    assert 'href="file-2.html"' in page
    assert "b.mid compared with a.mid" in text
    assert "Over the 16 passages that both play" in text
    assert "Note accuracy −7.0 −22.0 to +8.0 2 of 16 −3.0 16" in text
    assert "Note accuracy 0.74 88 % 31" in text
    assert "agreed with the human ratings of PercePiano on 3 of 6 questions (mean r 0.14" in text
    assert "bad.mid: not a MIDI file" in text
    assert 'href="report.html"' in written[1].read_text()


def test_a_model_that_compares_nothing_shows_the_difference_of_the_scores_alone(tmp_path):
    results = make_results("a.mid", "b.mid")
    (comparison,) = results.record.comparisons
    plain = replace(
        comparison,
        passages=tuple(replace(p, compared={}) for p in comparison.passages),
        compared={},
        passages_compared={},
        passages_better={},
    )
    card = replace(results.record.model, comparing=None)
    record = replace(results.record, comparisons=(plain,), model=card)
    text = words(write_report(replace(results, record=record), tmp_path)[0].read_text())
    assert "Note accuracy −3.0 16" in text
    assert "How far to trust" not in text


def test_a_sound_that_cannot_be_made_leaves_a_page_that_says_so(tmp_path):
    results = make_results("a.mid")

    def broken(start_s, end_s):
        raise KeybedError("take.wav: the file is gone")

    results = ScoreResults(results.record, (replace(results.music[0], sound=broken),))
    (page,) = write_report(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html"]
    assert "Without sound: take.wav: the file is gone" in page.read_text()
    assert "<audio preload" not in page.read_text()


def test_heads_without_attention_and_files_without_judged_windows(tmp_path):
    results = make_results("a.mid")
    page = write_report(ScoreResults(results.record, (replace(results.music[0], looked_at=LookedAt()),)), tmp_path)[
        0
    ].read_text()
    assert "audio / MIDI" not in page
    assert 'class="looked"' not in page
    file = results.record.files[0]
    none = {
        name: replace(whole, score=None, lower=None, upper=None, windows_judged=0) for name, whole in file.whole.items()
    }
    bare = replace(file, windows=(), whole=none)
    text = words(write_report(replace(results, record=replace(results.record, files=(bare,))), tmp_path)[0].read_text())
    assert "not judged" in text
    assert "Weakest" not in text


def test_a_long_sound_is_written_without_seams_or_steps(tmp_path):
    """Blocks that come at other loudnesses, as a renderer that normalises each of them gives them."""
    seconds = 2 * BLOCK_S + 30

    def sound(start_s, end_s):
        t = start_s + np.arange(round((end_s - start_s) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        return ((0.2 + 0.1 * (start_s > 0)) * np.sin(2 * np.pi * 5 * t)).astype(np.float32)

    audio, _ = soundfile.read(write_flac(sound, seconds, tmp_path / "long.flac"), dtype="float32")
    expected = 0.2 * np.sin(2 * np.pi * 5 * np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)
    np.testing.assert_allclose(audio, expected, atol=2e-3)


@pytest.mark.parametrize("seconds", [0.5, BLOCK_S, BLOCK_S + 1, BLOCK_S + 2, BLOCK_S + 3])
def test_every_length_is_whole(seconds, tmp_path):
    def sound(start_s, end_s):
        return np.zeros(round((end_s - start_s) * SAMPLE_RATE_HZ), np.float32)

    info = soundfile.info(write_flac(sound, seconds, tmp_path / "x.flac"))
    assert info.frames == round(seconds * SAMPLE_RATE_HZ)
