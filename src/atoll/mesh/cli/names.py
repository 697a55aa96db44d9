"""Names in place of ids: what a person would rather type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.model.access import ReviewCampaign, SubscriptionTarget
from atoll.mesh.model.catalog import Asset, AssetFilter
from atoll.mesh.model.describing import Glossary, GlossaryTerm
from atoll.mesh.model.organisation import ALL_USERS, Association, DomainUnit, Project
from atoll.mesh.model.people import GroupProfile, UserProfile
from atoll.mesh.model.record import Record
from atoll.mesh.operations.registry import Operation, viewing
from atoll.mesh.service import OPERATIONS

ME = "me"
Kinds = tuple[type[Record], ...]
ID = re.compile(r"^[a-z]+-[2-9a-km-np-z]{16}$")
_PEOPLE: Kinds = (UserProfile, GroupProfile)
# Of ids that are not called by their kind.
_OTHER_KEYS: dict[str, Kinds] = {
    "owners": _PEOPLE,
    "member_id": _PEOPLE,
    "principal_id": (*_PEOPLE, Project),
    "groups": (GroupProfile,),
    "parent_domain_unit_id": (DomainUnit,),
    "owning_project_id": (Project,),
    "storage_id": (Association,),
    "workgroup_id": (Association,),
    "upstream": (Asset,),
    "filter_ids": (AssetFilter,),
    "glossary_terms": (GlossaryTerm,),
    "is_a": (GlossaryTerm,),
    "classifies": (GlossaryTerm,),
    "glossary_ids": (Glossary,),
    "campaign_id": (ReviewCampaign,),
    "target_id": (SubscriptionTarget,),
}
_INTO: dict[str, Kinds] = {
    "principal": (UserProfile,),
    "project": (Project,),
}  # of the audit, which knows more


def kinds_of(key: str) -> Kinds:
    """Return of which kinds of things, that have names, an option takes the id."""
    return _kinds().get(key, ())


def spelling(kind: type[Record]) -> str:
    """Tell how a thing of a kind may be called, such as "PROJECT/NAME"."""
    whole, inside = _lists()[kind]
    if kind is DomainUnit:
        return "NAME or PATH"
    return " or ".join(
        [*(["NAME"] if whole else []), *([f"{_word(inside.on)}/NAME"] if inside else [])]
    )


class Names:
    """The things of one mesh, by their names."""

    def __init__(self, client: MeshClient) -> None:
        """Look in a mesh."""
        self._client = client

    def resolved(self, key: str, text: str) -> str:
        """Return the id that an option takes of what is called so; else the text as it is."""
        if key in _INTO:
            with suppress(NotFound):
                return self.id_of(_INTO[key], text)
            return text
        kinds = kinds_of(key)
        return self.id_of(kinds, text) if kinds and text else text

    def id_of(self, kinds: Kinds, text: str) -> str:
        """Return the id of what is called something, or the id itself.

        Args:
            kinds: what it may be.
            text: an id; a name; or the name of what it is in, "/", and its name.

        Raises:
            NotFound: nothing that you may look at is called so.
            Conflict: more than one thing is.
        """
        if ID.match(text) or (text == ALL_USERS and Project in kinds):
            return text
        if text == ME and UserProfile in kinds:
            return str(self._client.ask("GET", "/me")["profile"]["id"])
        found = self._found(kinds, text)
        what = " or ".join(_word(kind).lower().replace("_", " ") for kind in kinds)
        if not found:
            how = " or ".join(dict.fromkeys(map(spelling, kinds)))
            raise NotFound(f"there is no {what} '{text}' that you may look at; give {how} or an id")
        if len(found) > 1:
            raise Conflict(f"'{text}' is the {what} {' and '.join(found)}; give an id")
        return found[0]

    def _found(self, kinds: Kinds, text: str) -> list[str]:
        return [str(one["id"]) for kind in kinds for one in self._called(kind, text)]

    def _called(self, kind: type[Record], text: str) -> Iterator[Any]:
        whole, inside = _lists()[kind]
        if kind is DomainUnit and (not text.strip("/") or "/" in text):
            yield from self._unit(text)
            return
        found = list(self._client.perform(whole, {"name": text})) if whole else []
        yield from found
        outer, slash, name = text.rpartition("/")
        if found or inside is None or not slash:
            return
        try:
            parent = self.id_of((inside.on,), outer)
        except (NotFound, InvalidInput):
            return
        asked = {"name": name} if "name" in inside.ask.__struct_fields__ else {}
        for one in self._client.perform(inside, {inside.about: parent, **asked}):
            if one["name"] == name:
                yield one

    def _unit(self, path: str) -> Iterator[Any]:
        units = list(self._client.perform(OPERATIONS["ListDomainUnits"], {}))
        found = [one for one in units if not one["parent_domain_unit_id"]]
        for part in filter(None, path.split("/")):
            above = {one["id"] for one in found}
            found = [
                one
                for one in units
                if one["parent_domain_unit_id"] in above and one["name"] == part
            ]
        yield from found


@cache
def _lists() -> dict[type[Record], tuple[Operation | None, Operation | None]]:
    """Tell in which list things of a kind are found by name: of all, and of what they are in."""
    whole: dict[type[Record], Operation] = {}
    inside: dict[type[Record], Operation] = {}
    for one in OPERATIONS.values():
        kind = one.answer
        is_named = isinstance(kind, type) and "name" in getattr(kind, "__dataclass_fields__", {})
        if not (one.is_list and is_named):
            continue
        if one.names:
            inside.setdefault(kind, one)
        elif "name" in one.ask.__struct_fields__:
            whole.setdefault(kind, one)
    return {kind: (whole.get(kind), inside.get(kind)) for kind in {**whole, **inside}}


@cache
def _kinds() -> dict[str, Kinds]:
    found: dict[str, Kinds] = {
        one.about: (one.on,)
        for one in OPERATIONS.values()
        if one.name == viewing(one.on).name and one.on in _lists()
    }
    return found | _OTHER_KEYS


def _word(kind: type[Record]) -> str:
    """Call a kind as options do.

    >>> _word(DomainUnit)
    'DOMAIN_UNIT'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper().removesuffix("_PROFILE")
