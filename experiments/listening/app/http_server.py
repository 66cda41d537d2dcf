"""uvicorn as the rating page needs it: slow clients are cut off, and only a named proxy may say who a client is."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from keybed.store.errors import KeybedError

REQUEST_S = 20.0
"""Time for a request's line and headers; then the connection is closed, even if it sends a byte now and then."""
UNREAD_S = 60.0
"""Time for which a client may read nothing of a response; then the connection is closed."""
_STOP_S = 5


def server_config(app: ASGIApp, host: str, port: int, proxy: str | None = None) -> uvicorn.Config:
    """uvicorn's configuration. proxy: the address or network of a reverse proxy whose `X-Forwarded-For` is believed.

    Raises KeybedError where `proxy` is no address.
    """
    if proxy is not None:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise KeybedError(
                f"--proxy {proxy}: give the proxy's IP address or network, such as 127.0.0.1 or 10.0.0.0/8"
            ) from error
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_TimedProtocol,
        ws="none",
        log_level="warning",
        server_header=False,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy or "",
        timeout_graceful_shutdown=_STOP_S,
    )


class _Deadline:
    """A timer that calls `expired` once unless it is stopped; starting it again while it runs does not delay it."""

    def __init__(self, expired: Callable[[], None]) -> None:
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expired)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _TimedProtocol(H11Protocol):
    """HTTP/1.1 with a limit on the time in which a request's headers arrive and on the time for which a response stalls.

    uvicorn closes idle connections only after a first response, and knows no other limit. The limit for a request's body
    is in `server.py`.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._request, self._response = _Deadline(transport.abort), _Deadline(transport.abort)
        self._request.start(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._request.stop()  # the headers are complete, and the application has the request
        else:
            self._request.start(REQUEST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._request.stop()
        self._response.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._response.start(UNREAD_S)

    def resume_writing(self) -> None:
        self._response.stop()
        super().resume_writing()
