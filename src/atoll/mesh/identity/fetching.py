"""Asks a provider over HTTP: bounded in size and time, following no redirect; reads its JSON."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from atoll.core import records
from atoll.core.errors import InvalidInput, Unavailable

T = TypeVar("T")

NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_BYTES = 512 << 10
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


class Fetcher:
    """Makes single requests; call it in a thread that runs no event loop."""

    def __init__(self, ca_file: Path | None, timeout_s: float = TIMEOUT_SECONDS) -> None:
        """Read the certificates to trust; None: the machine's.

        Raises:
            InvalidInput: the file cannot be read.
        """
        self._timeout_s = timeout_s
        try:
            self._trust = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise InvalidInput(f"ca_file {ca_file} holds no certificates: {error}") from error

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Ask for what is at an address.

        Raises:
            Unavailable: no answer, or one too slow, too large, from elsewhere, or not 200.
        """
        answer = asyncio.run(self._ask("GET", url, headers or {}))
        if answer.status != 200:
            raise _unavailable(url, f"answers {answer.status}")
        return answer.body

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Send a form.

        Returns:
            The answer: 200, or of the 400s.

        Raises:
            Unavailable: no answer, or one too slow, too large, from elsewhere, or another.
        """
        answer = asyncio.run(self._ask("POST", url, headers, form))
        if answer.status != 200 and answer.status // 100 != 4:
            raise _unavailable(url, f"answers {answer.status}")
        return answer

    async def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        # Asynchronous for one deadline over all: a socket's own begins anew with each byte.
        plain = {"accept": "application/json", "accept-encoding": "identity"}
        client = httpx2.AsyncClient(verify=self._trust, trust_env=False, timeout=None)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client,
                client.stream(method, url, headers={**plain, **headers}, data=form) as answer,
            ):
                return Answer(answer.status_code, await _read(answer, url))
        except TimeoutError as error:
            raise _unavailable(url, f"did not answer within {self._timeout_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            why = "has a certificate that is not trusted: set ca_file" if is_untrusted else None
            raise _unavailable(url, why or "cannot be reached") from error


def read(body: bytes, kind: type[T], what: str) -> T:
    """Read JSON of a type.

    Raises:
        Unavailable: it is none; it says `what` cannot be read.
    """
    try:
        return records.decoded(body, kind)
    except NO_JSON as error:
        raise Unavailable(f"{what} cannot be read; check the issuer that is configured") from error


async def _read(answer: httpx2.Response, url: str) -> bytes:
    if answer.is_redirect:
        raise _unavailable(url, "redirects elsewhere, which is not followed")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise _unavailable(url, "sends compressed what was asked for plain")
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > MAX_BYTES:
            raise _unavailable(url, f"sends more than {MAX_BYTES:,} bytes")
    return bytes(body)


def _unavailable(url: str, why: str) -> Unavailable:
    return Unavailable(f"the sign-in provider at {urlsplit(url).netloc} {why}")
