"""Where assets are found, what is said of them, and what of them others see."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import click

from atoll.core.errors import Conflict, InvalidInput, Unavailable
from atoll.core.text import printable
from atoll.mesh.cli.blueprint.describing import forms_given, forms_told, term_ids, term_keys
from atoll.mesh.cli.blueprint.remote import Remote, spelled
from atoll.mesh.cli.blueprint.section import Section, given
from atoll.mesh.cli.blueprint.specs import (
    AssetSpec,
    ColumnSpec,
    DataProductSpec,
    DataSourceSpec,
    FilterSpec,
    PiiSpec,
    Spec,
)
from atoll.mesh.model.catalog import (
    Classification,
    DataSourceRunStatus,
    ListingStatus,
    PiiStatus,
)
from atoll.mesh.model.describing import EnabledStatus

_LONGEST_RUN_SECONDS = 3600
_GOING = (DataSourceRunStatus.REQUESTED, DataSourceRunStatus.RUNNING)
_OF_SOURCES = (
    *("description", "include", "exclude", "every_s", "publish_on_import"),
    *("classification", "enable_setting"),
)


class DataSources(Section[DataSourceSpec]):
    """Where projects' assets are found."""

    name, noun, spec = "data_sources", "data source", DataSourceSpec
    shape = "PROJECT/NAME"
    needs = ("location",)
    fields: ClassVar[tuple[str, ...]] = ("location", *_OF_SOURCES, "forms", "terms")
    waits: ClassVar[Mapping[str, Any]] = {"enable_setting": EnabledStatus.DISABLED}

    def current(self, mesh: Remote) -> Iterator[tuple[str, DataSourceSpec]]:
        """Read those in accepted storage."""
        for key, one in _sources(mesh).items():
            told = {field: one[field] for field in _OF_SOURCES}
            told |= {"include": tuple(one["include"]), "exclude": tuple(one["exclude"])}
            yield (
                key,
                DataSourceSpec(
                    location=mesh.place(one["location"]),
                    forms=forms_told(mesh, one["forms"]),
                    terms=term_keys(mesh, one["glossary_terms"]),
                    **told,
                ),
            )

    def create(self, mesh: Remote, key: str, spec: DataSourceSpec) -> None:
        """Have a place looked through."""
        project, name = self.names(key)
        told = given(spec, *self.fields)
        told.pop("enable_setting", None)
        id_ = mesh.id_of("ListProjects", project)
        mesh.do("CreateDataSource", project_id=id_, name=name, **_said(mesh, told, []))

    def update(
        self, mesh: Remote, key: str, before: DataSourceSpec, changed: dict[str, Any]
    ) -> None:
        """Change where or how it looks."""
        one = _sources(mesh)[key]
        said = _said(mesh, changed, one["forms"])
        mesh.do("UpdateDataSource", data_source_id=one["id"], **said)


class DisabledSources(DataSources):
    """Which data sources are disabled: once they have run."""

    fields, makes = ("enable_setting",), False


class Runs(Section[DataSourceSpec]):
    """Whether data sources were looked through."""

    name, noun, spec, fields = "data_sources", "data source", DataSourceSpec, ("has_run",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, DataSourceSpec]]:
        """Read how their newest runs went."""
        for key, one in _sources(mesh).items():
            id_ = one["last_run_id"]
            run = mesh.get("GetDataSourceRun", data_source_run_id=id_) if id_ else None
            has_run = run is not None and run["status"] not in (*_GOING, DataSourceRunStatus.FAILED)
            yield key, DataSourceSpec(has_run=has_run or None)

    def update(
        self, mesh: Remote, key: str, before: DataSourceSpec, changed: dict[str, Any]
    ) -> None:
        """Have one looked through, and wait for that."""
        if not changed["has_run"]:
            raise InvalidInput("what has run cannot be undone; say has_run: true, or leave it out")
        one = _sources(mesh)[key]
        id_ = one["last_run_id"]
        if one["status"] != "RUNNING":
            id_ = mesh.do("StartDataSourceRun", data_source_id=one["id"])["id"]
        click.echo(f"waiting for the run of {printable(key)}", err=True)
        until = time.monotonic() + _LONGEST_RUN_SECONDS
        while (run := mesh.get("GetDataSourceRun", data_source_run_id=id_))["status"] in _GOING:
            if time.monotonic() > until:
                raise Unavailable("it is still running; apply again later")
            time.sleep(0.2)
        if run["status"] == DataSourceRunStatus.FAILED:
            raise Conflict(f"its run failed: {run['error_message']}", run=id_)


