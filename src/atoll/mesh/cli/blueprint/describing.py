"""Glossaries, terms, forms, types of assets, and the rules that demand them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from atoll.core.errors import NotFound
from atoll.core.records import converted
from atoll.mesh.cli.blueprint.remote import ROOT, Remote, read, spelled
from atoll.mesh.cli.blueprint.section import Section, given
from atoll.mesh.cli.blueprint.specs import (
    AssetTypeSpec,
    FieldSpec,
    Forms,
    FormTypeSpec,
    GlossarySpec,
    RuleSpec,
    TermSpec,
    Value,
)
from atoll.mesh.model.describing import EnabledStatus, FieldType


class Glossaries(Section[GlossarySpec]):
    """Glossaries, without their terms."""

    name, noun, spec = "glossaries", "glossary", GlossarySpec
    needs = fixed = ("project",)
    waits: ClassVar[Mapping[str, Any]] = {"status": EnabledStatus.DISABLED}

    def current(self, mesh: Remote) -> Iterator[tuple[str, GlossarySpec]]:
        """Read them."""
        for one in mesh.listed("ListGlossaries"):
            yield (
                one["name"],
                GlossarySpec(
                    project=mesh.name_of("ListProjects", one["owning_project_id"]),
                    description=one["description"],
                    status=one["status"],
                ),
            )

    def create(self, mesh: Remote, key: str, spec: GlossarySpec) -> None:
        """Begin one."""
        id_ = mesh.id_of("ListProjects", spec.project or "")
        mesh.do("CreateGlossary", project_id=id_, name=key, **given(spec, "description"))

    def update(self, mesh: Remote, key: str, before: GlossarySpec, changed: dict[str, Any]) -> None:
        """Describe or disable it."""
        mesh.do("UpdateGlossary", glossary_id=mesh.id_of("ListGlossaries", key), **changed)


class DisabledGlossaries(Glossaries):
    """Which glossaries are disabled."""

    fields, makes = ("status",), False


class Terms(Section[TermSpec]):
    """Terms of glossaries."""

    name, noun, spec = "terms", "glossary term", TermSpec
    shape = "GLOSSARY/NAME"
    waits: ClassVar[Mapping[str, Any]] = {"status": EnabledStatus.DISABLED}

    def current(self, mesh: Remote) -> Iterator[tuple[str, TermSpec]]:
        """Read them."""
        for key, one in _terms(mesh).items():
            yield (
                key,
                TermSpec(
                    short_description=one["short_description"],
                    long_description=one["long_description"],
                    synonyms=tuple(one["synonyms"]),
                    is_a=term_keys(mesh, one["is_a"]),
                    classifies=term_keys(mesh, one["classifies"]),
                    status=one["status"],
                ),
            )

    def create(self, mesh: Remote, key: str, spec: TermSpec) -> None:
        """Add one; how it stands to others follows."""
        glossary, name = self.names(key)
        described = given(spec, "short_description", "long_description", "synonyms")
        id_ = mesh.id_of("ListGlossaries", glossary)
        mesh.do("CreateGlossaryTerm", glossary_id=id_, name=name, **described)

    def update(self, mesh: Remote, key: str, before: TermSpec, changed: dict[str, Any]) -> None:
        """Describe, relate or disable it."""
        for field in {"is_a", "classifies"} & changed.keys():
            changed[field] = term_ids(mesh, changed[field])
        mesh.do("UpdateGlossaryTerm", glossary_term_id=_terms(mesh)[key]["id"], **changed)


class DisabledTerms(Terms):
    """Which terms are disabled."""

    fields, makes = ("status",), False


class FormTypes(Section[FormTypeSpec]):
    """Metadata forms."""

    name, noun, spec = "form_types", "metadata form", FormTypeSpec
    needs, fixed = ("project", "fields"), ("project",)
    waits: ClassVar[Mapping[str, Any]] = {"status": EnabledStatus.DISABLED}

    def current(self, mesh: Remote) -> Iterator[tuple[str, FormTypeSpec]]:
        """Read them."""
        for one in mesh.listed("ListFormTypes"):
            yield (
                one["name"],
                FormTypeSpec(
                    project=_owner(mesh, one),
                    description=one["description"],
                    fields=converted(one["fields"], tuple[FieldSpec, ...]),
                    status=one["status"],
                ),
            )

    def create(self, mesh: Remote, key: str, spec: FormTypeSpec) -> None:
        """Make one."""
        id_ = mesh.id_of("ListProjects", spec.project or "")
        mesh.do("CreateFormType", project_id=id_, name=key, **given(spec, "description", "fields"))

    def update(self, mesh: Remote, key: str, before: FormTypeSpec, changed: dict[str, Any]) -> None:
        """Make a new revision of it."""
        mesh.do("UpdateFormType", form_type_id=mesh.id_of("ListFormTypes", key), **changed)


class DisabledFormTypes(FormTypes):
    """Which metadata forms are disabled."""

    fields, makes = ("status",), False


class AssetTypes(Section[AssetTypeSpec]):
    """Types of assets."""

    name, noun, spec = "asset_types", "asset type", AssetTypeSpec
    needs = fixed = ("project",)

    def current(self, mesh: Remote) -> Iterator[tuple[str, AssetTypeSpec]]:
        """Read them."""
        for one in mesh.listed("ListAssetTypes"):
            yield (
                one["name"],
                AssetTypeSpec(
                    project=_owner(mesh, one),
                    description=one["description"],
                    form_types=tuple(one["form_types"]),
                    required_forms=tuple(one["required_forms"]),
                ),
            )

    def create(self, mesh: Remote, key: str, spec: AssetTypeSpec) -> None:
        """Make one."""
        id_ = mesh.id_of("ListProjects", spec.project or "")
        described = given(spec, "description", "form_types", "required_forms")
        mesh.do("CreateAssetType", project_id=id_, name=key, **described)

    def update(
        self, mesh: Remote, key: str, before: AssetTypeSpec, changed: dict[str, Any]
    ) -> None:
        """Make a new revision of it."""
        mesh.do("UpdateAssetType", asset_type_id=mesh.id_of("ListAssetTypes", key), **changed)


class Rules(Section[RuleSpec]):
    """What is demanded in domain units."""

    name, noun, spec = "rules", "rule", RuleSpec
    needs = fixed = ("rule_type", "action")

    def current(self, mesh: Remote) -> Iterator[tuple[str, RuleSpec]]:
        """Read them."""
        for key, one in self._rules(mesh).items():
            yield (
                key,
                RuleSpec(
                    rule_type=one["rule_type"],
                    action=one["action"],
                    description=one["description"],
                    form_types=tuple(one["form_types"]),
                    glossaries=mesh.names_of("ListGlossaries", one["glossary_ids"]),
                    asset_types=tuple(one["asset_types"]),
                    includes_children=one["includes_children"],
                ),
            )

    def create(self, mesh: Remote, key: str, spec: RuleSpec) -> None:
        """Demand something."""
        unit, _, name = key.rpartition("/")
        mesh.do(
            "CreateRule",
            domain_unit_id=mesh.unit(unit or ROOT)["id"],
            name=read(name),
            **self._demanded(mesh, {key: getattr(spec, key) for key in spec.__struct_fields__}),
        )

    def update(self, mesh: Remote, key: str, before: RuleSpec, changed: dict[str, Any]) -> None:
        """Demand something else, or elsewhere."""
        id_ = self._rules(mesh)[key]["id"]
        mesh.do("UpdateRule", rule_id=id_, **self._demanded(mesh, changed))

    def _rules(self, mesh: Remote) -> dict[str, Any]:
        return {
            f"{'' if path == ROOT else path}/{spelled(one['name'])}": one
            for path, unit in mesh.units().items()
            for one in mesh.listed("ListRules", domain_unit_id=unit["id"])
        }

    def _demanded(self, mesh: Remote, told: dict[str, Any]) -> dict[str, Any]:
        found = {key: value for key, value in told.items() if value is not None}
        names = found.pop("glossaries", None)
        if names is not None:
            found["glossary_ids"] = [mesh.id_of("ListGlossaries", name) for name in names]
        return found


def term_ids(mesh: Remote, keys: Iterable[str]) -> list[str]:
    """Find terms by "GLOSSARY/NAME".

    Raises:
        NotFound: there is no such term.
    """
    terms = _terms(mesh)
    for key in keys:
        if key not in terms:
            raise NotFound(f"there is no glossary term '{key}'; add it to the blueprint")
    return [terms[key]["id"] for key in keys]


def term_keys(mesh: Remote, ids: Iterable[str]) -> tuple[str, ...]:
    """Call terms "GLOSSARY/NAME", sorted."""
    by_id = mesh.once("term keys", lambda: {one["id"]: key for key, one in _terms(mesh).items()})
    return tuple(sorted(by_id.get(id_, id_) for id_ in ids))


def forms_told(mesh: Remote, forms: Iterable[Any]) -> Forms:
    """Tell what is filled in, with names of terms and people."""
    return {
        one["form_type"]: _translated(mesh, one["form_type"], one["content"], _told)
        for one in forms
    }


def forms_given(mesh: Remote, there: Iterable[Any], wanted: Forms) -> list[dict[str, Any]]:
    """Make forms of what a blueprint says; those that it does not name stay.

    Raises:
        NotFound: there is no such term, or nobody of that name.
    """
    found = {one["form_type"]: one["content"] for one in there}
    for form_type, content in wanted.items():
        found[form_type] = _translated(mesh, form_type, content, _given)
    return [{"form_type": key, "content": content} for key, content in found.items()]


def _terms(mesh: Remote) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        found = {}
        for one in mesh.listed("SearchGlossaryTerms"):
            glossary = mesh.name_of("ListGlossaries", one["glossary_id"])
            found[f"{spelled(glossary)}/{spelled(one['name'])}"] = one
        return found

    return mesh.once("terms", make)


def _owner(mesh: Remote, one: Any) -> str | None:
    id_ = one["owning_project_id"]
    return mesh.name_of("ListProjects", id_) if id_ else None


def _translated(
    mesh: Remote, form_type: str, content: Mapping[str, Value], change: Callable[..., Value]
) -> dict[str, Any]:
    """Change each value of a form by what kind of field it is in."""
    kinds = mesh.once("kinds of fields", lambda: _kinds(mesh)).get(form_type, {})
    found: dict[str, Any] = {}
    for field, value in content.items():
        kind = kinds.get(field)
        if isinstance(value, list | tuple):
            found[field] = tuple(change(mesh, kind, one) for one in value)
        else:
            found[field] = change(mesh, kind, value)
    return found


def _kinds(mesh: Remote) -> dict[str, dict[str, str]]:
    types = mesh.listed("ListFormTypes")
    return {one["name"]: {each["name"]: each["type"] for each in one["fields"]} for one in types}


def _told(mesh: Remote, kind: str | None, value: Any) -> Value:
    if kind == FieldType.TERM:
        return term_keys(mesh, [value])[0]
    return mesh.principal_name(value) if kind == FieldType.USER else value


def _given(mesh: Remote, kind: str | None, value: Any) -> Value:
    if kind == FieldType.TERM:
        return term_ids(mesh, [str(value)])[0]
    return mesh.principal(str(value)) if kind == FieldType.USER else value
