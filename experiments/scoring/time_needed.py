"""How long scoring a recording will take, in a line for the terminal before it begins."""

from __future__ import annotations

from collections.abc import Callable

from keybed.experiments.scoring.transcription import transcription_seconds
from keybed.experiments.scoring.windows import window_starts
from keybed.store.counted import counted

Notice = Callable[[str], None]
SHORT_S = 60.0
"""Work that takes no longer is not announced."""


def unheard(line: str) -> None:
    """Show nothing."""


def time_needed(
    name: str, duration_s: float, hop_s: float, window_s: float, window_cost_s: float, *, transcribed: bool
) -> str | None:
    """The line for one recording; None for SHORT_S or less.

    window_cost_s: seconds that encoders take for a window. transcribed: whether the notes are transcribed first.
    """
    first_s = transcription_seconds(duration_s) if transcribed else 0.0
    n_windows = len(window_starts(duration_s, window_s, hop_s))
    total_s = first_s + n_windows * window_cost_s
    if total_s <= SHORT_S:
        return None
    parts = [f"{in_words(first_s)} for the transcription"] if first_s else []
    wider_s = window_s / 2 if hop_s < window_s / 2 else 2 * hop_s
    quicker_s = first_s + len(window_starts(duration_s, window_s, wider_s)) * window_cost_s
    line = f"{name} takes about {in_words(total_s)} here"
    if window_cost_s:
        parts.append(f"{counted(n_windows, 'window')}, one every {hop_s:g} s, at {window_cost_s:.1f} s each")
    line += f" ({'; '.join(parts)})"
    return line if quicker_s > 0.8 * total_s else f"{line}; --hop {wider_s:g} takes about {in_words(quicker_s)}"


def in_words(seconds: float) -> str:
    """A rough time: `40 s`, `12 minutes`, `3.5 hours`."""
    if seconds < 100:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