class Assets(Section[AssetSpec]):
    """What is said of assets, and the filters that their owners made."""

    name, noun, spec = "assets", "asset", AssetSpec
    fixed = ("asset_type",)
    fields = (
        *("name", "asset_type", "description", "classification", "basis", "upstream"),
        *("forms", "terms", "columns", "filters"),
    )

    def current(self, mesh: Remote) -> Iterator[tuple[str, AssetSpec]]:
        """Read those in accepted storage that are not archived."""
        keys = {one["id"]: key for key, one in _assets(mesh).items()}
        for key, one in _assets(mesh).items():
            told = {field: one[field] for field in self.fields[:5]}
            yield (
                key,
                AssetSpec(
                    upstream=tuple(sorted(keys.get(id_, id_) for id_ in one["upstream"])),
                    forms=forms_told(mesh, one["forms"]),
                    terms=term_keys(mesh, one["glossary_terms"]),
                    columns={each["name"]: _column(mesh, each) for each in one["columns"]},
                    filters={name: _filter(each) for name, each in _filters(mesh, one).items()},
                    **told,
                ),
            )

    def create(self, mesh: Remote, key: str, spec: AssetSpec) -> None:
        """Register one; what is said of it follows."""
        project_id, location = mesh.location(key)
        described = given(spec, "name", "asset_type", "description", "classification")
        mesh.do("CreateAsset", project_id=project_id, location=location, **described)

    def update(self, mesh: Remote, key: str, before: AssetSpec, changed: dict[str, Any]) -> None:
        """Describe it."""
        one = _assets(mesh)[key]
        columns, filters = changed.pop("columns", {}), changed.pop("filters", {})
        if wanted := changed.pop("classification", None):
            order = list(Classification)
            is_stricter = order.index(wanted) > order.index(Classification(one["classification"]))
            operation = "ClassifyAsset" if is_stricter else "DeclassifyAsset"
            mesh.do(operation, asset_id=one["id"], classification=wanted)
        if "upstream" in changed:
            changed["upstream"] = [_asset_id(mesh, other) for other in changed["upstream"]]
        if changed:
            mesh.do("UpdateAsset", asset_id=one["id"], **_said(mesh, changed, one["forms"]))
        self._describe_columns(mesh, one["id"], columns)
        self._flag_columns(mesh, one["id"], before.columns or {}, columns)
        for name, spec in filters.items():
            self._set_filter(mesh, one, name, spec)

    def _describe_columns(
        self, mesh: Remote, asset_id: str, columns: Mapping[str, ColumnSpec]
    ) -> None:
        said = []
        for name, spec in columns.items():
            if told := given(spec, "business_name", "description", "terms"):
                said.append({"name": name, **_said(mesh, told, [])})
        if said:
            mesh.do("UpdateAssetColumns", asset_id=asset_id, columns=said)

    def _flag_columns(
        self,
        mesh: Remote,
        asset_id: str,
        before: Mapping[str, ColumnSpec],
        columns: Mapping[str, ColumnSpec],
    ) -> None:
        """Flag columns, then decide on those that are flagged: each of a kind at once."""
        flags: dict[str, list[str]] = {}
        decisions: dict[bool, list[str]] = {}
        for name, spec in columns.items():
            if (wanted := spec.pii) is None:
                continue
            there = before[name].pii if name in before else None
            status = wanted.status or PiiStatus.PROPOSED
            is_flagged = there is not None and there.status != PiiStatus.REFUSED
            if not is_flagged and (there is None or status is not PiiStatus.REFUSED):
                if wanted.kind is None:
                    raise InvalidInput(f"nobody has flagged the column '{name}'; say of what kind")
                flags.setdefault(wanted.kind, []).append(name)
            elif there and wanted.kind not in (None, there.kind):
                raise InvalidInput(f"the column '{name}' is flagged as {there.kind}; refuse that")
            if status is not PiiStatus.PROPOSED:
                decisions.setdefault(status is PiiStatus.CONFIRMED, []).append(name)
            elif there and wanted.status and there.status == PiiStatus.CONFIRMED:
                raise InvalidInput(f"of the column '{name}' is decided already")
        for kind, names in flags.items():
            mesh.do("FlagPii", asset_id=asset_id, columns=names, kind=kind)
        for is_personal, names in decisions.items():
            mesh.do("DecidePii", asset_id=asset_id, columns=names, is_personal=is_personal)

    def _set_filter(self, mesh: Remote, asset: Any, name: str, spec: FilterSpec) -> None:
        found = _filters(mesh, asset).get(name)
        described = given(spec, "description")
        configuration = _configuration(_filter(found) if found else None, spec)
        if found:
            operation, about = "UpdateAssetFilter", {"asset_filter_id": found["id"]}
        else:
            operation, about = "CreateAssetFilter", {"asset_id": asset["id"], "name": name}
        mesh.do(operation, **about, **described, configuration=configuration)


