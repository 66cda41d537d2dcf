import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed.experiments.listening.app.database import Database
from keybed.experiments.listening.app.rating_set import Presentation, RatingSet, new_tokens, write_set

CLIPS = ("aaaaaaaa", "bbbbbbbb", "cccccccc")


@pytest.fixture
def rating_set(tmp_path: Path) -> RatingSet:
    """Two raters, one practice clip, two clips, one of them heard again; each clip lasts 0.6 s."""
    (tmp_path / "audio").mkdir()
    for i, clip in enumerate(CLIPS):
        t = np.arange(14_400) / 24_000
        soundfile.write(tmp_path / "audio" / f"{clip}.flac", 0.1 * np.sin(2 * np.pi * 220 * (i + 1) * t), 24_000)
    first = (Presentation("aaaaaaaa", "anchor"), Presentation("bbbbbbbb", "main"), Presentation("cccccccc", "main"))
    second = (first[0], first[2], first[1], Presentation("cccccccc", "repeat"))
    orders = {"ann": first, "ben": second}
    made = RatingSet(tmp_path, "set-1", dict.fromkeys(CLIPS, 0.6), orders, new_tokens(["ann", "ben"]))
    write_set(made)
    return made


@pytest.fixture
def database(rating_set: RatingSet) -> Database:
    return Database(rating_set.database)


@contextlib.contextmanager
def listening(app, proxy: str | None = None) -> Iterator[str]:
    """The app on a free port of this machine, in a thread, as `keybed phase5 serve` runs it; yields its address."""
    import uvicorn

    from keybed.experiments.listening.app.http_server import server_config

    running = uvicorn.Server(server_config(app, "127.0.0.1", 0, proxy))
    with socket.socket() as bound:  # kept open, so that nobody else gets the port in between
        bound.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
        thread.start()
        while not running.started:
            assert thread.is_alive(), "the server ended before it listened"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(timeout=1800)
        assert not thread.is_alive()


@pytest.fixture
def listen():
    return listening


@pytest.fixture
def server(rating_set: RatingSet, database: Database):
    """The rating page's address."""
    from keybed.experiments.listening.app.server import build_app

    with listening(build_app(rating_set, database)) as address:
        yield address
