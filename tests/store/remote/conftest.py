"""Servers on this machine's loopback address: a plain one for files, which can be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class FileServer:
    """Serves the files under `folder`. asked: paths, as they came.

    cut: path → how many of the next answers end half-way. changed: path → bytes served instead.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        self.cut: dict[str, int] = {}
        self.changed: dict[str, bytes] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                server.asked.append(name)
                file = server.folder / name
                if name not in server.changed and not file.is_file():
                    self.send_error(404)
                    return
                data = server.changed.get(name) or file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", '"1"')
                self.send_header("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")
                self.end_headers()
                if server.cut.get(name, 0) > 0:
                    server.cut[name] -= 1
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FileServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for mirrors; waits between tries are 0 s."""
    from keybed.store.remote import mirror

    folder = tmp_path / "cache"
    monkeypatch.setenv(mirror.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(mirror, "FIRST_WAIT_S", 0.0)
    return folder


@pytest.fixture
def server(whole_store) -> Iterator[FileServer]:
    """The whole store behind a URL, without a listing."""
    with FileServer(whole_store.path) as running:
        yield running
