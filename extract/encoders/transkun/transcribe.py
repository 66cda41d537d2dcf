"""Audio to notes and pedal, by Transkun: what the authors' `transcribe` gives, for recordings of any length.

Audio of up to 13 s stands in one context of 16 s, after 3 s of silence. Longer audio is read in overlapping contexts, one
every 8 s, and events that go on from one into the next are joined. Of long audio one context is in memory at a time.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.transkun.events import Event, events_of
from keybed.extract.encoders.transkun.model import Network, shared_network
from keybed.extract.encoders.transkun.spec import (
    ARCHITECTURES,
    DEFAULT_WEIGHTS,
    LONGEST_WINDOW_S,
    NAME,
    PITCHES,
    SILENCE_FRAMES,
    describe,
)
from keybed.extract.music.performance import LOWEST_PITCH, Performance, playable

HOP_S = 8
"""From one context to the next in longer audio: half a context."""
PEDAL_UP_S = 1e-3
"""Where the pedal is pressed again in the frame in which it was let go, it is up for this long."""
_SUSTAIN = PITCHES[0]


class Transcriber:
    """Transkun with its heads, ready to transcribe; it keeps nothing between calls.

    weights: a checkpoint; the one that `keybed fetch transkun` brings by default. Raises WeightsUnreachable, WeightsRefused.
    """

    def __init__(self, weights: str | Path = DEFAULT_WEIGHTS, threads: int = 2) -> None:
        spec, file = describe(
            where=str(weights), revision=None, window_s=1.0, n_bins=1, threads=threads, compute_dtype="float32"
        )
        self._device, _ = device.prepare(spec)
        self._network = shared_network(spec, None if file is None else Path(file), self._device)

    def __call__(self, waveform: NDArray[np.floating], rate_hz: int) -> Performance:
        """The notes and sustain pedal of mono audio (samples,) of any level; times from its first sample.

        Raises EncoderError for other shapes, an empty waveform, and samples that are not finite.
        """
        return self.of_blocks([waveform], rate_hz)

    def of_blocks(self, blocks: Iterable[NDArray[np.floating]], rate_hz: int) -> Performance:
        """The same of audio that comes in blocks (samples,), of which few are in memory at a time."""
        return transcribe(self._network, (_checked(block, rate_hz) for block in blocks), rate_hz)


def _checked(block: NDArray[np.floating], rate_hz: int) -> NDArray[np.float32]:
    if block.ndim != 1 or block.size == 0 or rate_hz <= 0 or not np.isfinite(block).all():
        raise EncoderError(
            f"{NAME}: audio of shape {block.shape} at {rate_hz} Hz cannot be transcribed; give finite mono samples"
        )
    return np.ascontiguousarray(block, np.float32)


def transcribe(network: Network, blocks: Iterable[NDArray[np.float32]], rate_hz: int) -> Performance:
    """The notes and sustain pedal of finite mono audio, by a network on any device."""
    rate = network.architecture["rate_hz"]
    longest = round(LONGEST_WINDOW_S * rate)
    resampled = _at_rate(blocks, rate_hz, rate)
    begin = _first(resampled, longest)
    with torch.inference_mode():
        if begin.size <= longest:
            samples = torch.from_numpy(begin).to(network.upsample.weight)
            return clip_performance(network, last(network.states(samples[None]))[0])
        return _performance(_joined_events(network, chain([begin], resampled)))


def _at_rate(blocks: Iterable[NDArray[np.float32]], rate_hz: int, wanted_hz: int) -> Iterator[NDArray[np.float32]]:
    if rate_hz == wanted_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_hz, wanted_hz, 1, "float32", "HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _first(blocks: Iterator[NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    """Whole blocks, until there are more than n samples."""
    parts, size = [], 0
    for block in blocks:
        parts.append(block)
        size += block.size
        if size > n:
            break
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def contexts(
    blocks: Iterable[NDArray[np.float32]], n_before: int, n_context: int, step: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(start, n_context samples) every `step` samples of the audio, with n_before zeros before it and zeros after it.

    start counts from the first of the zeros; the last one lies before n_before more zeros end.
    """
    source, start = iter(blocks), 0
    held, begins, ended = np.zeros(n_before, np.float32), 0, False
    while True:
        while not ended and begins + held.size < start + n_context:
            block = next(source, None)
            ended = block is None
            held = held if block is None else np.concatenate([held, block])
        if ended and start >= begins + held.size + n_before:
            return
        context = held[max(start - begins, 0) : start - begins + n_context]
        yield start, np.pad(context, (0, n_context - context.size))
        start += step
        drop = min(start - begins, held.size)
        held, begins = held[drop:], begins + drop


