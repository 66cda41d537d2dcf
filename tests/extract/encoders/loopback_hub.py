"""A Hugging Face hub on this machine's loopback address that serves one repository with one commit."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LARGE = (".bin", ".safetensors")
"""Files that the hub keeps in LFS: their page redirects to another address, and their ETag is a sha256."""


class Hub:
    """The repository `hub_id` holds the files of `folder` at `commit`, which is `main`. requests: "GET /path", as they came."""

    def __init__(self, hub_id: str, folder: Path, commit: str) -> None:
        self.hub_id, self.commit, self.requests = hub_id, commit, list[str]()
        self.files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serve(self) -> Iterator[Hub]:
        """Answer in a thread."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        api, _, asked = path.partition("?")[0].removeprefix("/api/models/").partition(f"{self.hub_id}")
        commit = {"X-Repo-Commit": self.commit}
        if path.startswith("/api/models/") and not api:
            kind, _, revision = asked.removeprefix("/").partition("/")
            if revision not in ("", "main", self.commit):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            content: object = {
                "id": self.hub_id,
                "sha": self.commit,
                "siblings": [{"rfilename": n} for n in self.files],
            }
            if kind == "tree":
                content = [self._entry(name) for name in self.files]
            return 200, commit | {"Content-Type": "application/json"}, json.dumps(content).encode()
        if path.startswith("/lfs/"):
            return 200, {}, next(data for data in self.files.values() if _sha256(data) == path.removeprefix("/lfs/"))
        name = path.rpartition("/")[2]
        if path not in (f"/{self.hub_id}/resolve/{revision}/{name}" for revision in ("main", self.commit)):
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if name not in self.files:
            return 404, {"X-Error-Code": "EntryNotFound", **commit}, b""
        data = self.files[name]
        if not name.endswith(LARGE):
            return 200, commit | {"ETag": f'"{_git_blob(data)}"'}, data
        linked = {"X-Linked-Etag": f'"{_sha256(data)}"', "X-Linked-Size": str(len(data))}
        # Another host, so that huggingface_hub takes it for a storage and not for a page that has moved.
        storage = self.url.replace("127.0.0.1", "localhost")
        return 302, {**commit, **linked, "Location": f"{storage}/lfs/{_sha256(data)}"}, b""

    def _entry(self, name: str) -> dict[str, object]:
        data = self.files[name]
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": _git_blob(data)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 134}
        return entry

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                status, headers, body = hub._answer(self.path)
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
