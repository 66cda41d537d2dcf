"""A page as PDF: printed by a headless Chromium or Chrome of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from keybed.experiments.data.run_folder import replace_run_file
from keybed.store.errors import KeybedError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Names of the program, looked up on PATH in this order."""
TIME_LIMIT_S = 120.0
"""A report is printed in 2 to 10 s."""


class NoBrowser(KeybedError):
    """No Chromium and no Chrome is installed."""


class NotPrinted(KeybedError):
    """The browser ended without a PDF, or did not end in time."""


def print_pdf(page: Path, time_limit_s: float = TIME_LIMIT_S) -> Path:
    """PAGE.html -> PAGE.pdf beside it, replaced in one step. Raises NoBrowser, NotPrinted."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        raise NoBrowser(
            f"--pdf needs Chromium or Chrome, and none of {', '.join(BROWSERS)} is on PATH; install one, or open {page} in a "
            "browser and print it"
        )
    with tempfile.TemporaryDirectory(prefix="keybed-pdf-") as folder:
        printed = Path(folder) / "page.pdf"
        _run(_command(program, page, printed, Path(folder)), page, time_limit_s)
        content = printed.read_bytes() if printed.is_file() else b""
    if not content.startswith(b"%PDF-") or b"%%EOF" not in content[-64:]:
        raise NotPrinted(f"{program} wrote no PDF of {page}; open the page in a browser and print it")
    path = page.with_suffix(".pdf")
    with replace_run_file(path) as file:
        file.write(content)
    return path


def _command(program: str, page: Path, printed: Path, folder: Path) -> list[str]:
    """The browser's arguments: no window, no header and footer, a profile of its own. As root it has no sandbox to offer."""
    return [
        program,
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        "--no-pdf-header-footer",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        f"--user-data-dir={folder / 'profile'}",
        f"--print-to-pdf={printed}",
        page.resolve().as_uri(),
    ]


def _run(command: list[str], page: Path, time_limit_s: float) -> None:
    """Run the browser; at the time limit end it with all its processes."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise NotPrinted(f"{command[0]} cannot be started ({error.strerror or error})") from error
    try:
        _, errors = process.communicate(timeout=time_limit_s)
    except subprocess.TimeoutExpired as error:
        raise NotPrinted(
            f"{command[0]} did not print {page} within {time_limit_s:g} s; open the page in a browser and print it"
        ) from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        raise NotPrinted(
            f"{command[0]} ended with status {process.returncode}{said}; open {page} in a browser and print it"
        )
