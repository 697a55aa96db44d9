"""The one place where technical metadata become assets, and assets follow what their files say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any
from urllib.parse import unquote

from atoll.core.errors import Conflict, Forbidden, InvalidInput
from atoll.core.text import printable, shortened, some_of
from atoll.mesh.harvest import SchemaChange, Technical, schema_diff
from atoll.mesh.model.catalog import (
    Asset,
    AssetType,
    Classification,
    ColumnMetadata,
    DataSource,
    PiiFlag,
    PiiStatus,
    strictest,
)
from atoll.mesh.model.organisation import Association, Project
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.personal import Findings
from atoll.mesh.pii import Proposal
from atoll.mesh.service.assets import changed_asset
from atoll.mesh.service.duplicates import duplicates
from atoll.mesh.service.glossaries import require_usable
from atoll.mesh.service.guardrails import guardrails_of

# Names of the types that come with Atoll, by what a harvest calls it.
_TYPES = {
    "table": "Table",
    "vector collection": "VectorCollection",
    "file set": "FileSet",
}
NAME_LETTERS = 128
MOST_COPIES = 10
PERSONAL_TOLD, COLUMN_LETTERS = 20, 60
REMARK_LETTERS = 1000
MOST_BYTES = 2000  # of a location: PostgreSQL's indexes take a few more
_SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".lance")


def first_classification(
    call: Call, project: Project, wanted: Classification | None
) -> Classification:
    """Tell how far new assets of a project may go: as somebody wants, or as the guardrails say."""
    return wanted or guardrails_of(call, project.id).default_classification


def classification_by(call: Call, project: Project, source: DataSource) -> Classification:
    """Tell how far assets that a source finds may go: as was said of it, under other guardrails.

    An owner may have said less than those demanded; where they demand more now, that holds.
    """
    least = first_classification(call, project, None)
    wanted = source.classification or least
    is_stricter_now = least.is_stricter_than(source.classified_under or wanted)
    return strictest((wanted, least)) if is_stricter_now else wanted


def check_classification(call: Call, project: Project, wanted: Classification | None) -> None:
    """See that the caller may let new assets of a project begin so.

    Raises:
        Forbidden: it is less than the guardrails say, which only owners may decide.
    """
    least = first_classification(call, project, None)
    if wanted is None or not least.is_stricter_than(wanted):
        return
    # Any operation that takes an owner.
    if not call.decide(OPERATIONS["UpdateProject"].action, project).is_allowed:
        raise Forbidden(
            f"only owners of '{project.name}' let assets begin as {wanted}; the guardrails say "
            f"{least}"
        )


def require_type(asset_type: AssetType, technical: Technical) -> None:
    """See that files are of a type; those of projects are for whatever they say.

    Raises:
        InvalidInput: it comes with Atoll, for something else: a View is no files.
    """
    fits = _TYPES[technical.kind]
    if not asset_type.owning_project_id and asset_type.name != fits:
        raise InvalidInput(
            f"what lies there is a {fits}, no {asset_type.name}; leave the type out, or take one "
            "that a project made"
        )


def is_news(asset: Asset | None, technical: Technical) -> bool:
    """Tell whether to look for personal data in what was harvested at the place of an asset."""
    return asset is None or bool(asset.unexamined) or asset.technical != technical


def created(
    call: Call,
    project: Project,
    storage: Association,
    technical: Technical,
    findings: Findings,
    *,
    classification: Classification,
    source: DataSource | None = None,
    name: str = "",
    asset_type: str = "",
    description: str = "",
) -> Asset:
    """Make an asset of what was harvested; whoever calls has seen to it that its place is free.

    Args:
        call: changes something.
        project: whose it is.
        storage: an accepted one, in which it lies.
        technical: what its files say.
        findings: what speaks for personal data in it.
        classification: how far it may go.
        source: what found it; its terms that are not disabled meanwhile, and its forms, are the
            asset's, too.
        name: empty: the last part of the location.
        asset_type: empty: what comes with Atoll for its kind.
        description: of the asset.

    Raises:
        Conflict: an asset is registered at the same place.
    """
    if call.find(Asset, external_identifier=technical.location):
        raise Conflict("it is registered already, perhaps by another project")
    return call.add(
        Asset,
        name=name or name_of(technical.location),
        description=description,
        asset_type=asset_type or _TYPES[technical.kind],
        external_identifier=technical.location,
        owning_project_id=project.id,
        association_id=storage.id,
        data_source_id=source.id if source else "",
        classification=classification,
        technical=technical,
        unexamined=shortened(findings.remark, REMARK_LETTERS),
        columns=tuple(_columns(technical, {}, findings.proposals)),
        forms=source.forms if source else (),
        glossary_terms=tuple(_usable(call, source.glossary_terms if source else ())),
    )


def updated(
    call: Call, asset: Asset, technical: Technical, findings: Findings, **values: Any
) -> Asset:
    """Let an asset follow what was harvested at its place: a new revision, if anything is new.

    What was said of columns that are gone is gone, too, but for flags of personal data. Where a
    column that was found not to be personal has another type, it is looked at anew.

    Args:
        call: changes something.
        asset: as it is.
        technical: what its files say now.
        findings: what speaks for personal data in it; nothing where `is_news` says no.
        values: of other fields that change.
    """
    if not is_news(asset, technical):
        return changed_asset(call, asset, **values)
    before = {one.name: one for one in asset.columns}
    retyped = {one.name for one, _ in change_between(asset, technical).retyped}
    kept = {name: _unrefused(one) if name in retyped else one for name, one in before.items()}
    if asset.technical and asset.asset_type == _TYPES[asset.technical.kind]:
        values.setdefault("asset_type", _TYPES[technical.kind])
    # The first reason stays: each failure in other words would be a revision.
    fails_again = asset.unexamined and findings.remark and asset.technical == technical
    if not fails_again:
        values["unexamined"] = shortened(findings.remark, REMARK_LETTERS)
    columns = tuple(_columns(technical, kept, findings.proposals))
    return changed_asset(call, asset, technical=technical, columns=columns, **values)


def told_of(before: Asset, after: Asset) -> dict[str, Any]:
    """Tell the audit what a new revision of an asset changed."""
    if after.technical is None or after.version == before.version:
        return {}
    flagged = [repr(one)[:COLUMN_LETTERS] for one in sorted(after.personal - before.personal)]
    return {
        "revision": after.version,
        "schema": change_between(before, after.technical).sentence(),
        **({"personal": some_of(flagged, PERSONAL_TOLD)} if flagged else {}),
    }


def change_between(before: Asset, technical: Technical) -> SchemaChange:
    """Compare the schema of an asset with what was harvested."""
    return schema_diff(before.schema, technical.schema)


def copies_of(sees: Call, asset: Asset) -> list[str]:
    """Name some assets that seem to hold the same, of those that somebody may know of."""
    return [f"'{one.name}' ({one.id})" for one in islice(duplicates(sees, asset), MOST_COPIES)]


def name_of(location: str) -> str:
    """Make a name of the last part of a location.

    >>> name_of("file:///lake/press%20shop/orders.csv"), name_of("s3://plant/welds.lance")
    ('orders', 'welds')
    """
    last = location.rsplit("/", 1)[-1]
    shown = unquote(last) if location.startswith("file:") else last
    for suffix in _SUFFIXES:
        if shown.lower().endswith(suffix) and len(shown) > len(suffix):
            shown = shown[: -len(suffix)]
            break
    return printable(shown)[:NAME_LETTERS].strip() or "unnamed"


def _columns(
    technical: Technical, before: dict[str, ColumnMetadata], proposals: Sequence[Proposal]
) -> Iterator[ColumnMetadata]:
    """Yield what is known of the columns that there are; personal ones that nobody flagged, too."""
    # The surest last, which stays.
    found = {one.column: one for one in sorted(proposals, key=lambda one: one.confidence)}
    for column in technical.schema:
        known = before.get(column.name)
        proposal = found.get(column.name)
        if proposal and not (known and known.pii):
            flag = PiiFlag(proposal.kind, PiiStatus.PROPOSED, proposal.evidence)
            yield replace(known or ColumnMetadata(column.name), pii=flag)
        elif known:
            yield known


def _unrefused(column: ColumnMetadata) -> ColumnMetadata:
    is_refused = column.pii is not None and not column.pii.is_personal
    return replace(column, pii=None) if is_refused else column


def _usable(call: Call, term_ids: Iterable[str]) -> Iterator[str]:
    for id_ in term_ids:
        try:
            require_usable(call, [id_])
        except InvalidInput:
            continue
        yield id_
