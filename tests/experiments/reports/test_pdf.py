"""`--pdf`: a browser prints the page, and where it cannot, the message says what to do instead."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from keybed.experiments.reports.page import Page, Section, Table, write_page
from keybed.experiments.reports.pdf import NoBrowser, NotPrinted, print_pdf

WRITES = """#!/bin/sh
for word; do case "$word" in --print-to-pdf=*) printf '%%PDF-1.4\\n%%%%EOF\\n' > "${word#*=}";; esac; done
printf '%s\\n' "$@" > "$KEYBED_TEST_ARGUMENTS"
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "run ü" / "report.html"
    path.parent.mkdir()
    path.write_text("<p>a page</p>")
    return path


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a shell script in the place of a browser."""

    def put(text: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "google-chrome").write_text(text)
        (folder / "google-chrome").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("KEYBED_TEST_ARGUMENTS", str(tmp_path / "arguments"))

    return put


def test_without_a_browser_the_message_says_how_to_print(page, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        NoBrowser, match=rf"Chromium or Chrome.*or open {re.escape(str(page))} in a browser and print it"
    ):
        print_pdf(page)
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html"]


@pytest.mark.parametrize(("user", "sandboxed"), [(0, False), (1000, True)])
def test_the_pdf_lies_beside_the_page_and_root_has_no_sandbox(page, browser, monkeypatch, tmp_path, user, sandboxed):
    browser(WRITES)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    written = print_pdf(page)
    assert written == page.with_suffix(".pdf")
    assert written.read_bytes().startswith(b"%PDF-")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[-1] == page.resolve().as_uri()
    assert ("--no-sandbox" not in arguments) is sandboxed
    profile = next(word for word in arguments if word.startswith("--user-data-dir=")).partition("=")[2]
    assert not Path(profile).parent.exists()  # nothing of the browser is left


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "#!/bin/sh\necho 'no such display' >&2\nexit 3\n",
            "ended with status 3: no such display; open .* and print it",
        ),
        ("#!/bin/sh\nexit 0\n", "wrote no PDF of .* and print it"),
        ("no program at all", "cannot be started|ended with status"),
    ],
)
def test_a_browser_that_fails_leaves_the_old_pdf_and_says_so(page, browser, text, match):
    page.with_suffix(".pdf").write_bytes(b"old")
    browser(text)
    with pytest.raises(NotPrinted, match=match):
        print_pdf(page)
    assert page.with_suffix(".pdf").read_bytes() == b"old"


def test_a_browser_that_hangs_is_ended_with_its_children(page, browser, tmp_path):
    browser(f"#!/bin/sh\n/bin/sleep 300 &\necho $! > '{tmp_path}/child'\nwait\n")
    began = time.monotonic()
    with pytest.raises(NotPrinted, match=r"did not print .* within 1 s"):
        print_pdf(page, time_limit_s=1.0)
    assert time.monotonic() - began < 60
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the browser's child is still running")


@pytest.mark.browser
def test_a_report_prints_whole(chromium, tmp_path):
    """On paper, folded tables are open, no table is wider than the sheet, and the terms' sentences stand at the end."""
    wide = Table(
        [f"column {i}" for i in range(9)],
        [["0.412 (0.380 to 0.441)"] * 9] * 60,
        caption="all",
        numeric=range(9),
        fold=True,
    )
    cards = [
        Section("Mean specific r", "How well playing is heard.", ["Specific r by fold."], tables=[wide], wide=True)
    ]
    path = write_page(Page("a", "GO", "GO", ["lead"], [], None, [], cards), tmp_path / "report.html")
    content = print_pdf(path).read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3  # 60 rows of two lines and the glossary
    sheet = chromium.new_page(viewport={"width": 695, "height": 1000}, color_scheme="dark")
    sheet.goto(path.as_uri())
    sheet.emulate_media(media="print", color_scheme="dark")
    sheet.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert sheet.evaluate("document.documentElement.scrollWidth") <= 695
    assert sheet.locator("table").bounding_box()["width"] <= 695
    assert sheet.locator("td").first.is_visible()
    assert sheet.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert sheet.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
    assert "One of several divisions" in sheet.locator("#glossary").inner_text()
    sheet.close()
