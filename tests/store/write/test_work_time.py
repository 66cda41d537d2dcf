from __future__ import annotations

import pytest

from keybed.store.write.work_time import WorkTime


@pytest.mark.parametrize(
    ("time", "line"),
    [
        (
            WorkTime(6.0, 3.0, 1.0),
            "bound by rendering: the GPU computed features 30% of the time and waited for rows 60%",
        ),
        (WorkTime(1.0, 8.0, 1.0), "bound by the encoders: the GPU computed features 80% of the time"),
        (
            WorkTime(1.0, 3.0, 4.0),
            "bound by writing: the GPU computed features 38% of the time and waited for the disk 50%",
        ),
        (WorkTime(), None),
    ],
)
def test_the_longest_part_is_what_binds(time, line):
    assert time.line(gpu=True) == line


def test_a_log_keeps_it_and_another_entry_is_none():
    time = WorkTime(1.5, 0.25) + WorkTime(disk_s=2.0)
    assert WorkTime.of(time.to_json()) == time == WorkTime(1.5, 0.25, 2.0)
    assert WorkTime.of({"rows_s": 1.0}) is None
    assert WorkTime.of(None) is None
