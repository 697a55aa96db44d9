"""Decisions: Cedar's answer, with the policies behind it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.resources import files
from itertools import islice
from typing import Any

import cedarpy
import msgspec

from atoll.core.records import decoded
from atoll.mesh.identity.tokens import permits
from atoll.mesh.policies.likeness import asks_for_roles_only, singled_out

ENTITIES = "entities.cedarschema"
REMEMBERED = 10_000
ID_LETTERS = 100


@dataclass(frozen=True)
class Standing:
    """Somebody, and what they are wherever they are something.

    Attributes:
        kind: "User" or "Service".
        id: of the profile.
        roles: names such as `project-x:PROJECT_OWNER`; see `operations.standings`.
        scopes: what the token they came with is good for.
    """

    kind: str
    id: str
    roles: frozenset[str]
    scopes: frozenset[str]


@dataclass(frozen=True)
class Facts:
    """What policies may know of a thing.

    Attributes:
        kind: the entity type in the schema, such as "Project".
        id: of the record.
        attributes: by the schema's names; a `Roles` is a set of roles.
    """

    kind: str
    id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """What somebody wants to do.

    Attributes:
        level: the least that a token must be good for: "read", "write" or "admin".
    """

    name: str
    level: str


class Roles(frozenset[str]):
    """Names of roles, as an attribute of a thing."""


@dataclass(frozen=True)
class Decision:
    """Whether somebody may, and the ids of the policies that said so."""

    is_allowed: bool
    policies: tuple[str, ...]


class Authorizer:
    """Decides by the policies shipped with Atoll and those of this mesh's administrators.

    Attributes:
        named: the policies' texts by their ids.
    """

    def __init__(self, actions: str, more: str = "") -> None:
        """Read the policies.

        Args:
            actions: what can be done, as a Cedar schema.
            more: Cedar text of further policies.

        Raises:
            ValueError: they cannot be read, or do not fit the schema; which, and why.
        """
        text = "\n".join([*(one.read_text() for one in _shipped()), more])
        entities = _folder().joinpath(ENTITIES).read_text()
        self._schema = cedarpy.Schema.from_str(f"{entities}\n{actions}")
        try:
            read = decoded(cedarpy.policies_to_json_str(text), dict[str, Any])
        except ValueError as error:
            raise ValueError(f"they are no Cedar: {error}") from error
        ids = _ids(read)
        self.named = dict(_named(text))
        if set(self.named) != set(ids.values()):
            raise ValueError('begin each policy on a line of its own, with @id("...")')
        checked = cedarpy.validate_policies(text, self._schema)
        if not checked.validation_passed:
            # One is enough: the same is wrong with every kind of thing.
            why = str(checked.errors[0].error)
            raise ValueError(re.sub(r"`(policy\d+)`", lambda one: f"'{ids[one[1]]}'", why))
        self._policies = _policies(read, ids)
        for number, one in read["staticPolicies"].items():
            if thing := singled_out(one):
                raise ValueError(
                    f"'{ids[number]}' singles out {thing}, which searches would still count; speak "
                    "of its project or its classification"
                )
        written = read["staticPolicies"].values()
        self._asks_for_roles_only = all(map(asks_for_roles_only, written))
        self._known: dict[bytes, Decision] = {}
        self._knowing = threading.Lock()

    def decide(self, who: Standing, action: Action, thing: Facts) -> Decision:
        """Decide one question."""
        return self.decide_all(who, action, [thing])[0]

    def decide_all(self, who: Standing, action: Action, things: Sequence[Facts]) -> list[Decision]:
        """Decide the same question for several things.

        Raises:
            ValueError: something does not fit the schema, or a policy fails.
        """
        # What is alike to the policies is decided on once.
        told = [Facts(one.kind, one.id, self._told(who, one.attributes)) for one in things]
        looks = [(one.kind, self._look(one)) for one in told]
        several = dict(zip(looks, told, strict=True))
        by = (who.kind, who.id, sorted(who.roles), sorted(who.scopes), action.name, action.level)
        questions = {look: blake2b(msgspec.json.encode((by, look))).digest() for look in looks}
        decided = {look: known for look in several if (known := self._known.get(questions[look]))}
        left = {look: one for look, one in several.items() if look not in decided}
        decided |= zip(left, self._decided(who, action, list(left.values())), strict=True)
        self._remember({questions[look]: decided[look] for look in left})
        return [decided[look] for look in looks]

    def _remember(self, decisions: Mapping[bytes, Decision]) -> None:
        """Know decisions by all that they depend on, the newest of them."""
        with self._knowing:
            self._known |= decisions
            for question in list(islice(self._known, max(0, len(self._known) - REMEMBERED))):
                del self._known[question]

    def _told(self, who: Standing, attributes: Mapping[str, Any]) -> dict[str, Any]:
        roles = who.roles if self._asks_for_roles_only else None
        return {key: _told(value, roles) for key, value in attributes.items()}

    def _look(self, thing: Facts) -> bytes:
        """Write down all of a thing that a decision depends on."""
        id_ = "" if self._asks_for_roles_only else thing.id
        return msgspec.json.encode((id_, thing.attributes))

    def _decided(
        self, who: Standing, action: Action, things: Sequence[Facts]
    ) -> Iterator[Decision]:
        if not things:
            return
        asked = [
            {
                "principal": {"type": who.kind, "id": who.id},
                "action": {"type": "Action", "id": action.name},
                "resource": {"type": one.kind, "id": one.id},
                "context": {
                    "scopes": sorted(who.scopes),
                    "is_in_scope": permits(who.scopes, action.name, action.level),
                },
            }
            for one in things
        ]
        told = [
            {
                "uid": {"type": who.kind, "id": who.id},
                "attrs": {},
                "parents": [{"type": "Role", "id": role} for role in sorted(who.roles)],
            },
            *(
                {"uid": {"type": one.kind, "id": one.id}, "attrs": one.attributes, "parents": []}
                for one in things
            ),
        ]
        # With the schema, which brings the groups of actions.
        entities = cedarpy.Entities.from_json_str(msgspec.json.encode(told).decode(), self._schema)
        for one in cedarpy.is_authorized_batch(asked, self._policies, entities, self._schema):
            yield self._decision(one)

    def _decision(self, result: cedarpy.AuthzResult) -> Decision:
        if problems := result.diagnostics.errors:
            # Cedar skips a policy that fails: a prohibition must never be skipped.
            raise ValueError(f"a policy could not be decided: {problems}")
        return Decision(result.allowed, tuple(sorted(result.diagnostics.reasons)))


def _told(value: Any, roles: frozenset[str] | None) -> Any:
    """Write an attribute as Cedar reads it; of roles only some, if so."""
    if isinstance(value, Roles):
        shown = value if roles is None else value & roles
        return [{"__entity": {"type": "Role", "id": one}} for one in sorted(shown)]
    if isinstance(value, Mapping):
        return {key: _told(one, roles) for key, one in value.items()}
    if isinstance(value, frozenset | set | tuple):
        return sorted(value)
    return value


def _folder() -> Any:
    return files("atoll.mesh.policies")


def _shipped() -> list[Any]:
    found = [one for one in _folder().iterdir() if one.name.endswith(".cedar")]
    return sorted(found, key=lambda one: one.name)


def _ids(read: Mapping[str, Any]) -> dict[str, str]:
    """Tell by Cedar's numbers of the policies what their annotations call them."""
    if read["templates"]:
        raise ValueError("name principal and resource; ?principal and ?resource are for templates")
    found = {
        number: one.get("annotations", {}).get("id")
        for number, one in read["staticPolicies"].items()
    }
    if None in found.values() or len(set(found.values())) != len(found):
        raise ValueError('each policy needs an annotation @id("...") of its own')
    for id_ in found.values():
        # The audit keeps the ids of an event in one text, with spaces between them.
        if not 0 < len(id_) <= ID_LETTERS or " " in id_ or not id_.isprintable():
            raise ValueError(
                f"the id {id_[:ID_LETTERS]!r} is no name of a policy: take 1 to {ID_LETTERS} "
                'letters, digits or signs without spaces, such as @id("no-robot-publishes")'
            )
    return found


def _policies(read: Mapping[str, Any], ids: Mapping[str, str]) -> cedarpy.PolicySet:
    """Keep policies under their ids, not under numbers."""
    named = {ids[number]: one for number, one in read["staticPolicies"].items()}
    text = msgspec.json.encode({**read, "staticPolicies": named}).decode()
    return cedarpy.PolicySet.from_json_str(text)


def _named(text: str) -> list[tuple[str, str]]:
    """Find each policy's text by its id."""
    parts = re.split(r'(?m)^(?=@id\(")', text)
    return [
        (found[1], part.strip()) for part in parts if (found := re.match(r'@id\("([^"]+)"', part))
    ]
