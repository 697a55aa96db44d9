"""The root of a listing: names what is below it and turns what was read there into outcomes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from atoll.core.errors import AtollError
from atoll.mesh.harvest.content import Content
from atoll.mesh.harvest.layout import Unit
from atoll.mesh.harvest.listing import Listing
from atoll.mesh.harvest.locations import reason, url_of
from atoll.mesh.harvest.model import Kind, Outcome, Technical, Unreadable
from atoll.mesh.harvest.schemas import columns_of
from atoll.mesh.harvest.statistics import digest

_KINDS: dict[str, Kind] = {"atoll": "vector collection", "files": "file set"}


class Place:
    """Where assets are found.

    Attributes:
        storage: its root.
    """

    def __init__(self, listing: Listing) -> None:
        """Take what lies there and what is refused."""
        self.storage = listing.storage
        self._refused = {one.path: one.error for one in listing.refused}
        self._refused_paths = sorted(self._refused)

    def refusals(self) -> dict[str, Outcome]:
        """Return an outcome for each path that is not looked at."""
        return {path: self._unreadable(path, error) for path, error in self._refused.items()}

    def outcome(self, unit: Unit, read: Callable[[], Content]) -> Outcome:
        """Describe files that are one asset by what `read` returns, or by why it raises."""
        try:
            if refused := self.refusal(unit.path):
                raise refused
            content = read()
        except AtollError as error:
            return self._unreadable(unit.path, error)
        objects = unit.objects
        # By paths within the asset: the same, whichever folder above it was looked through.
        paths = [one.path[len(unit.path) :].lstrip("/") for one in objects if len(objects) > 1]
        states = [(one.size_bytes, one.version) for one in objects]
        written = digest(paths, states)
        return Technical(
            kind=_KINDS.get(unit.format, "table"),
            format=unit.format,
            location=url_of(self.storage, unit.path),
            columns=columns_of(content.schema) if len(content.schema) else (),
            partitions=columns_of(content.partitions) if len(content.partitions) else (),
            rows=content.rows,
            rows_estimate=content.rows_estimate,
            size_bytes=sum(one.size_bytes for one in objects),
            files=len(objects),
            version=written if content.version is None else str(content.version),
            fingerprint=content.fingerprint,
            details=content.details,
            remarks=content.remarks,
        )

    def refusal(self, path: str) -> AtollError | None:
        """Tell why a folder is not read: part of it is refused, and others may be less careful."""
        below = f"{path}/" if path else ""
        at = bisect_left(self._refused_paths, below)
        if at == len(self._refused_paths) or not self._refused_paths[at].startswith(below):
            return None
        error = self._refused[self._refused_paths[at]]
        return type(error)(f"not all of it may be read: {error.message}")

    def _unreadable(self, path: str, error: AtollError) -> Unreadable:
        return Unreadable(url_of(self.storage, path), error.code, reason(error.message))
