"""A mesh as a blueprint sees it: things by their names."""

from __future__ import annotations

from typing import Any

from atoll.core.errors import Conflict, NotFound
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.model.organisation import ALL_USERS
from atoll.mesh.service import OPERATIONS

ROOT = "/"


class Remote:
    """One mesh over HTTP; lists are read once, and again after something was changed in them."""

    def __init__(self, client: MeshClient) -> None:
        """See a mesh through a client."""
        self._client = client
        self._lists: dict[str, list[Any]] = {}

    def do(self, name: str, /, **given: Any) -> Any:
        """Perform a change; all that was read is forgotten."""
        self._lists.clear()
        return self._client.perform(OPERATIONS[name], given)

    def get(self, name: str, /, **given: Any) -> Any:
        """Perform an operation that reads."""
        return self._client.perform(OPERATIONS[name], given)

    def listed(self, name: str, /, **given: Any) -> list[Any]:
        """Read a list."""
        key = f"{name} {given}"
        if key not in self._lists:
            self._lists[key] = list(self._client.perform(OPERATIONS[name], given))
        return self._lists[key]

    def named(self, list_name: str, name: str) -> Any:
        """Find a thing by its name.

        Raises:
            NotFound: there is none. Conflict: there are several.
        """
        found = [one for one in self.listed(list_name) if one["name"] == name]
        if len(found) == 1:
            return found[0]
        what = list_name.removeprefix("List")
        if found:
            raise Conflict(
                f"several {what} are called '{name}'; a blueprint cannot tell them apart"
            )
        raise NotFound(f"there is none among {what} called '{name}'; add it to the blueprint")

    def name_of(self, list_name: str, id_: str) -> str:
        """Return the name of a thing; its id where it may not be looked at."""
        return next((one["name"] for one in self.listed(list_name) if one["id"] == id_), id_)

    def names_of(self, list_name: str, ids: list[str]) -> tuple[str, ...]:
        """Return the names of things, sorted."""
        return tuple(sorted(self.name_of(list_name, id_) for id_ in ids))

    def principal(self, name: str) -> str:
        """Return the id of a user, service, group, or project of that name."""
        if name == ALL_USERS:
            return name
        for list_name in ("ListUserProfiles", "ListGroupProfiles", "ListProjects"):
            for one in self.listed(list_name):
                if one["name"] == name:
                    return str(one["id"])
        raise NotFound(f"there is no user, group or project '{name}'; add it to the blueprint")

    def principal_name(self, id_: str) -> str:
        """Return the name of a user, service, group or project."""
        for list_name in ("ListUserProfiles", "ListGroupProfiles", "ListProjects"):
            for one in self.listed(list_name):
                if one["id"] == id_:
                    return str(one["name"])
        return id_

    def units(self) -> dict[str, Any]:
        """Return the domain units by their paths, parents before what is below them."""
        root = self.get("GetDomain")["root_domain_unit_id"]
        found: dict[str, Any] = {}
        waiting = [(ROOT, one) for one in self.listed("ListDomainUnits") if one["id"] == root]
        while waiting:
            path, unit = waiting.pop(0)
            found[path] = unit
            waiting += [
                (one["name"] if path == ROOT else f"{path}/{one['name']}", one)
                for one in self.listed("ListDomainUnits")
                if one["parent_domain_unit_id"] == unit["id"]
            ]
        return found

    def unit(self, path: str) -> Any:
        """Find a domain unit by its path."""
        found = self.units().get(path)
        if found is None:
            raise NotFound(f"there is no domain unit '{path}'; add it to the blueprint")
        return found

    def unit_path(self, id_: str) -> str:
        """Return the path of a domain unit."""
        return next((path for path, one in self.units().items() if one["id"] == id_), id_)
