"""URLs of remote stores: `hf://datasets/OWNER/NAME`, `s3://BUCKET/FOLDER`, `https://HOST/FOLDER`.

Each is opened by obstore, the object-store library that zarr-python itself uses for remote groups.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from keybed.store.errors import StoreError

_SCHEME = re.compile(r"(hf|s3|https?):/+(?=[^/])")
_HF = re.compile(r"datasets/([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S = 60
EXTRA = "pip install -c constraints.txt '.[remote]'"


class RemoteRefused(StoreError):
    """A URL that names no store, or one that cannot be used."""


class RemoteUnreachable(StoreError):
    """A remote store, or a file of it, could not be read."""


@dataclass(frozen=True)
class Address:
    """Where a remote store lies. scheme: "hf", "s3" or "https". place: OWNER/NAME, BUCKET/FOLDER, or the URL itself.

    revision: branch, tag or commit of a Hugging Face repository, "" for the newest.
    """

    scheme: str
    place: str
    revision: str = ""

    @property
    def url(self) -> str:
        """The URL as a person writes it."""
        if self.scheme == "hf":
            return f"hf://datasets/{self.place}" + (f"@{self.revision}" if self.revision else "")
        return self.place if self.scheme == "https" else f"s3://{self.place}"


def is_url(text: str) -> bool:
    """Whether a store's path is a URL; `hf:/…` too, as pathlib writes one."""
    return _SCHEME.match(text) is not None


def parse(text: str) -> Address:
    """The address that a URL names. Raises RemoteRefused."""
    match = _SCHEME.match(text)
    if match is None:
        raise RemoteRefused(f"{text}: a remote store is hf://datasets/OWNER/NAME, s3://BUCKET/FOLDER or https://…")
    scheme, rest = match[1], text[match.end() :]
    if scheme == "hf":
        repository = _HF.fullmatch(rest)
        if repository is None:
            raise RemoteRefused(f"{text}: a store on Hugging Face is hf://datasets/OWNER/NAME, or …/NAME@REVISION")
        return Address("hf", repository[1], repository[2] or "")
    if scheme == "s3":
        if not all(part not in ("", ".", "..") for part in rest.rstrip("/").split("/")):
            raise RemoteRefused(f"{text}: a store on S3 is s3://BUCKET or s3://BUCKET/FOLDER")
        return Address("s3", rest.rstrip("/"))
    url = f"{scheme}://{rest.rstrip('/')}"
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username:
        raise RemoteRefused(f"{text}: give the URL of the store's folder, without a user name, ? or #")
    if scheme == "http" and parts.hostname not in _LOOPBACK:
        raise RemoteRefused(f"{text} is not encrypted: give an https:// URL")
    return Address("https", url)


class Remote:
    """The files of one remote store, by their paths within it."""

    def __init__(self, address: Address) -> None:
        """Nothing is read yet. Raises RemoteRefused where the library is absent."""
        try:
            import obstore
        except ImportError as error:
            raise RemoteRefused(f"{address.url}: reading a remote store needs obstore: {EXTRA}") from error
        self.address = address
        self.revision = address.revision
        """Of a Hugging Face repository, after `listing`: the commit that is read."""
        self._obstore = obstore
        self._store: Any = None

    def listing(self) -> frozenset[str] | None:
        """Paths of all files; None where the server gives no listing. Raises RemoteUnreachable."""
        if self.address.scheme == "https":
            return None
        if self.address.scheme == "hf":
            return self._hub_listing()
        try:
            pages = self._obstore.list(self._opened())
            return frozenset(entry["path"] for page in pages for entry in page)
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise self._unreachable("the list of files", error) from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one file, in parts. Raises FileNotFoundError, ConnectionError (worth another try), RemoteUnreachable."""
        exceptions = self._obstore.exceptions
        try:
            for part in self._obstore.get(self._opened(), name).stream(min_chunk_size=2**20):
                yield bytes(part)
        except FileNotFoundError as error:  # obstore's own error is a kind of it
            raise FileNotFoundError(f"{self.address.url}/{name}") from error
        except (exceptions.UnauthenticatedError, exceptions.PermissionDeniedError, PermissionError) as error:
            raise self._unreachable(name, error) from error
        except (exceptions.BaseError, OSError) as error:
            raise ConnectionError(_first_line(error)) from error

    def _opened(self) -> Any:
        if self._store is None:
            from obstore.store import HTTPStore, S3Store

            client: Any = {"timeout": timedelta(seconds=TIMEOUT_S)}
            retry: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=TIMEOUT_S)}
            if self.address.scheme == "s3":
                bucket, _, prefix = self.address.place.partition("/")
                known = any(name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN"))
                public: dict[str, Any] = {} if known else {"skip_signature": True}
                if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"):
                    client["allow_http"] = True  # a client with options does not read it
                self._store = S3Store(
                    bucket, prefix=prefix or None, client_options=client, retry_config=retry, **public
                )
            else:
                url = self.address.place
                if self.address.scheme == "hf":
                    url, headers = self._hub_files()
                    client["default_headers"] = headers
                if urlsplit(url).scheme == "http":
                    client["allow_http"] = True
                self._store = HTTPStore(url, client_options=client, retry_config=retry)
        return self._store

    def _hub_files(self) -> tuple[str, dict[str, str]]:
        """URL of the repository's files at the commit that is read, and the headers that open a private one."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers

        if not self.revision:
            self._hub_listing()
        headers = {name.lower(): value for name, value in build_hf_headers().items() if name.lower() == "authorization"}
        return f"{constants.ENDPOINT}/datasets/{self.address.place}/resolve/{self.revision}", headers

    def _hub_listing(self) -> frozenset[str]:
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise RemoteRefused(f"{self.address.url}: this needs huggingface_hub: {EXTRA}") from error
        try:
            info = HfApi().dataset_info(self.address.place, revision=self.address.revision or None, timeout=TIMEOUT_S)
        except hub_errors() as error:
            raise self._unreachable("the repository", error) from error
        self.revision = str(info.sha)
        return frozenset(file.rfilename for file in info.siblings or [])

    def _unreachable(self, what: str, error: Exception) -> RemoteUnreachable:
        return RemoteUnreachable(
            f"{self.address.url}: {what} cannot be read ({_first_line(error)}); check the URL, the connection and "
            "your access (for Hugging Face: `hf auth login`; for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )


def hub_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises for a bad name, a refusal or a broken connection; its HTTP library differs by version."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    libraries = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return (HfHubHTTPError, HFValidationError, OSError, *(library.HTTPError for library in libraries))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
