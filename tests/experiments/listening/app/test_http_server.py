"""The page's server on a real socket: clients that are slow, and clients that lie about their address."""

import socket
import time

import httpx
import pytest
from starlette.responses import PlainTextResponse

from keybed.experiments.listening.app import http_server, server
from keybed.experiments.listening.app.http_server import server_config
from keybed.experiments.listening.app.server import build_app
from keybed.store.errors import KeybedError


@pytest.fixture(autouse=True)
def short_limits(monkeypatch):
    for module, name in ((http_server, "REQUEST_S"), (http_server, "UNREAD_S"), (server, "BODY_S")):
        monkeypatch.setattr(module, name, 0.4)


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def closed(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection; fails after a minute."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize("sent", [b"", b"G", HEAD], ids=["nothing", "a byte", "half a head"])
def test_half_a_request_is_closed(listen, rating_set, database, sent):
    with listen(build_app(rating_set, database)) as address, connect(address) as connection:
        connection.sendall(sent)
        assert closed(connection) == b""


def test_half_a_second_request_is_closed(listen, rating_set, database):
    with listen(build_app(rating_set, database)) as address, connect(address) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD)
        assert b"HTTP" not in closed(connection)


def trickle(connection: socket.socket) -> None:
    """A byte every 0.1 s, for a minute at most."""
    for _ in range(600):
        connection.sendall(b"X")
        time.sleep(0.1)


def test_a_byte_now_and_then_does_not_keep_half_a_request_open(listen, rating_set, database):
    with listen(build_app(rating_set, database)) as address, connect(address) as connection:
        connection.sendall(HEAD)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            trickle(connection)


def test_a_body_that_does_not_come_is_refused(listen, rating_set, database):
    head = (
        f"PUT /r/{rating_set.tokens['ann']}/ratings/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    )
    with listen(build_app(rating_set, database)) as address, connect(address) as connection:
        connection.sendall(head.encode() + b'Content-Length: 100\r\n\r\n{"save_id":')
        assert closed(connection).startswith(b"HTTP/1.1 408")
    assert database.current("ann") == {}


def test_a_response_that_nobody_reads_is_given_up(listen):
    with listen(PlainTextResponse("x" * 50_000_000)) as address, connect(address) as connection:
        connection.sendall(HEAD + b"\r\n")
        time.sleep(1.5)  # more than the limit, without reading
        assert len(closed(connection)) < 50_000_000


def test_a_rater_with_pauses_between_requests_is_served(listen, rating_set, database):
    home = f"/r/{rating_set.tokens['ann']}/"
    with listen(build_app(rating_set, database)) as address, httpx.Client(base_url=address) as client:
        for _ in range(3):
            assert client.get(home + "session.json").status_code == 200
            time.sleep(0.6)  # longer than the limit of one request; the connection stays open


def guesses(address: str) -> list[int]:
    """Status of 40 unknown links, each under a client address of its own making."""
    with httpx.Client(base_url=address) as client:
        return [
            client.get(f"/r/guess-{i}/", headers={"x-forwarded-for": f"203.0.113.{i}"}).status_code for i in range(40)
        ]


def test_a_client_cannot_choose_its_address(listen, rating_set, database):
    with listen(build_app(rating_set, database)) as address:
        assert guesses(address)[-1] == 429


def test_a_named_proxy_says_who_its_clients_are(listen, rating_set, database):
    with listen(build_app(rating_set, database), proxy="127.0.0.1") as address:
        assert set(guesses(address)) == {404}
    with listen(build_app(rating_set, database), proxy="10.0.0.0/8") as address:
        assert guesses(address)[-1] == 429


@pytest.mark.parametrize("proxy", ["*", "nginx", "", "10.0.0.1/8"])
def test_a_proxy_is_named_by_its_address(rating_set, database, proxy):
    with pytest.raises(KeybedError, match="--proxy"):
        server_config(build_app(rating_set, database), "127.0.0.1", 0, proxy)
