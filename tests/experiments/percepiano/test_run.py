"""The whole command on small constructed data: every row that it promises, and zero-shot from a real store's heads."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.cli import main
from store.schema import DIMENSIONS

TINY = ["--epochs", "1", "--seeds", "1", "--heads", "gated", "--replicates", "20"]


@pytest.fixture(scope="module")
def folder(ratings, write, tmp_path_factory) -> Path:
    """Two passages of two compositions by six players and a score, as files."""
    out = tmp_path_factory.mktemp("published")
    (out / "labels").mkdir()
    (out / "midi").mkdir()
    kept = [i for i, name in enumerate(ratings.names) if name[0] in "AB" and name[-1] in "01"]
    for i in kept:
        write(out / "midi" / f"{ratings.names[i]}.mid", ratings.performances[i])
    for kind, values in (("mean", ratings.rating), ("std", ratings.sd)):
        (out / "labels" / f"label_{kind}_reg.json").write_text(
            json.dumps({ratings.names[i]: values[i].tolist() for i in kept})
        )
    return out


def read(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


@pytest.mark.slow
def test_heads_baselines_and_marked_noise_stand_in_every_protocol(folder, tmp_path) -> None:
    run = tmp_path / "run"
    names = ["--encoders", "logmel,expressive,mert,midibert", "--weights", "random:tiny"]
    assert main(["phase5", "percepiano", str(folder), "--out", str(run), *names, *TINY]) == 0
    found = read(run)["protocols"]
    assert set(found) == {"segment-grouped", "performer-disjoint", "one composition out"}
    for protocol in found.values():
        rows = protocol["models"]
        for on in ("logmel", "expressive", "logmel + expressive", "mert + midibert (random weights)"):
            for kind in ("ridge on", "trees on", "comparative ridge on"):
                assert np.isfinite(rows[f"{kind} {on}"]["within_r"]["value"]), (kind, on)
            assert np.isfinite(rows[f"ridge on {on}"]["r2"])
        assert np.isfinite(rows["head: gated"]["r2"])
        assert rows["comparative head: gated"]["r2"] is None  # departures have no level
        assert -1 <= rows["comparative head: gated"]["within_r"]["value"] <= 1
    page = (run / "report.html").read_text()
    assert "mert + midibert (random weights)" in page
    assert "mert: seeded random weights" in page
    kept = sorted(run.glob("windows-*.npz"))
    assert [p.name.split("-")[1] for p in kept] == ["expressive", "logmel", "mert", "midibert"]
    before = [p.stat().st_mtime_ns for p in kept]
    assert main(["phase5", "percepiano", str(folder), "--out", str(run), "--no-heads", "--replicates", "20"]) == 0
    assert [p.stat().st_mtime_ns for p in sorted(run.glob("windows-*.npz"))] == before  # nothing is rendered twice


@pytest.mark.slow
def test_zero_shot_uses_the_runs_own_heads_and_refuses_others(folder, shared_data, tmp_path) -> None:
    from experiments.run_folder import write_json
    from extract.plan import PlanConfig, plan
    from extract.worker import ExtractConfig, extract
    from heads import train
    from heads.feed import ArrayData
    from heads.inputs import from_arrays
    from heads.loop import FitConfig
    from heads.models import HeadConfig
    from store import open as open_store

    paths = [tmp_path / "store", tmp_path / "other"]
    for seed, path in enumerate(paths):
        plan(
            PlanConfig(
                shared_data / "maestro-mini", path, limit=40, encoders=("logmel", "expressive"), jobs=1, seed=seed
            )
        )
    extract(ExtractConfig(paths[0], workers=0))
    store = open_store(paths[0])
    rows = store.rows()
    batch = from_arrays(
        audio_frames=store.read("audio/logmel/frames", rows.index),
        midi_frames=store.read("midi/expressive/frames", rows.index),
        score=rows.score,
        valid=rows.valid,
        segment=rows.segment,
        row=rows.index,
    )
    heads = {"gated": HeadConfig(kind="gated", hidden=16), "audio": HeadConfig(kind="audio", hidden=16)}
    config = FitConfig(epochs=1, batch_rows=32, seeds=(0, 1))
    fit = train.fit(heads, ArrayData(batch, batch, 32), config, store=store.fingerprint)
    run2 = tmp_path / "run2"
    run2.mkdir()
    train.save(run2 / "heads.npz", fit)
    write_json(run2 / "results.json", {"pair": {"audio": "logmel", "midi": "expressive", "view": "frames"}})

    command = ["phase5", "percepiano", str(folder), "--out", str(tmp_path / "run"), "--after", str(run2), "--no-heads"]
    command += ["--replicates", "50"]
    assert main([*command, "--store", str(paths[0])]) == 0
    zero = read(tmp_path / "run")["zero_shot"]
    asked = [(a["question"]["dimension"], a["words"]) for a in zero["answers"] if a["confirmatory"]]
    assert asked == [
        ("rhythmic_stability", "−1"),
        ("pedal_technique", "−5"),
        ("pedal_technique", "−5 given 4"),
        ("dynamic_range", "+11"),
        ("musical_expression", "+13, 15, 18"),
        ("overall_interpretation", "+19"),
    ]
    assert set(zero["other_heads"]) == {"gated", "audio"}
    assert not any(a["question"]["dimension"] == DIMENSIONS[0] for a in zero["answers"])
    assert "never met a human rating" in (tmp_path / "run" / "report.html").read_text()

    assert main([*command, "--store", str(paths[1])]) != 0  # heads of another store
