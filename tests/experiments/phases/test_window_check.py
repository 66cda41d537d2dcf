"""Windows of several lengths: who may be compared, what is concluded, and the whole way from plan to page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from keybed import store as stores
from keybed.experiments.data.run_folder import RunTaken
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.phases.config import WindowCheckConfig
from keybed.experiments.phases.window_check import (
    WindowsMixed,
    check_alike,
    context_verdict,
    run_window_check,
)
from keybed.experiments.reports.report import render
from keybed.extract.config import PlanConfig
from keybed.extract.demo.corpus import write_demo_corpus
from keybed.extract.planning.plan import plan

QUIET = Console(quiet=True)


def test_context_counts_only_where_intervals_do_not_meet() -> None:
    short, middle, long = Interval(0.2, 0.1, 0.3), Interval(0.3, 0.2, 0.4), Interval(0.5, 0.4, 0.6)
    assert context_verdict([short, middle, long])[0] == "context matters"
    assert context_verdict([short, middle])[0] == "not shown"
    assert context_verdict([long, middle, short])[0] == "not context"
    assert context_verdict([short, Interval(0.9, float("nan"), float("nan"))])[0] == "not shown"


def test_only_stores_that_differ_in_their_windows_are_compared(make_store: Callable[..., Path]) -> None:
    ten, twenty, other = (
        stores.open(make_store(3, 2, window_s=window, seed=seed)) for window, seed in ((10, 0), (20, 0), (20, 1))
    )
    check_alike([ten, twenty])
    with pytest.raises(WindowsMixed, match="two stores at least"):
        check_alike([ten])
    with pytest.raises(WindowsMixed, match="degradation"):
        check_alike([ten, other])
    with pytest.raises(WindowsMixed, match="one window length"):
        check_alike([ten, ten])


def test_stores_of_one_corpus_under_one_limit_are_alike_though_they_use_other_recordings(tmp_path: Path) -> None:
    corpus = write_demo_corpus(tmp_path / "corpus", n_pieces=4, n_players=2, seconds=24)
    opened = []
    for window, bins, limit in ((5, 10, 7), (10, 20, 5), (20, 40, 5)):
        path = tmp_path / f"store-{window}"
        encoders = ("placeholder-audio", "placeholder-midi")
        plan(PlanConfig(corpus, path, window_s=window, n_bins=bins, limit=limit, encoders=encoders, jobs=1))
        opened.append(stores.open(path))
    used = [{entry["recording"] for entry in store.recordings if entry["used"]} for store in opened]
    assert used[0] != used[1], "else this test shows nothing"
    check_alike(opened)
    first = corpus / opened[0].recordings[0]["midi"]
    first.write_bytes(first.read_bytes() + b"alien\0\0\0")
    changed = PlanConfig(corpus, tmp_path / "changed", window_s=10, limit=5, encoders=encoders, jobs=1)
    plan(changed)
    with pytest.raises(WindowsMixed, match=r"differ in corpus: .* \(corpus\.midi_sha256: "):
        check_alike([opened[0], stores.open(changed.store)])


@pytest.mark.slow
def test_a_store_that_shows_more_in_longer_windows_is_recognised(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    paths = tuple(make_store(12, 4, window_s=window, noise=noise) for window, noise in ((20.0, 0.2), (5.0, 8.0)))
    config = WindowCheckConfig(paths, tmp_path / "run", epochs=6, seeds=2, hidden=16, folds=3)
    report = run_window_check(config, QUIET)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [w["window_s"] for w in results["windows"]] == [5.0, 20.0]
    assert results["word"] == "context matters"
    page = report.read_bytes()
    assert results["verdict"] in re.sub(r"<[^>]+>", "", page.decode())
    assert b"http://" not in page.replace(b"http://www.w3.org", b"")
    assert render(tmp_path / "run").read_bytes() == page
    with pytest.raises(RunTaken):
        run_window_check(WindowCheckConfig(paths, tmp_path / "run", epochs=3), QUIET)


@pytest.mark.slow
def test_the_documented_commands_lead_to_a_page(keybed, tiny_maestro: Path, tmp_path: Path) -> None:
    paths = []
    for window, bins in ((5, 10), (20, 40)):
        path = tmp_path / f"store-{window}"
        encoders = ("--encoders", "placeholder-audio,placeholder-midi")
        shape = ("--window", str(window), "--bins", str(bins), "--limit", "10")
        keybed("plan", tiny_maestro, path, *encoders, *shape, "--jobs", "1")
        keybed("extract", path, "--workers", "0")
        paths.append(path)
    printed = keybed("window-check", *paths, "--out", tmp_path / "run", "--epochs", "1", "--seeds", "2").stdout
    assert "20 s" in printed
    assert (tmp_path / "run" / "report.html").is_file()
    assert "report" in keybed("report", tmp_path / "run").stdout
