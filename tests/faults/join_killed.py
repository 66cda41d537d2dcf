"""Join stores in forked processes that kill themselves at a given step, and say how they ended.

python join_killed.py FOLDER STORE_A STORE_B N: joins into FOLDER/whole and counts the steps (files and folders made, renamed,
linked and removed inside FOLDER), then joins into FOLDER/0, FOLDER/1, … and kills each with SIGKILL before one of N steps, spread
evenly from the first to the last. Prints {"steps": …, "killed_at": […], "statuses": […]} as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

CHANGES = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate"}


def join_in_child(stores: tuple[Path, Path], out: Path, kill_at: int | None) -> tuple[int, int]:
    """Exit status of a join, and how many steps it took."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        with os.fdopen(reader) as pipe:
            steps = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(steps or 0)
    n = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal n
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        )
        if (event in CHANGES or writes) and str(out.parent) in " ".join(map(str, arguments)):
            n += 1
            if n == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    join(JoinConfig(stores, out))
    os.write(writer, str(n).encode())
    os._exit(0)


if __name__ == "__main__":
    from keybed.extract.config import JoinConfig
    from keybed.extract.planning.join import join

    folder, sources, n_kills = Path(sys.argv[1]), (Path(sys.argv[2]), Path(sys.argv[3])), int(sys.argv[4])
    status, n_steps = join_in_child(sources, folder / "whole" / "joined", None)
    assert status == 0
    points = sorted({1 + (n_steps - 1) * k // (n_kills - 1) for k in range(n_kills)})
    ends = [join_in_child(sources, folder / str(k) / "joined", point)[0] for k, point in enumerate(points)]
    print(json.dumps({"steps": n_steps, "killed_at": points, "statuses": ends}))
