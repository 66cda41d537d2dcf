"""Do scores of recordings mean something: whole recordings that the heads never saw, degraded on one axis each, score lower there.

    python -m keybed.experiments.audits.score_meaning RUN                      one recording of each test piece, about 5 minutes
    python -m keybed.experiments.audits.score_meaning RUN --recordings 1       one recording, to see that it runs

Every copy is the whole recording, degraded on one axis at the level of one score (57.5: the middle of the tier poor), by the
code that degrades a store's rows. Original and copy are scored as `keybed score` does. Tone changes no note, so that for tone both
are sound files, with and without its noise.

The table has, for each axis, the mean change of every dimension (copy less original, windows that both are judged in, recordings
weigh alike), and in brackets the share of windows in which the copy stays within the original's interval. `fell`: recordings
whose own dimension fell, and the share of windows.

The second table is of the same copies, compared with their originals as `keybed score ORIGINAL COPY` does: the mean difference,
and in brackets the share of passages in which the copy is worse, and of those whose whole interval lies below 0. Its last line is
the original itself, begun a second later, so that windows fall elsewhere: its differences should be 0, and its second share too.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from keybed.experiments.scoring.comparing import Comparing
from keybed.experiments.scoring.comparison import compare
from keybed.experiments.scoring.load import load_model
from keybed.experiments.scoring.results import Comparison, ScoredFile, ScoredMusic
from keybed.experiments.scoring.run_files import RunFiles, open_run
from keybed.experiments.scoring.scorer import Scorer
from keybed.experiments.scoring.source import Source
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade import make_variant, prepare
from keybed.extract.degrade.curves import CURVES, UNTOUCHED
from keybed.extract.degrade.tone import add_noise, plan_floor, plan_noise
from keybed.extract.music.notes_file import load_notes
from keybed.extract.music.performance import Performance
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXES, AXIS_DIMENSIONS, DIMENSIONS, LEVELS, TIERS

_POOR = TIERS.index("poor")
_SHORT = ("notes", "timing", "artic.", "pedal", "tone", "dynam.", "expr.", "overall")


LATER, LATER_S = "none, 1 s later", 1.0
"""A copy that is the original itself, begun later."""
Scored = tuple[ScoredFile, ScoredMusic]


@dataclass(frozen=True, eq=False)
class Change:
    """Copy less original of one recording and axis. difference, inside: (window, dimension), NaN where one is not judged.

    compared: as `keybed score` compares the two.
    """

    axis: str
    difference: NDArray[np.float64]
    inside: NDArray[np.float64]
    compared: Comparison


def change(axis: str, one: Scored, other: Scored, comparing: Comparing | None) -> Change:
    """Compare window by window; both have the same windows, or the copy ends a little earlier or later."""
    (original, music), (copy, copy_music) = one, other
    n = min(len(original.windows), len(copy.windows))
    before, after = original.score[:n], copy.score[:n]
    inside = ((after >= original.lower[:n]) & (after <= original.upper[:n])).astype(np.float64)
    difference = after - before
    compared = compare(original, music, copy, copy_music, comparing)
    return Change(axis, difference, np.where(np.isnan(difference), np.nan, inside), compared)


def begun_later(performance: Performance, seconds: float) -> Performance:
    """The same notes and pedal, later."""
    p = performance
    return replace(p, onset_s=p.onset_s + seconds, offset_s=p.offset_s + seconds, pedal_s=p.pedal_s + seconds)


def degraded(performance: Performance, duration_s: float, axis: str, score: float, seed: int) -> Performance:
    """The whole recording with one axis at the level of a score; expression takes its tempo with it."""
    level = UNTOUCHED.copy()
    for name in (axis, "tempo") if axis == "expression" else (axis,):
        level[LEVELS.index(name)] = float(CURVES[name].level(score))
    made = make_variant(
        prepare(performance), 0.0, duration_s, level, seed=seed, recording_id=seed, tier=_POOR
    ).performance
    return replace(made, pedal_s=np.maximum(made.pedal_s, 0.0))


def sound_file(sound: NDArray[np.float32], ratio: float, seed: int, path: Path) -> Path:
    """A sound with the noise of a tone level and the floor that rows have, as a WAV file."""
    import soundfile

    noise = replace(plan_noise(ratio, seed), floor=plan_floor(seed))
    noisy = add_noise(sound.astype(np.float64), 0, noise, SAMPLE_RATE_HZ)
    soundfile.write(path, (noisy * 0.5 / np.abs(noisy).max()).astype(np.float32), SAMPLE_RATE_HZ, subtype="FLOAT")
    return path


def recordings(files: RunFiles, most: int | None) -> list[int]:
    """The first recording of each piece that the heads were tested on."""
    rows = files.rows.take(files.fold.test)
    first = [int(rows.recording[rows.piece == piece].min()) for piece in np.unique(rows.piece)]
    return first[:most]


def changes(
    files: RunFiles, scorer: Scorer, numbers: list[int], score: float, hop_s: float, folder: Path
) -> Iterator[Change]:
    """All axes of all recordings, and each recording begun later."""
    comparing = scorer.model.comparing
    for number in numbers:
        p = load_notes(files.store.notes_path(number))
        duration_s = float(p.offset_s.max())
        name = files.store.recordings[number]["midi"]
        source = Source(name, None, None, "midi", p, duration_s)
        original = scorer.score(source, hop_s)
        for axis in AXES:
            if axis == "tone":
                sound = original[1].sound(0.0, duration_s)
                clean, noisy = (
                    replace(source, sound=sound_file(sound, ratio, number, folder / f"{kind}.wav"))
                    for kind, ratio in (("clean", 0.0), ("noisy", float(CURVES["tone"].level(score))))
                )
                yield change(axis, scorer.score(clean, hop_s), scorer.score(noisy, hop_s), comparing)
                continue
            copy = replace(source, performance=degraded(p, duration_s, axis, score, number))
            yield change(axis, original, scorer.score(copy, hop_s), comparing)
        later = replace(source, performance=begun_later(p, LATER_S), duration_s=duration_s + LATER_S)
        yield change(LATER, original, scorer.score(later, hop_s), comparing)


def table(made: list[Change]) -> list[str]:
    """The table as Markdown."""
    lines = [f"| degraded | {' | '.join(_SHORT)} | fell |", f"|{'---|' * (len(DIMENSIONS) + 2)}"]
    for axis, dimension in zip(AXES, AXIS_DIMENSIONS, strict=True):
        own = [c for c in made if c.axis == axis]
        cells = []
        for k, name in enumerate(DIMENSIONS):
            by_recording = [np.nanmean(c.difference[:, k]) for c in own if np.isfinite(c.difference[:, k]).any()]
            inside = np.concatenate([c.inside[:, k] for c in own])
            if not by_recording:
                cells.append("–")
                continue
            text = f"{np.mean(by_recording):+.1f} ({np.nanmean(inside):.0%})".replace("-", "−")
            cells.append(f"**{text}**" if name == dimension else text)
        k = DIMENSIONS.index(dimension)
        judged = [c.difference[:, k][np.isfinite(c.difference[:, k])] for c in own]
        judged = [d for d in judged if d.size]
        fell = sum(bool(d.mean() < 0) for d in judged)
        share = np.mean(np.concatenate(judged) < 0) if judged else np.nan
        lines.append(f"| {axis} | {' | '.join(cells)} | {fell} of {len(judged)}, {share:.0%} |")
    return lines


def compared_table(made: list[Change]) -> list[str]:
    """The table of what comparing says, as Markdown; the recordings weigh alike."""
    lines = [f"| degraded | {' | '.join(_SHORT)} |", f"|{'---|' * (len(DIMENSIONS) + 1)}"]
    for axis in (*AXES, LATER):
        cells = []
        for name in DIMENSIONS:
            own = [[c for p in m.compared.passages if (c := p.compared.get(name))] for m in made if m.axis == axis]
            own = [passages for passages in own if passages]
            if not own:
                cells.append("–")
                continue
            mean = np.mean([np.mean([c.difference for c in passages]) for passages in own])
            below = np.mean([(c.difference < 0, c.upper < 0) for passages in own for c in passages], axis=0)
            text = f"{mean:+.1f} ({below[0]:.0%}, {below[1]:.0%})".replace("-", "−")
            bold = axis in AXES and AXIS_DIMENSIONS[AXES.index(axis)] == name
            cells.append(f"**{text}**" if bold else text)
        lines.append(f"| {axis} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recordings", type=int, help="at most this many; without it one of each test piece")
    parser.add_argument("--score", type=float, default=57.5, help="the score whose level the copies get")
    parser.add_argument("--hop", type=float, default=5.0)
    options = parser.parse_args()
    files = open_run(options.run)
    scorer = Scorer(load_model(options.run))
    numbers = recordings(files, options.recordings)
    folder = Path(tempfile.mkdtemp(prefix="keybed-meaning-"))
    try:
        work = changes(files, scorer, numbers, options.score, options.hop, folder)
        made = list(track(work, description="scoring", total=len(numbers) * (len(AXES) + 1)))
    finally:
        shutil.rmtree(folder)
    n_windows = sum(len(c.difference) for c in made if c.axis == "notes")
    print(f"{counted(len(numbers), 'recording')}, {counted(n_windows, 'window')}, copies at score {options.score:g}\n")
    print("\n".join(table(made)))
    if scorer.model.comparing is not None:
        print("\ncompared:\n")
        print("\n".join(compared_table(made)))


if __name__ == "__main__":
    main()
