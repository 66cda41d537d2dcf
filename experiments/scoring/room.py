"""The room and microphone that MIDI files are scored in, where the rows of the model's store were recorded in rooms.

All recordings get the same one, so that takes can be compared: the room with the median decay time of those that training rows
have, and the median of their microphones. Drawn anew for each file, a room would move scores from one file to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.results import RoomCard
from keybed.extract.audio.room import Recording, load_rooms, microphone_of
from keybed.extract.run.check_recipe import planned_rooms
from keybed.store.read.store import Store


def median_recording(store: Store, index: NDArray[np.integer]) -> tuple[Recording, RoomCard] | None:
    """Of these rows of a store; None for a store without rooms. Raises NotAsPlanned, BadRooms, ShardDamaged."""
    path = planned_rooms(store)
    if path is None:
        return None
    rooms = load_rooms(path)
    used = np.unique(store.read("row/room", index)).astype(np.intp)
    by_decay = used[np.argsort(rooms.rt60_s[used], kind="stable")]
    middle = int(by_decay[(len(by_decay) - 1) // 2])
    microphone = microphone_of(np.median(store.read("row/microphone", index), axis=0))
    card = RoomCard(
        rooms=len(used),
        decay_s=round(float(rooms.rt60_s[middle]), 3),
        low_cut_hz=microphone.low_cut_hz,
        pre_emphasis=microphone.pre_emphasis,
        drive_db=microphone.drive_db,
    )
    return Recording(np.trim_zeros(rooms.responses[middle], "b"), microphone), card
