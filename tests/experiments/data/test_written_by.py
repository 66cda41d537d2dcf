"""Files of another version of Keybed: which are read, and what the refusal says."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from keybed.experiments.data.written_by import why_not_read

HERE = version("keybed")


@pytest.mark.parametrize("written_by", ["0.0.1", HERE, f"{HERE}.dev3", "unknown", None, 7])
def test_a_known_format_of_this_or_an_older_version_is_read(written_by: object) -> None:
    assert why_not_read("the file", 1, range(1, 3), written_by) is None


@pytest.mark.parametrize("written_by", [f"{HERE}.1", "9", "10.0.0rc1"])
def test_a_newer_version_is_refused_with_both_versions(written_by: str) -> None:
    assert why_not_read("the file", 1, range(1, 3), written_by) == (
        f"the file was written by Keybed {written_by}; this is Keybed {HERE}: update Keybed to {written_by}"
    )


@pytest.mark.parametrize("number", [0, 3, "1", None, True])
def test_an_unknown_format_is_refused_with_both_formats(number: object) -> None:
    assert why_not_read("the file", number, range(1, 3), "0.0.1") == (
        f"the file was written by Keybed 0.0.1 in format {number!r}; this is Keybed {HERE}, which reads formats 1 to 2: "
        "update Keybed"
    )


def test_a_version_that_is_not_named() -> None:
    problem = why_not_read("the file", 2, range(1, 2), None)
    assert problem is not None
    assert problem.startswith("the file was written by a version of Keybed that it does not name in format 2; this is")
    assert "which reads format 1: update Keybed" in problem
