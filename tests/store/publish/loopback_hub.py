"""A hub on this machine's loopback address with dataset repositories that can be made, filled and read."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class DatasetHub:
    """repositories: OWNER/NAME → path → bytes. requests: (method, path, authorization). refuse: status for every commit, 0 for none."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.private: dict[str, bool] = {}
        self.refuse = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self._body())

            do_HEAD = do_GET

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _answer(self, body: bytes) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append((self.command, path, self.headers.get("Authorization", "")))
                status, content = hub.answer(self.command, path, body)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", '"1"')
                self.send_header("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT")
                if status == 404:
                    known = any(f"/{place}" in path for place in hub.repositories)
                    self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> DatasetHub:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        if path == "/api/repos/create":
            asked = json.loads(body)
            place = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            place = place if "/" in place else f"ann/{place}"
            if place in self.repositories:
                return 409, {"error": "exists", "url": f"{self.url}/datasets/{place}"}
            self.repositories[place] = {}
            self.private[place] = bool(asked.get("private")) or asked.get("visibility") == "private"
            return 200, {"url": f"{self.url}/datasets/{place}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        for place, files in self.repositories.items():
            api = f"/api/datasets/{place}"
            if path.startswith(f"{api}/preupload/"):
                asked = json.loads(body)["files"]
                plain = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in asked
                ]
                return 200, {"files": plain}
            if path.startswith(f"{api}/commit/"):
                if self.refuse:
                    return self.refuse, {"error": "no right to write"}
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                return 200, {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"{self.url}/datasets/{place}/commit/{COMMIT}",
                }
            if path == api or path.startswith(f"{api}/revision/"):
                names = [{"rfilename": name} for name in files]
                return 200, {"id": place, "sha": COMMIT, "siblings": names, "private": self.private.get(place, False)}
            if path.startswith(f"{api}/tree/"):
                return 200, [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in files.items()]
            for revision in ("main", COMMIT):
                start = f"/datasets/{place}/resolve/{revision}/"
                if path.startswith(start) and path.removeprefix(start) in files:
                    return 200, files[path.removeprefix(start)]
        return 404, {"error": "not found"}
