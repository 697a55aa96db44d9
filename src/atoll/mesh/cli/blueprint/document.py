"""What a blueprint says: everything by its name, nothing by an id, no secrets.

Domain units are called by their path below the root, "production/press"; the root is "/". What is
in something else is called by both: "PROJECT/NAME", "GLOSSARY/NAME", "UNIT PATH/NAME" of a rule,
"STORAGE/PATH" of an asset or a place. In names "/" is written %2F, and "%" as %25.

The location of an association is a URL, or a path from where one is.

What is left out stays as it is; what the file does not name is not touched; a list that is given
is the whole list, and so are members, and what is filled in of one form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from atoll.core.errors import InvalidInput
from atoll.core.files import reading
from atoll.core.records import converted
from atoll.mesh.cli.blueprint.specs import (
    AssetSpec,
    AssetTypeSpec,
    AssociationSpec,
    DataProductSpec,
    DataSourceSpec,
    DelegationSpec,
    DomainSpec,
    EnvironmentSpec,
    FormTypeSpec,
    GlossarySpec,
    GroupSpec,
    ProjectSpec,
    RuleSpec,
    TargetSpec,
    TermSpec,
    UnitSpec,
    UserSpec,
)
from atoll.mesh.harvest.locations import normalised

MAX_BYTES = 10 << 20
_TAG = "tag:yaml.org,2002:"


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
    form_types: dict[str, FormTypeSpec] = {}
    asset_types: dict[str, AssetTypeSpec] = {}
    rules: dict[str, RuleSpec] = {}
    delegations: dict[str, DelegationSpec] = {}
    subscription_targets: dict[str, TargetSpec] = {}
    data_sources: dict[str, DataSourceSpec] = {}
    assets: dict[str, AssetSpec] = {}
    data_products: dict[str, DataProductSpec] = {}


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
        return _located(converted(found, Blueprint))
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{place}: {error}") from error


def _located(blueprint: Blueprint) -> Blueprint:
    """Spell locations as the mesh does: another spelling of the same place is no difference."""
    spelled = {
        name: msgspec.structs.replace(one, location=normalised(one.location))
        for name, one in blueprint.associations.items()
        if one.location
    }
    return msgspec.structs.replace(blueprint, associations={**blueprint.associations, **spelled})


def written(blueprint: Blueprint) -> str:
    """Write a blueprint as a file says it."""
    import yaml

    told = msgspec.to_builtins(blueprint)
    kept = {key: value for key, value in told.items() if value != {}}
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100))


def _loader(yaml: Any) -> Any:
    """Refuse anchors, whose copies of copies fill the memory, and a key that stands twice."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        # Dates are texts, as in JSON, and so are words such as "no" and "on".
        yaml_implicit_resolvers: ClassVar[Any] = {
            first: [
                (tag, pattern)
                for tag, pattern in found
                if tag != f"{_TAG}timestamp" and (tag != f"{_TAG}bool" or first in "tTfF")
            ]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

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
