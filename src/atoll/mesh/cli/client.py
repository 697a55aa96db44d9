"""Asks a mesh over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import httpx2

from atoll.core.errors import (
    AtollError,
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from atoll.mesh.operations.registry import Operation

TIMEOUT_SECONDS = 300.0  # some answers are long thought about
_ERRORS = {
    kind.code: kind
    for kind in (
        *(InvalidInput, NotFound, Forbidden, Unauthenticated, Conflict, TooManyRequests),
        *(Unavailable, Corrupt),
    )
}


class MeshClient:
    """One mesh, as one principal sees it."""

    def __init__(self, url: str, token: str) -> None:
        """Ask the mesh at an address, by a token.

        Raises:
            InvalidInput: it is no address, or no token.
        """
        if not re.match(r"https?://[^/]", url):
            raise InvalidInput(f"'{url}' is no address of a mesh; write one like http://HOST:8480")
        if not re.fullmatch(r"[!-~]*", token):
            raise InvalidInput("the token has characters that none of ours has; take a new one")
        self._http = httpx2.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT_SECONDS,
        )
        self._url = url

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make one request; return what the JSON says.

        Raises:
            AtollError: the one that the mesh answered with.
            Unavailable: it does not answer.
        """
        with self._answering():
            answer = self._http.request(
                method,
                f"/v1{path}",
                params=dict(query or {}),
                json=body,
                headers=dict(headers or {}),
            )
            return self._told(answer)

    def perform(
        self,
        operation: Operation,
        given: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Have an operation performed; a list is read page by page, as it is asked for."""
        path, rest = _addressed(operation, given)
        if operation.is_list:
            return self.pages(path, rest)
        if operation.is_read:
            return self.ask("GET", path, query=rest)
        return self.ask(operation.method, path, body=rest, headers=headers)

    def download(
        self, operation: Operation, given: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Iterator[bytes]:
        """Have an operation performed; yield the bytes of the file that it answers with.

        Raises:
            AtollError: the one that the mesh answered with.
            Unavailable: it does not answer, or not to the end.
        """
        path, body = _addressed(operation, given)
        sent = self._http.build_request(
            operation.method, f"/v1{path}", json=body, headers=dict(headers)
        )
        with self._answering(), closing(self._http.send(sent, stream=True)) as answer:
            if not answer.is_success:
                answer.read()
                self._told(answer)
            yield from answer.iter_bytes()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, httpx2.InvalidURL) as error:
            raise InvalidInput(f"this cannot be sent to {self._url}: {error}") from error
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"the mesh at {self._url} does not answer ({type(error).__name__}); "
                "is `atoll serve` running there?"
            ) from error

    def _told(self, answer: httpx2.Response) -> Any:
        try:
            told = answer.json()
        except ValueError as error:
            raise Unavailable(f"what answers at {self._url} is no mesh of Atoll") from error
        if answer.is_success:
            return told
        raise _error(answer.status_code, told)

    def sign_in(self, name: str, password: str, *, scopes: Sequence[str], ttl_s: int) -> str:
        """Exchange a local user's password for a token; the session in between ends.

        Raises:
            Unauthenticated: the name or the password is not right.
        """
        opened = self.ask("POST", "/sign-in", body={"name": name, "password": password})
        # The cookie is for TLS only, which a mesh on this machine does without.
        cookie = {"Cookie": "; ".join(f"{one.name}={one.value}" for one in self._http.cookies.jar)}
        headers = {"X-CSRF-Token": opened["csrf"], **cookie}
        path = f"/user-profiles/{opened['profile_id']}/access-tokens"
        body = {"name": "atoll mesh login", "scopes": list(scopes), "ttl_s": ttl_s}
        issued = self.ask("POST", path, body=body, headers=headers)
        self.ask("POST", "/sign-out", headers=headers)
        return str(issued["text"])

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the items of a list, page by page."""
        cursor = ""
        while True:
            page = self.ask("GET", path, query={**query, "cursor": cursor} if cursor else query)
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return


def _addressed(operation: Operation, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path, filled in, and what is told besides it."""
    ids = {name: quote(str(given[name]), safe="", errors="replace") for name in operation.names}
    rest = {key: value for key, value in given.items() if key not in ids}
    return operation.path.format_map(ids), rest


def _error(status: int, told: Any) -> AtollError:
    error = told.get("error", {}) if isinstance(told, dict) else {}
    kind = _ERRORS.get(error.get("code", ""), AtollError)
    message = str(error.get("message", f"the mesh answered with status {status}"))
    details = error.get("details")
    return kind(message, **details) if isinstance(details, dict) else kind(message)
