"""Tokens of a MIDI file exactly as the authors' code gives them, for comparisons with published tokens.

Stores use `tokens.tokenize`, which works in seconds. The authors' code works in ticks and differs in two cases: notes of
one tick are in the order of tracks, then of key releases; and for notes struck after the last of several tempo changes,
their `get_duration_ms` gives wrong durations. Both are reproduced here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.aria.tokens import encode, pedal_spans, sustained
from keybed.extract.music.performance import SUSTAIN_ON

_SUSTAIN_CONTROL = 64
_TEMPO_US = 500_000

_Note = tuple[int, int, int, int, int]
"""Start and end tick, pitch, velocity, channel."""


def tokens_of_file(path: str | Path) -> NDArray[np.int64]:
    """Token ids of a MIDI file of one piano, int64 (L,); none where it has no note. Every track is read as piano."""
    import mido

    midi = mido.MidiFile(os.fspath(path))
    notes: list[_Note] = []
    pedal: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    tempi: list[tuple[int, int]] = []
    for track in midi.tracks:
        tick = 0
        timed = []
        for message in track:
            tick += message.time
            timed.append((tick, message))
            if message.type == "set_tempo":
                tempi.append((tick, message.tempo))
            elif message.type == "control_change" and message.control == _SUSTAIN_CONTROL:
                pedal[message.channel].append((tick, message.value >= SUSTAIN_ON))
        notes += _notes(timed)
    if not notes:
        return np.zeros(0, np.int64)
    # The sort is stable: notes of one tick stay in the order of their releases.
    notes.sort(key=itemgetter(0))
    tempi = sorted(tempi, key=itemgetter(0)) or [(0, _TEMPO_US)]
    start, end, pitch, velocity, channel = np.array(notes).T
    last_release = int(end[-1])
    for number, events in pedal.items():
        events.sort(key=itemgetter(0))
        ticks, is_down = (np.array(column) for column in zip(*events, strict=True))
        mine = channel == number
        end[mine] = sustained(end[mine], *pedal_spans(ticks, is_down, last_release))
    elapsed = [_elapsed_ms(int(start[0]), int(at), tempi, midi.ticks_per_beat) for at in start]
    lengths = [_elapsed_ms(int(a), int(b), tempi, midi.ticks_per_beat) for a, b in zip(start, end, strict=True)]
    return encode(np.array(elapsed), np.array(lengths), pitch, velocity)[0]


def _notes(timed: list) -> Iterator[_Note]:
    """Notes of one track in the order of their releases. A release ends all earlier strikes of its key."""
    struck: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for tick, message in timed:
        if message.type not in ("note_on", "note_off"):
            continue
        key = (message.channel, message.note)
        if message.type == "note_on" and message.velocity > 0:
            struck.setdefault(key, []).append((tick, message.velocity))
            continue
        strikes = struck.pop(key, [])
        ended = [strike for strike in strikes if strike[0] != tick]
        yield from ((start, tick, message.note, velocity, message.channel) for start, velocity in ended)
        if ended and len(ended) < len(strikes):
            struck[key] = [strike for strike in strikes if strike[0] == tick]


def _elapsed_ms(start: int, end: int, tempi: list[tuple[int, int]], ticks_per_beat: int) -> int:
    """Milliseconds between two ticks as in the authors' `get_duration_ms`, including its error after the last tempo change."""
    after = next((index for index, (tick, _) in enumerate(tempi) if start <= tick), len(tempi) - 1)
    first = max(after - 1, 0)
    seconds, tick = 0.0, start
    for (_, tempo), (until, _) in zip(tempi[first:], tempi[first + 1 :], strict=False):
        seconds += (min(end, until) - tick) * (tempo * 1e-6 / ticks_per_beat)
        if end < until:
            break
        tick = until
    if end > tempi[-1][0]:
        seconds += (end - tick) * (tempi[-1][1] * 1e-6 / ticks_per_beat)
    return round(seconds * 1e3)
