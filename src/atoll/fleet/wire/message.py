"""What goes over the wire: a request, and the response to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One HTTP request as it was sent, its body whole.

    Attributes:
        method: in capitals.
        target: path and query, percent-encoded as sent.
        headers: (name in lower case, value), in order; a name may come twice.
        body: as sent: a compressed one is still compressed.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def path(self) -> str:
        """Target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the path's question mark, still percent-encoded."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Give a header's value; several of the name are joined as HTTP does; None without any.

        Args:
            name: in lower case.
        """
        values = [value for known, value in self.headers if known == name]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class Response:
    """What is sent back; the server adds length, date and connection."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