def n_contexts(duration_s: float) -> int:
    """How many contexts audio is read in."""
    # Silence of a context less HOP_S stands before the audio, and the last context begins before as much silence ends after it.
    silence_s = ARCHITECTURES["2.0"]["context_s"] - HOP_S
    return 1 if duration_s <= LONGEST_WINDOW_S else math.ceil((duration_s + 2 * silence_s) / HOP_S)


def clip_performance(network: Network, state_TxFxD: Tensor) -> Performance:
    """The notes and pedal of one clip that `Network.states` put into silence, from its last state."""
    events, _ = events_of(network, state_TxFxD, [SILENCE_FRAMES] * len(PITCHES))
    return _performance(events, SILENCE_FRAMES * network.architecture["hop_length"] / network.architecture["rate_hz"])


def _joined_events(network: Network, blocks: Iterable[NDArray[np.float32]]) -> list[Event]:
    """Events of audio of any length, as the authors' `TransKun.transcribe` joins them."""
    rate, hop = (network.architecture[key] for key in ("rate_hz", "hop_length"))
    context_s = network.architecture["context_s"]
    n_context, before_s = context_s * rate, context_s - HOP_S
    n_padding, step_frames = before_s * rate, math.ceil(HOP_S * rate / hop)
    first_frames = [before_s * rate // hop] * len(PITCHES)
    by_pitch: dict[int, list[Event]] = defaultdict(list)
    for start, context in contexts(blocks, n_padding, n_context, step_frames * hop):
        samples_1xS = torch.from_numpy(context[None]).to(network.upsample.weight)
        state = last(network.states_of_contexts(samples_1xS))[0]
        events, last_ends = events_of(network, state, first_frames)
        first_frames = [max(last - step_frames, 0) for last in last_ends]
        for event in sorted(events, key=lambda event: (event.start_s, event.end_s, event.pitch)):
            shift_s = start / rate - before_s
            event.start_s, event.end_s = max(event.start_s + shift_s, 0), max(event.end_s + shift_s, 0)
            _join(by_pitch[event.pitch], event)
    for track in by_pitch.values():
        track[-1] = replace(track[-1], has_offset=True)
    return [event for track in by_pitch.values() for event in track if event.has_offset]


def _join(track: list[Event], event: Event) -> None:
    """Add an event of a later context to its track; one that overlaps the last replaces or prolongs it."""
    if track and event.start_s < track[-1].end_s:
        if event.has_onset:
            track[-1] = event
        else:
            track[-1].has_offset = event.has_offset
            track[-1].end_s = max(event.end_s, track[-1].end_s)
    elif event.has_onset:
        track.append(event)


def last(states: Iterable[Tensor]) -> Tensor:
    """The last state; the others are dropped one by one."""
    (state,) = deque(states, maxlen=1)
    return state


def _performance(events: list[Event], begins_s: float = 0.0) -> Performance:
    """Keys and sustain pedal; begins_s: where the audio's first sample lies in the events' time."""
    notes = [event for event in events if event.pitch >= LOWEST_PITCH]
    start_s, end_s, pitch, velocity = (
        np.array([(event.start_s - begins_s, event.end_s - begins_s, event.pitch, event.velocity) for event in notes])
        .reshape(-1, 4)
        .T
    )
    down = sorted((event.start_s - begins_s, event.end_s - begins_s) for event in events if event.pitch == _SUSTAIN)
    pedal_s, pedal_value = [], []
    up_s = -math.inf
    for press_s, lift_s in down:
        press_s = max(press_s, up_s + PEDAL_UP_S, 0.0)
        up_s = max(lift_s, press_s + PEDAL_UP_S)
        pedal_s += [press_s, up_s]
        pedal_value += [127, 0]
    return playable(
        np.maximum(start_s, 0.0),
        end_s,
        pitch.astype(np.int16),
        velocity.astype(np.int16),
        np.array(pedal_s),
        np.array(pedal_value, np.int16),
    )
