"""Parse the bytes of a Standard MIDI File: channel messages and tempo changes of each track, in ticks.

Only what the music needs is interpreted. Every other meta event, system message or chunk is stepped over by its length,
so that a damaged key signature or an unknown chunk costs nothing but itself. mido raises an error for the whole file there;
the notes of 384 real files are the same by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keybed.extract.regular_files import size_of
from keybed.store.errors import KeybedError

LARGEST_BYTES = 64 * 2**20
"""A larger file is refused: an hour of dense piano music has less than 2 MB."""

_META, _SYSEX, _SYSEX_ESCAPE = 0xFF, 0xF0, 0xF7
_END_OF_TRACK, _SET_TEMPO = 0x2F, 0x51
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
_ONE_DATA_BYTE = (0xC0, 0xD0)
_LONGEST_NUMBER = 4
"""Bytes of the longest variable-length number that the standard allows."""


class MidiError(KeybedError):
    """A MIDI or notes file that cannot be read, or holds no piano note; the message names the file and the reason."""


Message = tuple[int, int, int, int]
"""Tick from the start, status byte, first and second data byte (0 where the message has none)."""


@dataclass(frozen=True, eq=False)
class MidiTracks:
    """Content of a MIDI file. tracks: the channel messages of each track, in order. end_tick: of the longest track."""

    ticks_per_beat: int
    tracks: tuple[tuple[Message, ...], ...]
    tempi: tuple[tuple[int, int], ...]
    """Tick and microseconds per beat of each tempo change of any track, sorted by tick."""
    end_tick: int


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises MidiError where it cannot be read, is no regular file, or exceeds LARGEST_BYTES."""
    try:
        size = size_of(path)
        if size > LARGEST_BYTES:
            raise MidiError(f"{path}: {size:,} bytes, too large for a MIDI file; it was not read")
        return path.read_bytes()
    except OSError as error:
        raise MidiError(f"{path}: {error.strerror or error}") from error


def parse_tracks(data: bytes, name: str | Path) -> MidiTracks:
    """Parse a whole file. name: for messages. Raises MidiError for anything whose notes or times cannot be trusted."""
    if not data:
        raise MidiError(f"{name}: an empty file; copy it again")
    if data[:4] != b"MThd":
        raise MidiError(f"{name}: not a MIDI file (it does not begin with MThd)")
    kind, n_tracks, ticks_per_beat, position = _header(data, name)
    if kind == 2:
        raise MidiError(f"{name}: a MIDI file of type 2 holds several pieces; export it as type 0 or 1")
    if ticks_per_beat == 0:
        raise MidiError(f"{name}: a beat of 0 ticks, so that its times mean nothing; export it again")
    if ticks_per_beat >= 0x8000:
        raise MidiError(f"{name}: time code instead of ticks per beat; export it with a tempo")
    tracks: list[tuple[Message, ...]] = []
    tempi: list[tuple[int, int]] = []
    end_tick = 0
    while len(tracks) < n_tracks:
        begin = position + 8
        end = begin + int.from_bytes(data[position + 4 : begin])
        if begin > len(data) or end > len(data):
            raise MidiError(f"{name}: cut short, {len(tracks)} of its {n_tracks} tracks are whole; copy it again")
        if data[position : position + 4] == b"MTrk":
            track = _Track(data[begin:end], f"{name}: track {len(tracks)}")
            tracks.append(tuple(track.messages))
            tempi += track.tempi
            end_tick = max(end_tick, track.tick)
        position = end
    return MidiTracks(ticks_per_beat, tuple(tracks), tuple(sorted(tempi)), end_tick)


def _header(data: bytes, name: str | Path) -> tuple[int, int, int, int]:
    """Type, number of tracks, division, and where the first chunk after the header begins."""
    length = int.from_bytes(data[4:8])
    if len(data) < 14 or len(data) < 8 + length:
        raise MidiError(f"{name}: cut short within its header; copy it again")
    if length < 6:
        raise MidiError(f"{name}: a damaged MIDI file (its header has {length} bytes, not 6)")
    kind, n_tracks, division = (int.from_bytes(data[at : at + 2]) for at in (8, 10, 12))
    return kind, n_tracks, division, 8 + length


class _Track:
    """Messages and tempo changes of one track. `tick` is the time of its last event."""

    def __init__(self, data: bytes, name: str) -> None:
        self.messages: list[Message] = []
        self.tempi: list[tuple[int, int]] = []
        self.tick = 0
        self._data, self._name = data, name
        self._at = 0
        self._running_status = 0
        ended: tuple[int, int, int] | None = None
        try:
            while self._at < len(data):
                if self._event() and ended is None:
                    ended = len(self.messages), len(self.tempi), self.tick
        except IndexError:
            self._cut_back(ended, "its last event has no end; copy the file again")
        except _Damaged as reason:
            self._cut_back(ended, str(reason))

    def _cut_back(self, ended: tuple[int, int, int] | None, reason: str) -> None:
        """Drop what follows the end-of-track event where it is no music; without that event the track is damaged."""
        if ended is None:
            raise MidiError(f"{self._name}: a damaged MIDI file ({reason})")
        del self.messages[ended[0] :], self.tempi[ended[1] :]
        self.tick = ended[2]

    def _event(self) -> bool:
        """Read one event; whether it ends the track. Raises IndexError at the end of the data, and _Damaged."""
        self.tick += self._number()
        data, at = self._data, self._at
        status = data[at]
        if status == _META:
            return self._meta()
        if status in (_SYSEX, _SYSEX_ESCAPE):
            self._at += 1
            self._skip(self._number())
            return False
        if status >= 0xF0:
            if status not in _SYSTEM_DATA_BYTES:
                raise _Damaged(f"the undefined status byte {status:#x} at tick {self.tick}")
            self._at += 1
            self._skip(_SYSTEM_DATA_BYTES[status])
            return False
        if status >= 0x80:
            self._running_status = status
            at += 1
        elif not self._running_status:
            raise _Damaged(f"data without a status byte at tick {self.tick}")
        status = self._running_status
        first, second = min(data[at], 127), 0
        at += 1
        if status & 0xF0 not in _ONE_DATA_BYTE:
            second = min(data[at], 127)
            at += 1
        self._at = at
        self.messages.append((self.tick, status, first, second))
        return False

    def _meta(self) -> bool:
        kind = self._data[self._at + 1]
        self._at += 2
        length = self._number()
        content = self._data[self._at : self._at + length]
        self._skip(length)
        if kind == _SET_TEMPO:
            if length < 3:
                raise _Damaged(
                    f"a tempo of {length} bytes instead of 3 at tick {self.tick}, so that its times are unknown"
                )
            self.tempi.append((self.tick, int.from_bytes(content[:3])))
        return kind == _END_OF_TRACK

    def _number(self) -> int:
        """A variable-length number: 7 bits in each byte, the last one below 128."""
        value = 0
        for _ in range(_LONGEST_NUMBER):
            byte = self._data[self._at]
            self._at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise _Damaged(f"a number of more than {_LONGEST_NUMBER} bytes after tick {self.tick}")

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > len(self._data):
            raise IndexError


class _Damaged(Exception):
    """Why the rest of a track cannot be read."""
