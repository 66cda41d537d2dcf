"""The lines that `keybed derive` prints."""

from __future__ import annotations

from keybed.store.command import command
from keybed.store.derive.derive import DeriveReport


def derive_lines(report: DeriveReport) -> list[str]:
    """Arrays made and kept, their sizes, and the next command."""
    lines = [f"made {len(report.made)} arrays, kept {len(report.kept)} that were fresh"]
    for path, size in report.bytes.items():
        kept = f", {report.variance_kept[path]:.1%} of the variance" if path in report.variance_kept else ""
        lines.append(f"  {path}: {size / 1e6:,.1f} MB{kept}")
    return [*lines, f"next: {command('info', report.store)}"]
