"""What a blueprint says: everything by its name, nothing by an id, no secrets.

Domain units are called by their path below the root, "production/press"; the root is "/".
Environments are "PROJECT/NAME", terms "GLOSSARY/NAME". What is left out stays as it is; what the
file does not name is not touched; a list that is given is the whole list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from atoll.core.errors import InvalidInput
from atoll.core.files import reading
from atoll.core.records import converted
from atoll.mesh.model.describing import EnabledStatus
from atoll.mesh.model.organisation import (
    AssociationKind,
    AssociationStatus,
    Designation,
    PolicyType,
)
from atoll.mesh.model.people import UserType

MAX_BYTES = 10 << 20


class Spec(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One thing, as it should be; its name is its key in the file."""


class DomainSpec(Spec, frozen=True, kw_only=True):
    """The domain."""

    name: str | None = None
    description: str | None = None


class GroupSpec(Spec, frozen=True, kw_only=True):
    """A group; its description cannot be changed later."""

    description: str | None = None


class UserSpec(Spec, frozen=True, kw_only=True):
    """A user or service. Only services are made; others must be there, or come in by themselves."""

    type: UserType | None = None
    email: str | None = None
    groups: tuple[str, ...] | None = None


class GrantSpec(Spec, frozen=True, kw_only=True):
    """A policy granted in a domain unit to a user, a group, a project or all-users."""

    policy_type: PolicyType
    to: str
    includes_children: bool = False


class UnitSpec(Spec, frozen=True, kw_only=True):
    """A domain unit."""

    description: str | None = None
    owners: tuple[str, ...] | None = None
    grants: tuple[GrantSpec, ...] | None = None


class ProjectSpec(Spec, frozen=True, kw_only=True):
    """A project; `members` are users and groups by their designations."""

    domain_unit: str | None = None
    description: str | None = None
    members: dict[str, Designation] | None = None


class AssociationSpec(Spec, frozen=True, kw_only=True):
    """A storage location or workgroup that joins the domain."""

    project: str | None = None
    kind: AssociationKind | None = None
    location: str | None = None
    credentials: str | None = None
    limits: dict[str, int] | None = None
    status: AssociationStatus | None = None


class EnvironmentSpec(Spec, frozen=True, kw_only=True):
    """Where a project works."""

    storage: str | None = None
    workgroup: str | None = None
    description: str | None = None
    quota_bytes: int | None = None


class GlossarySpec(Spec, frozen=True, kw_only=True):
    """A glossary."""

    project: str | None = None
    description: str | None = None
    status: EnabledStatus | None = None


class TermSpec(Spec, frozen=True, kw_only=True):
    """A term; `is_a` and `classifies` name terms as "GLOSSARY/NAME"."""

    short_description: str | None = None
    long_description: str | None = None
    synonyms: tuple[str, ...] | None = None
    is_a: tuple[str, ...] | None = None
    classifies: tuple[str, ...] | None = None
    status: EnabledStatus | None = None


class Blueprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; its parts are made in this order.

    Attributes:
        atoll: the version of this format.
    """

    atoll: Literal[1]
    domain: dict[str, DomainSpec] = {}
    groups: dict[str, GroupSpec] = {}
    users: dict[str, UserSpec] = {}
    domain_units: dict[str, UnitSpec] = {}
    projects: dict[str, ProjectSpec] = {}
    associations: dict[str, AssociationSpec] = {}
    environments: dict[str, EnvironmentSpec] = {}
    glossaries: dict[str, GlossarySpec] = {}
    terms: dict[str, TermSpec] = {}


def read_blueprint(place: Path) -> Blueprint:
    """Read a file.

    Raises:
        InvalidInput: it is too large, no YAML, or says what no blueprint says.
        NotFound, Forbidden, Unavailable: it cannot be read.
    """
    import yaml

    with reading(place):
        data = place.read_bytes()
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{place} is larger than {MAX_BYTES >> 20} MiB; split it")
    try:
        found = yaml.load(data, _loader(yaml))
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{place} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return converted(found, Blueprint)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{place}: {error}") from error


def written(blueprint: Blueprint) -> str:
    """Write a blueprint as a file says it."""
    import yaml

    told = msgspec.to_builtins(blueprint)
    kept = {key: value for key, value in told.items() if value != {}}
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100))


def _loader(yaml: Any) -> Any:
    """Refuse anchors, whose copies of copies fill the memory, and a key that stands twice."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.constructor.ConstructorError(None, None, "aliases are not read", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    told = f"'{key.value}' stands twice"
                    raise yaml.constructor.ConstructorError(None, None, told, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader
