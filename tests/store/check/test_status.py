"""Status puts every shard in one class and says what to run next."""

from __future__ import annotations

import io
import json
import os
import time

import pytest
from rich.console import Console

from keybed import store
from keybed.experiments.cli.status_view import render
from keybed.store.check.status import status
from keybed.store.write.claims import claim


def shown(report):
    console = Console(width=140, file=io.StringIO())
    console.print(render(report))
    return console.file.getvalue()


def test_every_shard_is_in_exactly_one_class(tmp_path, synthetic):
    opened = synthetic.fill(synthetic.create(tmp_path / "S"), [0, 2])
    for shard, ended in ((0, "00:01:00"), (2, "00:02:00")):
        path = opened.path / f"logs/{shard:06d}.json"
        log = json.loads(path.read_text())
        log["began"], log["committed"] = "2026-01-01T00:00:00+00:00", f"2026-01-01T{ended}+00:00"
        path.write_text(json.dumps(log))
    with pytest.raises(RuntimeError), claim(opened, 4):
        raise RuntimeError("CUDA out of memory")
    with claim(opened, 1), claim(opened, 3) as stale:
        os.utime(stale.path, (time.time() - 3600, time.time() - 3600))
        report = status(opened)
    assert report.done == (0, 2)
    assert [entry.shard for entry in report.running] == [1]
    assert [(entry.shard, entry.reason) for entry in report.failed] == [(4, "RuntimeError: CUDA out of memory")]
    assert report.missing == (3,)
    assert report.failed_rows == {"SILENT_AUDIO": 2}
    assert report.reasons == {"peak below −60 dBFS": 2}
    assert report.rows_per_s == pytest.approx(64 / 120)
    assert report.time_left_s == pytest.approx((150 - 64) / (64 / 120))
    text = shown(report)
    assert "64 of 150 rows, 42.7%" in text
    assert "0.5 rows/s lately, 2 min 41 s left" in text
    assert "shard 4 failed: RuntimeError: CUDA out of memory" in text
    assert f"next: keybed extract {opened.path} --shards 1,3-4" in shown(status(opened))


def test_a_finished_store_names_the_next_command(whole_store):
    report = status(whole_store)
    assert report.complete
    text = shown(report)
    assert f"next: keybed verify {whole_store.path}" in text
    assert "left" not in text, "nothing is left to wait for"


def test_each_part_of_the_status_stands_on_its_own_line(whole_store):
    lines = shown(status(whole_store)).splitlines()
    assert lines[0].endswith("150 of 150 rows, 100.0%")
    assert set(lines[1].strip()) == {"━"}
    assert lines[2].split() == ["shards", "number", "which"]


def test_reasons_beyond_the_list_are_counted(filled):
    path = filled.path / "commits" / "000000.json"
    commit = json.loads(path.read_text())
    rows = range(commit["start"], commit["start"] + 12)
    commit["failures"] = {f"{row:09d}": f"2004/{row}.midi: an empty file; copy it again" for row in rows}
    commit["statuses"] = {"OK": commit["stop"] - commit["start"] - 12, "MIDI_UNREADABLE": 12}
    del commit["sha256"]  # as in a commit of version 0.1
    path.write_text(json.dumps(commit))
    opened = store.open(filled.path)
    reasons = {reason for shard in opened.committed for reason in opened.commit(shard).failures.values()}
    report = status(opened)
    assert (len(report.reasons), report.more_reasons) == (10, len(reasons) - 10)
    assert report.more_reasons >= 2
    assert f"and {report.more_reasons} other reasons" in shown(report)
