"""The rating server: page, session, sound and saves, each under a rater's own secret link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keybed.experiments.listening.app.database import Database, DatabaseUnusable, EditConflict
from keybed.experiments.listening.app.limits import RateLimit
from keybed.experiments.listening.app.rating_set import RatingSet
from keybed.experiments.listening.app.ratings import InvalidRating, Rating, parse_rating
from keybed.experiments.listening.app.session import session

PAGE = Path(__file__).parent / "page"
MAX_BODY_BYTES = 16_384
BODY_S = 20.0
"""Time for the body of a save."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}
Endpoint = Callable[[Request, str], Awaitable[Response]]


def build_app(
    rating_set: RatingSet,
    database: Database,
    *,
    allowed_hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]"),
    per_rater: RateLimit | None = None,
    strangers: RateLimit | None = None,
) -> Starlette:
    """The ASGI application. It refuses requests under other host names (DNS rebinding).

    Unknown links have a limit per address, known ones a limit per rater: strangers cannot lock out a rater who shares their
    address. A link's 144 bits are not guessed at any rate; the limits only keep the load low.
    """
    per_rater = per_rater or RateLimit(per_s=10, burst=60)
    strangers = strangers or RateLimit(per_s=0.2, burst=20)

    def for_rater(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            rater = rating_set.rater_of(request.path_params["token"])
            if rater is None:
                address = request.client.host if request.client else "unknown"
                if not strangers.allows(address):
                    return PlainTextResponse("Too many unknown links from this address; wait a minute.", 429)
                return PlainTextResponse("This link is not known. Ask for your personal link.", 404)
            if not per_rater.allows(rater):
                return PlainTextResponse("Too many requests; wait a few seconds.", 429, {"retry-after": "2"})
            try:
                return await endpoint(request, rater)
            except DatabaseUnusable as error:
                logging.getLogger("uvicorn.error").error(str(error))
                return PlainTextResponse("Ratings cannot be stored now; tell the person who sent you the link.", 503)

        return checked

    async def page(_: Request, rater: str) -> Response:
        return FileResponse(PAGE / "index.html", media_type="text/html")

    async def state(_: Request, rater: str) -> Response:
        saved = await run_in_threadpool(database.current, rater)
        agreed = await run_in_threadpool(database.has_agreed, rater, rating_set.welcome.consent_sha256)
        return JSONResponse(session(rating_set, rater, saved, agreed=agreed))

    async def check(request: Request, rater: str) -> Response:
        try:
            path = rating_set.check(request.path_params["name"])
        except KeyError:
            return PlainTextResponse("No such clip.", 404)
        return FileResponse(path, media_type="audio/flac", content_disposition_type="inline")

    async def agree(request: Request, rater: str) -> Response:
        if request.path_params["text_sha256"] != rating_set.welcome.consent_sha256:
            return PlainTextResponse("This is not the text of consent of this set; reload the page.", 409)
        await run_in_threadpool(database.agree, rater, rating_set.welcome.consent_sha256)
        return JSONResponse({"agreed": True})

    async def sound(request: Request, rater: str) -> Response:
        position = _position(rating_set, rater, request)
        if position is None:
            return PlainTextResponse("No such clip.", 404)
        clip = rating_set.orders[rater][position - 1].clip
        return FileResponse(rating_set.audio(clip), media_type="audio/flac", content_disposition_type="inline")

    async def save(request: Request, rater: str) -> Response:
        position = _position(rating_set, rater, request)
        if position is None:
            return PlainTextResponse("No such clip.", 404)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("Send application/json.", 415)
        if not await run_in_threadpool(database.has_agreed, rater, rating_set.welcome.consent_sha256):
            return PlainTextResponse("Agree to the text of consent first; reload the page.", 403)
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(request)
        except TimeoutError:
            return PlainTextResponse(f"The rating did not arrive within {BODY_S:g} s.", 408, {"connection": "close"})
        except ClientDisconnect:
            return PlainTextResponse("The connection was closed before the rating had arrived.", 400)
        if body is None:
            return PlainTextResponse(f"More than {MAX_BODY_BYTES} bytes.", 413, {"connection": "close"})
        try:
            rating = parse_rating(body)
            kept: Rating = await run_in_threadpool(database.save, rater, position, rating)
        except InvalidRating as error:
            return PlainTextResponse(str(error), 422)
        except EditConflict as conflict:
            return JSONResponse(conflict.current.to_json(), 409)
        return JSONResponse(kept.to_json())

    async def front(_: Request) -> Response:
        return PlainTextResponse("Keybed ratings. Open your personal link to begin.")

    routes = [
        Route("/", front),
        Route("/r/{token}/", for_rater(page)),
        Route("/r/{token}/session.json", for_rater(state)),
        Route("/r/{token}/audio/{position}.flac", for_rater(sound)),
        Route("/r/{token}/check/{name}.flac", for_rater(check)),
        Route("/r/{token}/consent/{text_sha256}", for_rater(agree), methods=["PUT"]),
        Route("/r/{token}/ratings/{position}", for_rater(save), methods=["PUT"]),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    middleware = [Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts))]
    return Starlette(routes=routes, middleware=middleware)


def _position(rating_set: RatingSet, rater: str, request: Request) -> int | None:
    return rating_set.position(rater, request.path_params["position"])


async def _body(request: Request) -> bytes | None:
    """The whole body, or None where it is longer than the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


class _Headers:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = message["headers"]
                taken = {name for name, _ in headers}
                headers += [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in taken]
            await send(message)

        await self.app(scope, receive, with_headers)
