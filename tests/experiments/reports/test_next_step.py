from pathlib import Path
from types import SimpleNamespace

import pytest

from keybed.experiments.reports.next_step import next_step


@pytest.mark.parametrize(
    ("phase", "verdict", "run", "expected"),
    [
        (2, "GO", "RUN/phase2", "keybed phase3 'my store' --after RUN/phase2 --out RUN/phase3"),
        (3, "GO", "first", "keybed phase4 'my store' --after first --out first-phase4"),
        (4, "GO", "RUN/phase4", "keybed phase5 select 'my store' --after RUN/phase4 --out RUN/phase5"),
        (
            2,
            "NO-GO",
            "RUN/phase2",
            "read the report; to go on against the gate: keybed phase3 'my store' --after RUN/phase2 --out RUN/phase3 "
            "--override 'the reason'",
        ),
        (
            3,
            "UNDEFINED",
            "a",
            "read the report; to go on against the gate: keybed phase4 'my store' --after a --out a-phase4 "
            "--override 'the reason'",
        ),
    ],
)
def test_the_next_command_can_be_pasted(phase, verdict, run, expected):
    assert next_step(SimpleNamespace(phase=phase, verdict=verdict), Path(run), Path("my store")) == expected
