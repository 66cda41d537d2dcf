"""Correlation of loudness with the tier (quality grade, 0 pristine to 3 poor) in rendered rows of a store.

    python -m keybed.experiments.audits.loudness_and_tier STORE                     250 segments, 1,000 rows; needs a planned store
    python -m keybed.experiments.audits.loudness_and_tier STORE --segments 2000     more of them
    python -m keybed.experiments.audits.loudness_and_tier STORE --quick             25, to see that it runs

Each row is rendered as extraction renders it, and its loudness is measured in several ways. For each measure: r with the tier
(all four rows of every segment), a 95 % interval by resampling whole pieces, and the mean in each tier. Values are rounded to
0.01 dB; r is 0 where all are equal.

The second table has r of every measure after rows are normalised to another one: a gain in dB moves all measures alike.
"""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import lfilter

from keybed import store as stores
from keybed.experiments.goal import goal_line
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.run.check_recipe import check_same_code, render_config
from keybed.extract.run.row_maker import SegmentJob, segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import TIERS, Status

LARGEST_R = 0.05
"""Largest |r| of mean loudness with the tier that is allowed."""
METER_DB = 0.01
_RESAMPLES = 500
FRAME_S = 0.043
QUIETEST_DB = -100.0
BLOCK_S, STEP_S = 0.4, 0.1
"""BS.1770's gating blocks, three quarters overlapping."""
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU, OFFSET_LU = -70.0, -10.0, -0.691
MEASURES = ("rms", "bs1770", "bs1770_ungated", "mean_abs", "mean_frame_db", "peak")
IN_WORDS = {
    "rms": "RMS (normalised)",
    "bs1770": "BS.1770 integrated",
    "bs1770_ungated": "BS.1770 ungated",
    "mean_abs": "mean amplitude",
    "mean_frame_db": "mean of frames' dB",
    "peak": "peak",
}


class TooFewRows(KeybedError):
    """Fewer than two whole segments could be rendered, so that there is nothing to correlate."""


@dataclass(frozen=True)
class Config:
    """segments: at most this many, spread evenly over the store. workers: processes that render; 0: none."""

    store: Path
    segments: int = 250
    workers: int = 1


@dataclass(frozen=True, eq=False)
class Measured:
    """loudness_SxTxM: dB of each of MEASURES for every segment and tier; piece_S: int."""

    loudness_SxTxM: NDArray[np.float64]
    piece_S: NDArray[np.int64]


def k_weighted(audio: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """The two filters of ITU-R BS.1770, designed anew for the rate (its table is for 48 kHz; parameters: De Man 2014)."""
    f0, gain_db, q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k, high = np.tan(np.pi * f0 / rate_hz), 10 ** (gain_db / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]) / a0
    audio = lfilter(shelf, np.array([1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]), audio)
    f0, q = 38.13547087602444, 0.5003270373238773
    k = np.tan(np.pi * f0 / rate_hz)
    a0 = 1 + k / q + k * k
    poles = np.array([1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])
    return np.asarray(lfilter(np.array([1.0, -2.0, 1.0]), poles, audio))


def integrated_loudness_lufs(audio: NDArray[np.float64], rate_hz: int, *, gated: bool = True) -> float:
    """ITU-R BS.1770-4 of one channel, or, not gated, its K-weighted mean; minus infinity where nothing passes the gates."""
    power = k_weighted(audio, rate_hz) ** 2
    if not gated:
        return float(OFFSET_LU + 10 * np.log10(power.mean()))
    block, step = round(BLOCK_S * rate_hz), round(STEP_S * rate_hz)
    total = np.concatenate([[0.0], np.cumsum(power)])
    start = np.arange(0, audio.size - block + 1, step)
    mean = np.maximum(total[start + block] - total[start], 1e-30) / block
    loudness = OFFSET_LU + 10 * np.log10(mean)
    loud = loudness > ABSOLUTE_GATE_LUFS
    if not loud.any():
        return -np.inf
    gate = OFFSET_LU + 10 * np.log10(mean[loud].mean()) + RELATIVE_GATE_LU
    return float(OFFSET_LU + 10 * np.log10(mean[loud & (loudness > gate)].mean()))


