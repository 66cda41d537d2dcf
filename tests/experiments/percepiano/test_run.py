"""The whole command on small constructed data: every row that it promises, and zero-shot from heads of a store."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.cli.main import main
from keybed.experiments.cli.render_any import render_any
from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.percepiano import regressors
from keybed.experiments.percepiano.config import HeadPlan, PercepianoConfig
from keybed.experiments.percepiano.results import PercepianoResults
from keybed.experiments.percepiano.run import percepiano
from keybed.extract.music.performance import Performance
from keybed.heads import data
from keybed.store.format.vocabulary import DIMENSIONS

GATED = "gated head on logmel and expressive"
PLAYERS = ("score", "u", "v", "w", "x")


@pytest.fixture(autouse=True)
def cheap(monkeypatch) -> None:
    """These tests ask which models are tested, not how well they do: few trees, and one compiled step for folds of every size."""
    monkeypatch.setattr(regressors, "N_TREES", 3)
    monkeypatch.setattr(data, "_resident_limit", lambda: 0)  # batches are streamed, so that only their size is compiled


def beginning(p: Performance, seconds: float) -> Performance:
    """Its notes that begin in the first seconds: one window."""
    n = int(np.searchsorted(p.onset_s, seconds))
    return Performance(p.onset_s[:n], p.offset_s[:n], p.pitch[:n], p.velocity[:n])


@pytest.fixture(scope="module")
def folder(ratings, write, tmp_path_factory) -> Path:
    """Two passages of two compositions, a few seconds each, by four players and a score, as files."""
    out = tmp_path_factory.mktemp("published")
    (out / "labels").mkdir()
    (out / "midi").mkdir()
    kept = [i for i, n in enumerate(ratings.names) if n[0] in "AB" and n[-1] in "01" and ratings.player[i] in PLAYERS]
    assert len(kept) == 20
    for i in kept:
        write(out / "midi" / f"{ratings.names[i]}.mid", beginning(ratings.performances[i], 4.0))
    for kind, values in (("mean", ratings.rating), ("std", ratings.sd)):
        (out / "labels" / f"label_{kind}_reg.json").write_text(
            json.dumps({ratings.names[i]: values[i].tolist() for i in kept})
        )
    return out


def read(run: Path) -> dict:
    """results.json, which reads as its dataclass and is written from it again as it was."""
    data = json.loads((run / "results.json").read_text())
    assert plain(from_json(PercepianoResults, data, run / "results.json")) == data
    return data


@pytest.mark.slow
def test_heads_baselines_and_marked_noise_stand_in_every_protocol(folder, tmp_path) -> None:
    run = tmp_path / "run"
    plan = HeadPlan(kinds=("gated",), epochs=1, seeds=1, hidden=8, batch_rows=3)
    names = ("logmel", "expressive", "midibert")
    config = PercepianoConfig(folder, run, encoders=names, weights="random:tiny", heads=plan, replicates=5)
    percepiano(config, Console(quiet=True))
    protocols = read(run)["protocols"]
    assert set(protocols) == {"segment-grouped", "performer-disjoint", "one composition out"}
    for protocol in protocols.values():
        rows = protocol["models"]
        for on in ("logmel", "expressive", "logmel + expressive", "midibert (random weights)"):
            for kind in ("ridge on", "trees on", "comparative ridge on"):
                assert np.isfinite(rows[f"{kind} {on}"]["within_r"]["value"]), (kind, on)
            assert np.isfinite(rows[f"ridge on {on}"]["r2"])
        assert np.isfinite(rows[GATED]["r2"])
        assert rows[f"comparative {GATED}"]["r2"] is None  # deviations have no level
        assert -1 <= rows[f"comparative {GATED}"]["within_r"]["value"] <= 1
    page = (run / "report.html").read_text()
    assert "midibert (random weights)" in page
    assert "midibert: seeded random weights" in page
    assert render_any(run, None).read_text() == page
    kept = sorted(run.glob("windows-*.npz"))
    assert [p.name.split("-")[1] for p in kept] == ["expressive", "logmel", "midibert"]


def test_zero_shot_uses_the_runs_own_heads_and_refuses_others(folder, tiny_maestro, tmp_path, capsys) -> None:
    import jax

    from keybed.experiments.data.run_folder import write_json
    from keybed.extract.config import PlanConfig
    from keybed.extract.planning.plan import plan
    from keybed.heads import fitted
    from keybed.heads.fit_config import FitConfig
    from keybed.heads.inputs import from_arrays
    from keybed.heads.models import HeadConfig, init
    from keybed.heads.normalisation import measure
    from keybed.store import open as open_store

    paths = [tmp_path / "store", tmp_path / "other"]
    for seed, path in enumerate(paths):
        plan(PlanConfig(tiny_maestro, path, encoders=("logmel", "expressive"), jobs=1, seed=seed))
    store = open_store(paths[0])  # planned and empty: its recipe says how to encode
    audio, midi = (store.recipe.encoder(name) for name in ("logmel", "expressive"))
    rng, n = np.random.default_rng(0), 16
    rows = from_arrays(
        audio_frames=rng.normal(size=(n, audio.n_bins, len(audio.frame_stats) * audio.width)),
        midi_frames=rng.normal(size=(n, midi.n_bins, len(midi.frame_stats) * midi.width)),
        score=rng.uniform(50, 100, (n, len(DIMENSIONS))),
        valid=np.ones((n, len(DIMENSIONS)), bool),
        segment=np.arange(n) // 4,
        row=np.arange(n),
    )
    heads = {"gated": HeadConfig(kind="gated", hidden=8), "audio": HeadConfig(kind="audio", hidden=8)}
    shapes = jax.eval_shape(lambda: {name: init(head, jax.random.key(0), rows) for name, head in heads.items()})
    params = jax.tree.map(lambda a: rng.normal(size=(2, *a.shape)).astype(np.float32), shapes)
    normalisation = measure([rows], batch_rows=n, max_rows=None)
    config = FitConfig(batch_rows=n, seeds=(0, 1))
    best = {name: [0, 0] for name in heads}
    fit = fitted.FitResult(heads, params, normalisation, config, [], best, store.fingerprint, 0)
    run2 = tmp_path / "run2"
    run2.mkdir()
    fitted.save(run2 / "heads.npz", fit)
    write_json(run2 / "results.json", {"pair": {"audio": "logmel", "midi": "expressive", "view": "frames"}})

    command = ["phase5", "percepiano", str(folder), "--out", str(tmp_path / "run"), "--after", str(run2), "--no-heads"]
    command += ["--replicates", "5"]
    assert main([*command, "--store", str(paths[0])]) == 0
    assert "performances are not compared" in capsys.readouterr().out
    without = read(tmp_path / "run")["zero_shot"]
    assert without["compared"] is None
    assert "extract" in without["why_not_compared"]
    assert "Performances were not compared" in (tmp_path / "run" / "report.html").read_text()
    assert main(["extract", str(paths[0])]) == 0
    assert main([*command, "--store", str(paths[0])]) == 0
    zero = read(tmp_path / "run")["zero_shot"]
    compared = zero["compared"]
    assert [a["question"] for a in compared["answers"]] == [a["question"] for a in zero["answers"]]
    assert set(compared["each"]) == {"audio", "midi", "both"}
    assert compared["over_head"]["value"] == pytest.approx(compared["mean"]["value"] - zero["mean"]["value"])
    assert set(compared["test_r"]) == set(DIMENSIONS)
    asked = [(a["question"]["dimension"], a["words"]) for a in zero["answers"] if a["confirmatory"]]
    assert asked == [
        ("rhythmic_stability", "−1"),
        ("pedal_technique", "−5"),
        ("pedal_technique", "−5 given 4"),
        ("dynamic_range", "+11"),
        ("musical_expression", "+13, 15, 18"),
        ("overall_interpretation", "+19"),
    ]
    assert all(-1 <= a["r"]["value"] <= 1 for a in zero["answers"])
    assert set(zero["other_heads"]) == {"gated", "audio"}
    assert not any(a["question"]["dimension"] == DIMENSIONS[0] for a in zero["answers"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "never met a human rating" in page
    assert "it cannot score a performance that has no others" in page

    windows = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("windows-*.npz")}
    capsys.readouterr()
    assert main([*command, "--store", str(paths[1])]) != 0
    assert "was trained on another store" in " ".join(capsys.readouterr().err.split())
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("windows-*.npz")} == windows  # nor rendered twice