class DataProducts(Section[DataProductSpec]):
    """Assets that are offered together."""

    name, noun, spec = "data_products", "data product", DataProductSpec
    shape = "PROJECT/NAME"
    fields = ("description", "basis", "assets", "forms", "terms")

    def current(self, mesh: Remote) -> Iterator[tuple[str, DataProductSpec]]:
        """Read them."""
        keys = {one["id"]: key for key, one in _assets(mesh).items()}
        for key, one in _products(mesh):
            ids = [item["asset_id"] for item in one["items"]]
            yield (
                key,
                DataProductSpec(
                    description=one["description"],
                    basis=one["basis"],
                    assets=tuple(sorted(keys.get(id_, id_) for id_ in ids)),
                    forms=forms_told(mesh, one["forms"]),
                    terms=term_keys(mesh, one["glossary_terms"]),
                ),
            )

    def create(self, mesh: Remote, key: str, spec: DataProductSpec) -> None:
        """Put assets together."""
        project, name = self.names(key)
        id_ = mesh.id_of("ListProjects", project)
        told = _said(mesh, given(spec, *self.fields), [])
        mesh.do("CreateDataProduct", project_id=id_, name=name, **told)

    def update(
        self, mesh: Remote, key: str, before: DataProductSpec, changed: dict[str, Any]
    ) -> None:
        """Describe it, and say what is in it."""
        one = dict(_products(mesh))[key]
        said = _said(mesh, changed, one["forms"])
        if "items" in said:
            items = said.pop("items")
            mesh.do("SetDataProductItems", data_product_id=one["id"], items=items)
        if said:
            mesh.do("UpdateDataProduct", data_product_id=one["id"], **said)


class PublishedAssets(Section[AssetSpec]):
    """Which assets others see, in their newest revision."""

    name, noun, spec, fields = "assets", "asset", AssetSpec, ("published",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, AssetSpec]]:
        """Read what is listed."""
        for key, one in _assets(mesh).items():
            yield key, AssetSpec(published=_is_published(mesh, one))

    def update(self, mesh: Remote, key: str, before: AssetSpec, changed: dict[str, Any]) -> None:
        """Publish it, or do so no longer."""
        about = {"asset_id": _asset_id(mesh, key)}
        mesh.do("CreateListingChangeSet", **about, action=_action(changed))


class PublishedProducts(Section[DataProductSpec]):
    """Which data products others see, in their newest revision."""

    name, noun, spec, fields = "data_products", "data product", DataProductSpec, ("published",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, DataProductSpec]]:
        """Read what is listed."""
        for key, one in _products(mesh):
            yield key, DataProductSpec(published=_is_published(mesh, one))

    def update(
        self, mesh: Remote, key: str, before: DataProductSpec, changed: dict[str, Any]
    ) -> None:
        """Publish it, or do so no longer."""
        about = {"data_product_id": dict(_products(mesh))[key]["id"]}
        mesh.do("CreateDataProductListingChangeSet", **about, action=_action(changed))


def _sources(mesh: Remote) -> dict[str, Any]:
    return {
        f"{spelled(project['name'])}/{spelled(one['name'])}": one
        for project in mesh.listed("ListProjects")
        for one in mesh.listed("ListDataSources", project_id=project["id"])
        if mesh.place(one["location"])
    }


