"""Asks a mesh over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

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

TIMEOUT_SECONDS = 60.0
_ID = re.compile(r"^[a-z]+-[2-9a-km-np-z]{16}$")
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
        """Ask the mesh at an address, by a token."""
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT_SECONDS,
        )
        self._url = url

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
        try:
            answer = self._http.request(
                method,
                f"/v1{path}",
                params=dict(query or {}),
                json=body,
                headers=dict(headers or {}),
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the mesh at {self._url} does not answer ({type(error).__name__}); "
                "is `atoll serve` running there?"
            ) from error
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

    def id_of(self, path: str, text: str) -> str:
        """Return the id of what is called something, or the id itself.

        Args:
            path: of the list of all of that kind.
            text: an id, or a name.

        Raises:
            NotFound: nothing that you may look at is called so.
            Conflict: more than one thing is.
        """
        if _ID.match(text):
            return text
        found = [one["id"] for one in self.pages(path, {"name": text})]
        if not found:
            raise NotFound(f"nothing under {path} is called '{text}'; give a name or an id")
        if len(found) > 1:
            raise Conflict(f"'{text}' is the name of {', '.join(found)}; give an id")
        return str(found[0])


def quoted(path: str, ids: Mapping[str, str]) -> str:
    """Fill a path in."""
    return path.format_map({key: quote(value, safe="") for key, value in ids.items()})


def _error(status: int, told: Any) -> AtollError:
    error = told.get("error", {}) if isinstance(told, dict) else {}
    kind = _ERRORS.get(error.get("code", ""), AtollError)
    message = str(error.get("message", f"the mesh answered with status {status}"))
    details = error.get("details")
    return kind(message, **details) if isinstance(details, dict) else kind(message)
