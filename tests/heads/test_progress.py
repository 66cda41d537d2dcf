"""What a listener of a fit is told."""

from __future__ import annotations

from keybed.heads.progress import Pace, Report, display, named


def test_the_end_of_an_epoch_comes_with_its_history_entry():
    told: list[Report] = []
    pace = Pace(told.append, 3, 5, 2, 32, (0, 1), [0.25])
    pace.at(1, 2.0)  # within a tenth of a second: left out
    pace.at(2, 1.5)
    entry = {"loss": {"audio": [1.0, 2.0]}}
    pace.end(entry, [0.25, 0.5])
    assert [(r.epoch, r.epochs, r.step, r.steps, r.loss, r.validation, r.seeds, r.ended) for r in told] == [
        (3, 5, 2, 2, 1.5, 0.25, (0, 1), None),
        (3, 5, 2, 2, 1.5, 0.5, (0, 1), entry),
    ]


def test_names_of_fits_are_joined():
    told: list[Report] = []
    listener = named(named(told.append, "folds"), "fold-2-of-5")
    assert listener is not None
    listener(Report(0, 1, 1, 1, 0.0, 1.0))
    assert told[0].fit == "folds/fold-2-of-5"
    assert named(None, "folds") is None


def test_the_bar_takes_every_report(capsys):
    with display() as listener:
        listener(Report(0, 2, 1, 2, 0.5, 100.0))
        listener(Report(0, 2, 2, 2, 0.5, 100.0, 0.25, (0,), {"loss": {}}))
    assert "validation CCC 0.250" in capsys.readouterr().out
