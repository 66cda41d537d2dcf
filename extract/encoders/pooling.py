"""Pool hidden states on the common time grid: the bin of each moment, and mean and standard deviation per bin.

Pure numpy, and the definition of pooling. `device.pool_bins` computes the same two formulas in torch; a test compares
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keybed.extract.encoders.base import Pooled
from keybed.extract.encoders.errors import EncoderError
from keybed.store.format.recipe import EncoderSpec

VERSION = 1
"""Part of every encoder's fingerprint. Raise it whenever a result of this module may change."""

FLOAT16_MAX = 65504.0


def frame_centres_s(n_frames: int, hop_s: float, receptive_s: float) -> NDArray[np.float64]:
    """Centre of each frame's receptive field in seconds from the window's start, float64 (n_frames,)."""
    return np.arange(n_frames, dtype=np.float64) * hop_s + receptive_s / 2


def bins_of(time_s: NDArray[np.float64], n_bins: int, window_s: float) -> NDArray[np.intp]:
    """Bin of each time: floor(t · n_bins / window_s), or −1 outside [0, window_s)."""
    # Rounded to a nanosecond first, so that 0.3 / 0.1 does not fall below 3.
    index = np.floor(np.round(np.asarray(time_s, np.float64) / window_s * n_bins, 9)).astype(np.intp)
    return np.where((index >= 0) & (index < n_bins), index, -1)


def note_bins(onset_s: NDArray[np.float64], n_bins: int, window_s: float) -> NDArray[np.intp]:
    """Bin of each note (or other event) of a window: `bins_of`, and −1 exactly where it is not in [0, window_s).

    An event a fraction of a nanosecond before the window's end belongs to the last bin. So frames hold the same events as
    layers do.
    """
    within = (onset_s >= 0) & (onset_s < window_s)
    index = np.floor((np.asarray(onset_s, np.float64) / window_s * n_bins).round(9)).astype(np.intp)
    return np.where(within, np.minimum(np.maximum(index, 0), n_bins - 1), -1)


def averaging_matrix(bins: NDArray[np.intp], n_bins: int) -> NDArray[np.float32]:
    """A float32 (n_bins, T) matrix whose row b averages the steps of bin b; the row of an empty bin is 0."""
    member = bins[None, :] == np.arange(n_bins)[:, None]
    count = member.sum(1, keepdims=True)
    return (member / np.maximum(count, 1)).astype(np.float32)


def bin_stats(
    values: NDArray[np.floating], bins: NDArray[np.intp], n_bins: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Mean, population standard deviation and number of the values in each bin.

    values: (T, C). Returns float32 (n_bins, C) twice, 0 in empty bins, and int (n_bins,). Steps in bin −1 are ignored.
    """
    known, kept = np.asarray(values, np.float64), bins >= 0
    if not kept.all():
        known, bins = known[kept], bins[kept]
    n_channels = known.shape[1]
    cells = (bins[:, None] * n_channels + np.arange(n_channels)).ravel()

    def sums(of: NDArray[np.float64]) -> NDArray[np.float64]:
        by_cell = np.bincount(cells, weights=of.ravel(), minlength=n_bins * n_channels)
        return by_cell.astype(np.float64, copy=False).reshape(n_bins, n_channels)

    count = np.bincount(bins, minlength=n_bins)
    share = np.maximum(count, 1)[:, None]
    mean = sums(known) / share
    # Two passes: the difference of squares would lose a small spread around a large mean.
    away = known - mean[bins]
    variance = sums(np.square(away, out=away)) / share
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32), count


def time_stats(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Mean and population standard deviation over time, float32 (2, C), of values (T, C); zeros where T is 0."""
    if len(values) == 0:
        return np.zeros((2, values.shape[1]), np.float32)
    values, stats = np.asarray(values, np.float64), np.empty((2, values.shape[1]))
    # ndarray.std computes the mean once more.
    np.divide(values.sum(0), len(values), out=stats[0])
    away = values - stats[0]
    np.sqrt(np.square(away, out=away).sum(0) / len(values), out=stats[1])
    return stats.astype(np.float32)


def upper_half(n_states: int) -> tuple[int, ...]:
    """States in the upper half of the layers, the default for `frames`: 7–12 of 13, 13–24 of 25."""
    return tuple(range(n_states // 2 + 1, n_states)) or (n_states - 1,)


def pool_row(spec: EncoderSpec, states_TxD: Sequence[NDArray[np.floating]], bins: NDArray[np.intp]) -> Pooled:
    """Pooled features of one row, from each of its n_states states and the bin of each step; what encoders must compute."""
    mean, sd, count = bin_stats(np.mean([states_TxD[state] for state in spec.frame_states], axis=0), bins, spec.n_bins)
    layers = np.stack([time_stats(state) for state in states_TxD], axis=1)
    return Pooled(layers[None], np.stack([mean, sd][: len(spec.frame_stats)], axis=1)[None], count[None] > 0)


def zeros(spec: EncoderSpec, n_rows: int, dtype: DTypeLike = np.float32) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Layers and frames of n_rows, all 0, and a mask of all false; an encoder fills them row by row."""
    return (
        np.zeros((n_rows, len(spec.layer_stats), spec.n_states, spec.width), dtype),
        np.zeros((n_rows, spec.n_bins, len(spec.frame_stats), spec.width), dtype),
        np.zeros((n_rows, spec.n_bins), np.bool_),
    )


def finish(
    name: str,
    layers: NDArray[np.float32],
    frames: NDArray[np.float32],
    mask: NDArray[np.bool_],
    failed: NDArray[np.bool_],
) -> Pooled:
    """`check_range` of all rows, then `blank_failed`."""
    check_range(name, layers, frames, failed)
    return blank_failed(layers, frames, mask, failed)


def check_range(
    name: str,
    layers: NDArray[np.float32],
    frames: NDArray[np.float32],
    failed: NDArray[np.bool_],
    first_row: int = 0,
) -> None:
    """Check that float16 can hold all rows that did not fail.

    failed: bool (B,). first_row: number of the first of these rows within the shard. Raises EncoderError with the row
    number where a row that did not fail holds NaN, an infinity, or a number beyond ±65504, which float16 would store as
    an infinity.
    """
    sizes = []
    for array in (layers, frames):
        axes = tuple(range(1, array.ndim))
        # np.abs(array) would copy a whole shard while a GPU waits.
        sizes.append(np.maximum(array.max(axis=axes), -array.min(axis=axes)))
    check_sizes(name, np.stack(sizes, axis=1), failed, first_row)


def check_sizes(name: str, sizes: NDArray[np.floating], failed: NDArray[np.bool_], first_row: int = 0) -> None:
    """`check_range` of the largest absolute value of each row's layers and frames, (B, 2)."""
    # NaN compares false, so it is caught by the same test.
    beyond = np.argwhere(~((sizes <= FLOAT16_MAX) | failed[:, None]))
    if len(beyond):
        row, what = beyond[0]
        raise EncoderError(
            f"{name}: {('layers', 'frames')[what]} of row {first_row + row} of this shard reach {sizes[row, what]}, which "
            f"float16 cannot hold; the encoder's weights are broken, or its values need scaling before they can be stored"
        )


def blank_failed(
    layers: NDArray[np.floating], frames: NDArray[np.floating], mask: NDArray[np.bool_], failed: NDArray[np.bool_]
) -> Pooled:
    """Set failed rows, bool (B,), to NaN and their mask to false."""
    layers[failed], frames[failed] = np.nan, np.nan
    mask[failed] = False
    return Pooled(layers, frames, mask)