def loudness(audio: NDArray[np.floating], rate_hz: int) -> NDArray[np.float64]:
    """Each of MEASURES in dB, rounded to METER_DB."""
    x = audio.astype(np.float64)
    frame = round(FRAME_S * rate_hz)
    frames = x[: x.size // frame * frame].reshape(-1, frame)
    frame_db = 10 * np.log10(np.mean(frames**2, axis=1) + 10 ** (QUIETEST_DB / 10))
    loudness_db = {
        "rms": 10 * np.log10(np.mean(x**2)),
        "bs1770": integrated_loudness_lufs(x, rate_hz),
        "bs1770_ungated": integrated_loudness_lufs(x, rate_hz, gated=False),
        "mean_abs": 20 * np.log10(np.abs(x).mean()),
        "mean_frame_db": frame_db.mean(),
        "peak": 20 * np.log10(np.abs(x).max()),
    }
    return np.round(np.array([loudness_db[name] for name in MEASURES]) / METER_DB) * METER_DB


def measure(config: Config, console: Console | None = None) -> Measured:
    """Render the rows and measure them, without segments of which a row cannot be rendered. Raises TooFewRows, NotAsPlanned."""
    store = stores.open(config.store)
    check_same_code(store.recipe)
    columns = store.columns(0, store.n_rows)
    jobs = [job for job in segment_jobs(columns) if len(job.tiers) == len(TIERS)]
    piece_of = dict(zip(columns["recording"].tolist(), columns["piece"].tolist(), strict=True))
    n = min(config.segments, len(jobs))
    jobs = [jobs[i * len(jobs) // n] for i in range(n)]
    loudness_by_segment, pieces = [], []
    with RowPool(render_config(store, store.machine_paths), config.workers) as pool:
        waiting: deque[SegmentJob] = deque(jobs)
        futures = deque((job, pool.submit(job)) for job in _take(waiting, 1 + 2 * config.workers))
        for _ in track(range(n), "rendering rows", console=console, disable=console is None):
            job, future = futures.popleft()
            futures.extend((more, pool.submit(more)) for more in _take(waiting, 1))
            rows = pool.result(future)
            if all(row.status == Status.OK for row in rows):
                loudness_by_segment.append([loudness(row.audio, SAMPLE_RATE_HZ) for row in rows])
                pieces.append(piece_of[job.recording])
    if len(loudness_by_segment) < 2:
        raise TooFewRows(
            f"{config.store}: {counted(len(loudness_by_segment), 'segment')} could be rendered; plan a store of more (keybed plan)"
        )
    return Measured(np.array(loudness_by_segment), np.array(pieces))


def _take(waiting: deque[SegmentJob], n: int) -> list[SegmentJob]:
    return [waiting.popleft() for _ in range(min(n, len(waiting)))]


def r_with_tier(loudness_SxT: NDArray[np.float64]) -> float:
    """Pearson's r of a measure with the tier; 0 where all values are equal."""
    if np.ptp(loudness_SxT) < METER_DB / 2:
        return 0.0
    tier = np.broadcast_to(np.arange(loudness_SxT.shape[1], dtype=float), loudness_SxT.shape)
    return float(np.corrcoef(loudness_SxT.ravel(), tier.ravel())[0, 1])


def interval(measured: Measured, k: int) -> tuple[float, float]:
    """95 % interval of measure k's r; whole pieces are resampled with replacement."""
    rng, pieces = np.random.default_rng(0), np.unique(measured.piece_S)
    rows = [np.flatnonzero(measured.piece_S == piece) for piece in pieces]
    r = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        r.append(r_with_tier(measured.loudness_SxTxM[drawn, :, k]))
    low, high = np.percentile(r, [2.5, 97.5])
    return float(low), float(high)


def tables(measured: Measured) -> list[Table]:
    """Two tables: r of each measure, and r of each measure after normalisation to another one."""
    now = Table("measure", "r", "95 %", *TIERS, title="r with the tier, and the mean in each tier in dB")
    other = Table("normalised to", *MEASURES, title="r with the tier after normalisation to another measure")
    for k, name in enumerate(MEASURES):
        values = measured.loudness_SxTxM[:, :, k]
        low, high = interval(measured, k)
        now.add_row(
            IN_WORDS[name],
            f"{r_with_tier(values):+.3f}",
            f"{low:+.3f} to {high:+.3f}",
            *(f"{x:.2f}" for x in values.mean(0)),
        )
        left = measured.loudness_SxTxM - values[:, :, None]
        other.add_row(name, *(f"{r_with_tier(left[:, :, j]):+.3f}" for j in range(len(MEASURES))))
    return [now, other]


def main() -> None:
    """Print both tables and the goals."""
    defaults = Config(Path("STORE"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, metavar="STORE")
    parser.add_argument("--segments", type=int, default=defaults.segments, help="of four rows (default %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=defaults.workers, help="processes that render (default %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="25 segments")
    given = parser.parse_args()
    console = Console(markup=False, emoji=False)
    measured = measure(Config(given.store, 25 if given.quick else given.segments, given.workers), console)
    console.print(
        f"{counted(len(measured.loudness_SxTxM), 'segment')}, {counted(len(np.unique(measured.piece_S)), 'piece')}"
    )
    for table in tables(measured):
        console.print(table)
    for name in ("rms", "bs1770"):
        r = abs(r_with_tier(measured.loudness_SxTxM[:, :, MEASURES.index(name)]))
        print(goal_line(f"r of {name} with the tier", r, LARGEST_R, "at most"))


if __name__ == "__main__":
    main()
