"""The command as it is run: a process of its own, killed without warning."""

import contextlib
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from keybed.store.format.vocabulary import DIMENSIONS


@contextlib.contextmanager
def served(rating_set, port):
    command = [sys.executable, "-m", "keybed", "phase5", "serve", str(rating_set.folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        while True:
            assert process.poll() is None, process.stdout.read().decode()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
                break
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_killed_server_that_listens_here_alone(rating_set) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = f"http://127.0.0.1:{port}/r/{rating_set.tokens['ann']}/"
    body = {"save_id": "save-0001", "edit": 1, "scores": dict.fromkeys(DIMENSIONS, 40), "done": True}
    body |= {"listened_s": 0.6, "plays": 1}
    with served(rating_set, port) as process:
        assert httpx.put(home + "ratings/1", json=body, timeout=60).status_code == 200
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with served(rating_set, port):
        saved = httpx.get(home + "session.json", timeout=60).json()["saved"]
        assert saved["1"]["scores"] == body["scores"]
        assert httpx.put(home + "ratings/1", json=body, timeout=60).json()["edit"] == 1  # sent again, not doubled
