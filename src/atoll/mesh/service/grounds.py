"""Where a project may register assets: its ground on a storage, less what others have there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.core.errors import AtollError, Conflict, InvalidInput, NotFound
from atoll.mesh.harvest.locations import lies_in, normalised, stated
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    AssociationStatus,
    Environment,
    EnvironmentStatus,
    Project,
)
from atoll.mesh.store.reading import Reader


@dataclass(frozen=True)
class Ground:
    """What a project may register of an accepted storage.

    Attributes:
        storage: its own, or another project's.
        root: a normalised location: the storage's, or that of an environment of the project on it.
        others: those of environments that other projects have there, whatever became of these.
    """

    storage: Association
    root: str
    others: tuple[str, ...] = ()

    def holds(self, place: str) -> bool:
        """Tell whether a normalised location is the root or lies below it, whosever it is."""
        return lies_in(place, self.root)

    def is_anothers(self, place: str) -> bool:
        """Tell whether a normalised location lies in another project's environment."""
        return any(lies_in(place, one) for one in self.others)

    def holds_anothers(self, place: str) -> bool:
        """Tell whether another project's environment lies at a normalised location or below it."""
        return any(lies_in(one, place) for one in self.others)


def ground_of(reader: Reader, project: Project, location: str) -> tuple[Ground, str]:
    """Find what of a storage is a project's where a location lies.

    Returns:
        The ground, and the location, normalised.

    Raises:
        NotFound: it lies in no accepted storage of the project, nor in one of its environments, is
            reached through a link, or is no location: told like a place where nothing is.
        Conflict: it lies in an environment of the project that is not ACTIVE.
    """
    try:
        place = stated(location)
        try:
            ground = ground_at(reader, project, place)
        except NotFound:
            # A shell in a folder that is reached through a link says where it is with the link.
            place = normalised(place)
            ground = ground_at(reader, project, place)
    except InvalidInput as error:
        raise nothing_at(project) from error
    # Only on the project's own ground: where else a link leads to is nothing to be told.
    if not _is_itself(place):
        raise nothing_at(project)
    return ground, place


def ground_at(reader: Reader, project: Project, place: str) -> Ground:
    """Find what of a storage is a project's where a normalised location lies.

    An environment keeps the id of its storage when that leaves the domain, so those of others are
    found by where they lie: whoever associates the same place again does not get what is in them.

    Raises:
        NotFound: nothing is.
        Conflict: it lies in an environment of the project that is not ACTIVE.
    """
    refusal: AtollError = nothing_at(project)
    for one in reader.all(Environment, project_id=project.id):
        if not lies_in(place, one.prefix):
            continue
        storage = reader.get(Association, one.storage_id)
        if one.status is EnvironmentStatus.ACTIVE:
            return _ground(reader, project, storage, one.prefix)
        remedy = (
            "let it go on, or use another"
            if one.status is EnvironmentStatus.SUSPENDED
            else "its storage or workgroup left the domain; use another environment"
        )
        refusal = Conflict(
            f"the environment '{one.name}' is {one.status}, so nothing new is registered in it; "
            f"{remedy}"
        )
        if storage.status is AssociationStatus.ACCEPTED:
            raise refusal
    for storage in reader.all(
        Association,
        project_id=project.id,
        kind=AssociationKind.STORAGE,
        status=AssociationStatus.ACCEPTED,
    ):
        if lies_in(place, storage.location):
            ground = _ground(reader, project, storage, storage.location)
            if not ground.is_anothers(place):
                return ground
    raise refusal


def nothing_at(project: Project) -> NotFound:
    """Return the error for a place with nothing that a project may register."""
    # Not the location: it may hold keys.
    return NotFound(
        f"there is nothing at this location that '{project.name}' may register; check its "
        "spelling, that a local place is written in full, from / on, and without links inside the "
        "storage, and that it lies in an accepted storage of the project, or in one of its "
        "environments"
    )


def taken_in(reader: Reader, place: str) -> list[str]:
    """List the locations of assets that lie in a place, or that it lies in, sorted."""
    return sorted(reader.overlaps(Asset, "external_identifier", place))


def same_files(reader: Reader, project: Project, taken: Sequence[str], location: str) -> str:
    """Say which asset would hold the same files as one at a location; empty: none.

    Args:
        reader: the moment.
        project: whose the new one would be; assets of others are not named.
        taken: from `taken_in`.
        location: where it lies, normalised.
    """
    place = overlapping(taken, location)
    if not place:
        return ""
    asset = reader.one(Asset, external_identifier=place)
    is_own = asset is not None and asset.owning_project_id == project.id
    other = f"the asset at {place}" if is_own else "an asset of another project"
    return f"{other} and this one would hold the same files; that one would have to go first"


def overlapping(taken: Sequence[str], location: str) -> str:
    """Find an asset's location that a location lies in, or that lies in it; empty: there is none.

    Args:
        taken: from `taken_in`.
        location: of what is to be an asset.

    >>> taken = ["s3://plant/a", "s3://plant/a-b", "s3://plant/c/d"]
    >>> overlapping(taken, "s3://plant/a/x"), overlapping(taken, "s3://plant/c")
    ('s3://plant/a', 's3://plant/c/d')
    >>> overlapping(taken, "s3://plant/a"), overlapping(taken, "s3://plant/a-")
    ('', '')
    """
    below = bisect_left(taken, f"{location}/")
    if below < len(taken) and taken[below].startswith(f"{location}/"):
        return taken[below]
    for end in (at for at, letter in enumerate(location) if letter == "/"):
        at = bisect_left(taken, location[:end])
        if at < len(taken) and taken[at] == location[:end]:
            return location[:end]
    return ""


def _is_itself(place: str) -> bool:
    """Tell whether no link is on the way to a place."""
    try:
        return normalised(place) == place
    except InvalidInput:
        return False


def _ground(reader: Reader, project: Project, storage: Association, root: str) -> Ground:
    own = reader.values(Environment, "prefix", project_id=project.id)
    others = set(reader.overlaps(Environment, "prefix", root)) - set(own)
    return Ground(storage, root, tuple(others))
