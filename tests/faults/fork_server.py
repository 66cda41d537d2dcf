"""A program that imports the command line once and then forks a `keybed …` process for every request, within milliseconds.

Requests come as JSON lines on stdin, answers go as JSON lines to stdout:
`{"run": ["extract", STORE], "log": FILE}` → its process id; `{"wait": PID}` → its exit status (−9 for a kill).
Every child leads its own session, so that processes it leaves running can be found.
"""

from __future__ import annotations

import json
import os
import sys


def fork(arguments: list[str], log: str) -> int:
    """Start one command; returns its process id in the parent, and ends with its status in the child."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    sys.exit(main(arguments))


if __name__ == "__main__":
    # What `plan` and `extract` import when they run.
    import rich.progress
    import scipy.ndimage
    import scipy.signal
    import zarr.codecs

    from keybed.experiments.cli.main import main
    from keybed.extract.planning import plan
    from keybed.extract.run import task as worker

    assert plan
    assert worker
    assert rich.progress
    assert scipy.ndimage
    assert scipy.signal
    assert zarr.codecs

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            answer = fork(request["run"], request["log"])
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        print(json.dumps(answer), flush=True)
