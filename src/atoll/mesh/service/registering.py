"""Assets that people register, one at a time, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.mesh.harvest import Outcome, Source, Technical, Unreadable, harvest
from atoll.mesh.harvest.locations import MAX_LOCATION_CHARACTERS, lies_in
from atoll.mesh.model.catalog import Asset, Classification
from atoll.mesh.model.organisation import Association, AssociationStatus, Project
from atoll.mesh.model.record import Name, Text
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Nothing, Right, operation
from atoll.mesh.personal import NOT_LOOKED_AT, Findings, look_through
from atoll.mesh.service import grounds, harvested
from atoll.mesh.service.asset_types import usable_type
from atoll.mesh.service.forms import Word

Location = Annotated[str, Meta(min_length=1, max_length=MAX_LOCATION_CHARACTERS)]


class NewAsset(Ask, frozen=True, kw_only=True):
    """What is registered.

    Attributes:
        location: of one table, vector collection or file set, in an accepted storage of the
            project, or in one of its environments.
        name: left out: the last part of the location.
        asset_type: left out: what comes with Atoll for what is there.
        classification: left out: as the guardrails say; less than that takes an owner.
    """

    location: Location
    name: Name | None = None
    asset_type: Word | None = None
    description: Text = ""
    classification: Classification | None = None


class Registered(msgspec.Struct, frozen=True):
    """An asset that was registered.

    Attributes:
        id: the asset's.
        copies: names of assets and listings that you may know of and that seem to hold the same.
        remark: what was not looked at, and why.
    """

    id: str
    asset: Asset
    copies: list[str]
    remark: str = ""


@dataclass(frozen=True)
class Read:
    """What stands at a location, read while others went on.

    Attributes:
        ask: what was asked.
        technical: what its files say.
        findings: what speaks for personal data in it; of what is no news, nothing.
    """

    ask: NewAsset | None
    technical: Technical
    findings: Findings


def _read_new(call: Call, project: Project, ask: NewAsset) -> Read:
    harvested.check_classification(call, project, ask.classification)
    ground, location = grounds.ground_of(call.reader, project, ask.location)
    storage = ground.storage
    _refuse_anothers(ground, location)
    try:
        technical = _read(call, storage, location)
    except NotFound as error:
        raise grounds.nothing_at(project) from error
    [findings] = _looked_through(call, storage, [technical])
    return Read(ask, technical, findings)


@operation("POST", "/projects/{project_id}/assets", Right.CONTRIBUTE, before=_read_new)
def create_asset(call: Call, project: Project, read: Read) -> Registered:
    """Register a table, vector collection or file set; only its project sees it until it is listed.

    Columns that may hold personal data are masked from the start, until an owner says otherwise.
    """
    ask = read.ask
    assert ask
    harvested.check_classification(call, project, ask.classification)
    if ask.asset_type:
        harvested.require_type(usable_type(call, project, ask.asset_type), read.technical)
    location = read.technical.location
    ground = grounds.ground_at(call.reader, project, location)
    _refuse_anothers(ground, location)
    taken = grounds.taken_in(call.reader, location)
    if told := grounds.same_files(call.reader, project, taken, location):
        raise Conflict(told)
    made = harvested.created(
        call,
        project,
        ground.storage,
        read.technical,
        read.findings,
        classification=harvested.first_classification(call, project, ask.classification),
        name=ask.name or "",
        asset_type=ask.asset_type or "",
        description=ask.description,
    )
    call.tell(location=made.external_identifier, classification=made.classification)
    return Registered(made.id, made, harvested.copies_of(call, made), read.findings.remark)


def _read_again(call: Call, asset: Asset, _: Nothing) -> Read:
    storage = _accepted(call, asset.association_id)
    try:
        technical = _read(call, storage, asset.external_identifier)
    except NotFound as error:
        raise Conflict("there is nothing at the asset's location any more; archive it") from error
    news = [technical] if harvested.is_news(asset, technical) else []
    [findings] = _looked_through(call, storage, news) or [NOT_LOOKED_AT]
    return Read(None, technical, findings)


@operation("POST", "/assets/{asset_id}/refresh", Right.CONTRIBUTE, before=_read_again)
def refresh_asset(call: Call, asset: Asset, read: Read) -> Asset:
    """Read an asset's files again; if they changed, it has a new revision.

    What was said of columns that are gone is gone, too; new columns are looked through for personal
    data, and all of them where that could not be done before.
    """
    if asset.is_archived:
        raise Conflict(f"'{asset.name}' is archived; restore it first")
    _accepted(call, asset.association_id)
    changed = harvested.updated(call, asset, read.technical, read.findings)
    call.tell(**harvested.told_of(asset, changed))
    return changed


def _looked_through(
    call: Call, storage: Association, assets: Sequence[Technical]
) -> list[Findings]:
    tools = call.tools
    return look_through(tools.executor, assets, tools.options_of(storage), tools.collections)


def _refuse_anothers(ground: grounds.Ground, location: str) -> None:
    if ground.holds_anothers(location):
        raise Conflict("other projects work below this location; register what lies beside them")


def _accepted(call: Call, association_id: str) -> Association:
    storage = call.find(Association, id=association_id)
    if storage is None or storage.status is not AssociationStatus.ACCEPTED:
        raise Conflict("its storage does not belong to the domain any more; associate it again")
    return storage


def _read(call: Call, storage: Association, location: str) -> Technical:
    """Read what must be one asset.

    Raises:
        NotFound: nothing is there.
        InvalidInput: it is not one asset, or cannot be read.
        Unavailable: the store does not answer, or not to the server.
    """
    tools = call.tools
    source = Source(location, options=tools.options_of(storage))
    try:
        found = harvest(source, executor=tools.executor, collections=tools.collections)
    except Forbidden as error:
        # Not the caller's right, but the server's.
        raise Unavailable(f"the store refuses the server: {error.message}") from error
    return _only(location, found)


def _only(location: str, found: list[Outcome]) -> Technical:
    # A link may lead to what others have in the same storage.
    if any(not lies_in(one.location, location) for one in found) or not found:
        raise NotFound("it has become a link to another place")
    [*others, last] = found
    if others or location not in (last.location, _folder_of_table(last)):
        raise InvalidInput(
            f"{len(found):,} assets lie there, such as {last.location}; register one of them, or "
            "make a data source"
        )
    if isinstance(last, Unreadable):
        raise InvalidInput(f"it cannot be read: {last.reason}")
    return replace(last, location=location)


def _folder_of_table(found: Outcome) -> str:
    """Return the folder whose only file is a table of Parquet: seen from above, it is the table."""
    is_parquet = isinstance(found, Technical) and (found.format, found.files) == ("parquet", 1)
    return found.location.rsplit("/", 1)[0] if is_parquet else ""