def _assets(mesh: Remote) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        return {
            key: one
            for project in mesh.listed("ListProjects")
            for one in mesh.listed("ListAssets", project_id=project["id"])
            if not one["is_archived"] and (key := mesh.place(one["external_identifier"]))
        }

    return mesh.once("assets", make)


def _products(mesh: Remote) -> list[tuple[str, Any]]:
    return [
        (f"{spelled(project['name'])}/{spelled(one['name'])}", one)
        for project in mesh.listed("ListProjects")
        for one in mesh.listed("ListDataProducts", project_id=project["id"])
    ]


def _asset_id(mesh: Remote, key: str) -> str:
    found = _assets(mesh).get(key)
    if found is None:
        raise InvalidInput(f"there is no asset '{key}'; add it to the blueprint")
    return str(found["id"])


def _filters(mesh: Remote, asset: Any) -> dict[str, Any]:
    def make() -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for one in mesh.listed("ListProjectAssetFilters", project_id=asset["owning_project_id"]):
            found.setdefault(one["asset_id"], {})[one["name"]] = one
        return found

    return mesh.once(f"filters of {asset['owning_project_id']}", make).get(asset["id"], {})


def _is_published(mesh: Remote, one: Any) -> bool | None:
    def make() -> dict[str, Any]:
        given = {"owning_project_id": one["owning_project_id"]}
        return {each["entity_id"]: each for each in mesh.listed("ListListings", **given)}

    found = mesh.once(f"listings of {one['owning_project_id']}", make).get(one["id"])
    if found is None or found["status"] != ListingStatus.ACTIVE:
        return False
    return True if found["entity_revision"] == one["version"] else None


def _action(changed: Mapping[str, Any]) -> str:
    return "PUBLISH" if changed["published"] else "UNPUBLISH"


def _column(mesh: Remote, one: Any) -> ColumnSpec:
    pii = one["pii"]
    return ColumnSpec(
        business_name=one["business_name"],
        description=one["description"],
        terms=term_keys(mesh, one["glossary_terms"]),
        pii=PiiSpec(kind=pii["kind"], status=pii["status"]) if pii else None,
    )


def _filter(one: Any) -> FilterSpec:
    configuration = one["definition"]["configuration"]
    rows = configuration.get("rowConfiguration", {})
    return FilterSpec(
        description=one["description"],
        columns=tuple(configuration["columnConfiguration"]["includedColumnNames"]),
        masks=configuration["columnMasks"],
        rows=rows.get("rowFilter"),
        is_sensitive=rows.get("sensitive", False),
    )


def _configuration(before: FilterSpec | None, wanted: FilterSpec) -> dict[str, Any]:
    """Write a filter as DataZone does; what a blueprint does not say stays."""
    there: Spec = before or FilterSpec(description="")
    said = given(there, *FilterSpec.__struct_fields__) | given(wanted, "columns", "rows")
    said |= given(wanted, "is_sensitive")
    masks = {**said.get("masks", {}), **(wanted.masks or {})}
    if before and "columns" in said and wanted.columns is not None:
        # A column that is shown no longer takes its mask along.
        masks = {key: one for key, one in masks.items() if key in said["columns"]}
    made: dict[str, Any] = {"columnMasks": masks}
    if "columns" in said:
        made["columnConfiguration"] = {"includedColumnNames": list(said["columns"])}
    if said.get("rows"):
        sensitive = said.get("is_sensitive", False)
        made["rowConfiguration"] = {"rowFilter": said["rows"], "sensitive": sensitive}
    return made


def _said(mesh: Remote, told: Mapping[str, Any], forms: list[Any]) -> dict[str, Any]:
    """Spell what a blueprint says of something as operations do: by ids."""
    found = dict(told)
    if "location" in found:
        found["location"] = mesh.location(found["location"])[1]
    if "terms" in found:
        found["glossary_terms"] = term_ids(mesh, found.pop("terms"))
    if "forms" in found:
        found["forms"] = forms_given(mesh, forms, found["forms"])
    if "assets" in found:
        ids = [_asset_id(mesh, key) for key in found.pop("assets")]
        found["items"] = [{"asset_id": id_} for id_ in ids]
    return found
