"""A mesh as a blueprint sees it: things by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import msgspec

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.model.organisation import ALL_USERS, AssociationStatus
from atoll.mesh.service import OPERATIONS

ROOT = "/"
T = TypeVar("T")
_PRINCIPALS = ("ListUserProfiles", "ListGroupProfiles", "ListProjects")


class Remote:
    """One mesh over HTTP; what was read of it is kept until `forget`."""

    def __init__(self, client: MeshClient) -> None:
        """See a mesh through a client."""
        self._client = client
        self._kept: dict[str, Any] = {}

    def do(self, name: str, /, **given: Any) -> Any:
        """Perform a change; what was read stays as it was, see `forget`."""
        return self._client.perform(OPERATIONS[name], msgspec.to_builtins(given))

    def undo(self, name: str, /, **given: Any) -> None:
        """Remove something, unless somebody else has done so."""
        with suppress(NotFound):
            self.do(name, **given)

    def forget(self) -> None:
        """Read anew from now on."""
        self._kept.clear()

    def get(self, name: str, /, **given: Any) -> Any:
        """Perform an operation that reads one thing."""
        return self._client.perform(OPERATIONS[name], given)

    def listed(self, name: str, /, **given: Any) -> list[Any]:
        """Read a list."""
        return self.once(
            f"{name} {given}", lambda: list(self._client.perform(OPERATIONS[name], given))
        )

    def allowed(self, name: str, /, **given: Any) -> list[Any] | None:
        """Read a list; None where we may not."""
        try:
            return self.listed(name, **given)
        except Forbidden:
            return None

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made of what was read, made once."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def named(self, list_name: str, name: str, /, **given: Any) -> Any:
        """Find a thing by its name.

        Raises:
            NotFound: there is none. Conflict: there are several.
        """
        found = self._grouped(list_name, "name", given).get(name, [])
        if len(found) == 1:
            return found[0]
        what = list_name.removeprefix("List")
        if found:
            raise Conflict(
                f"several {what} are called '{name}'; a blueprint cannot tell them apart"
            )
        raise NotFound(f"there is none among {what} called '{name}'; add it to the blueprint")

    def id_of(self, list_name: str, name: str, /, **given: Any) -> str:
        """Find the id of a thing by its name; see `named`."""
        return str(self.named(list_name, name, **given)["id"])

    def name_of(self, list_name: str, id_: str, /, **given: Any) -> str:
        """Return the name of a thing; its id where it may not be looked at."""
        found = self._grouped(list_name, "id", given).get(id_)
        return str(found[0]["name"]) if found else id_

    def names_of(self, list_name: str, ids: Iterable[str], /) -> tuple[str, ...]:
        """Return the names of things, sorted."""
        return tuple(sorted(self.name_of(list_name, id_) for id_ in ids))

    def principal(self, name: str) -> str:
        """Return the id of a user, service, group, or project of that name.

        Raises:
            NotFound: there is none. Conflict: a user and a group are called so, or a project.
        """
        if name == ALL_USERS:
            return name
        found = [
            one for list_ in _PRINCIPALS for one in self._grouped(list_, "name", {}).get(name, [])
        ]
        if len(found) > 1:
            raise Conflict(f"'{name}' may be {' or '.join(one['id'] for one in found)}; rename one")
        if not found:
            raise NotFound(f"there is no user, group or project '{name}'; add it to the blueprint")
        return str(found[0]["id"])

    def principal_name(self, id_: str) -> str:
        """Return the name of a user, service, group or project."""
        names = (self.name_of(list_name, id_) for list_name in _PRINCIPALS)
        return next((name for name in names if name != id_), id_)

    def units(self) -> dict[str, Any]:
        """Return the domain units by their paths, parents before what is below them."""
        return self.once("units", self._units)

    def unit(self, path: str) -> Any:
        """Find a domain unit by its path."""
        found = self.units().get(path)
        if found is None:
            raise NotFound(f"there is no domain unit '{path}'; add it to the blueprint")
        return found

    def unit_path(self, id_: str) -> str:
        """Return the path of a domain unit."""
        return next((path for path, one in self.units().items() if one["id"] == id_), id_)

    def place(self, location: str) -> str:
        """Write a location as "STORAGE/PATH"; empty: it lies in no accepted storage that we see."""
        for one in self.listed("ListAssociations"):
            above = one["location"]
            is_there = one["status"] == AssociationStatus.ACCEPTED and above
            if is_there and f"{location}/".startswith(f"{above.rstrip('/')}/"):
                path = location.removeprefix(above).strip("/")
                path = unquote(path) if location.startswith("file:") else path
                return f"{spelled(one['name'])}/{path}" if path else spelled(one["name"])
        return ""

    def location(self, place: str) -> tuple[str, str]:
        """Read "STORAGE/PATH".

        Returns:
            The id of the storage's project, and the location.

        Raises:
            NotFound: there is no such storage. InvalidInput: it is none, or no path.
        """
        name, slash, path = place.partition("/")
        storage = self.named("ListAssociations", read(name))
        above = storage["location"]
        if not above or (slash and {"", ".", ".."} & set(path.split("/"))):
            raise InvalidInput(f"'{place}' is no place; write STORAGE/PATH")
        path = quote(path) if above.startswith("file:") else path
        return storage["project_id"], f"{above.rstrip('/')}{slash}{path}"

    def _units(self) -> dict[str, Any]:
        below = self._grouped("ListDomainUnits", "parent_domain_unit_id", {})
        root = self.get("GetDomain")["root_domain_unit_id"]
        found: dict[str, Any] = {}
        waiting = [(ROOT, one) for one in self.listed("ListDomainUnits") if one["id"] == root]
        while waiting:
            path, unit = waiting.pop(0)
            found[path] = unit
            head = "" if path == ROOT else f"{path}/"
            waiting += [(head + spelled(one["name"]), one) for one in below.get(unit["id"], [])]
        return found

    def _grouped(
        self, list_name: str, key: str, given: Mapping[str, Any]
    ) -> dict[str, list[dict[str, Any]]]:
        def make() -> dict[str, list[dict[str, Any]]]:
            found: dict[str, list[dict[str, Any]]] = {}
            for one in self.listed(list_name, **given):
                found.setdefault(one[key], []).append(one)
            return found

        return self.once(f"{list_name} {given} by {key}", make)


def spelled(name: str) -> str:
    """Write a name as a part of a path.

    >>> spelled("press/line 1")
    'press%2Fline 1'
    """
    return name.replace("%", "%25").replace("/", "%2F")


def read(part: str) -> str:
    """Read what `spelled` wrote."""
    return part.replace("%2F", "/").replace("%25", "%")
