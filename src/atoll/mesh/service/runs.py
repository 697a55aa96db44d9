"""Runs of data sources: each looks through a place and does something with each asset there.

REQUESTED -> RUNNING -> SUCCESS              all that was found was dealt with
                     -> PARTIALLY_SUCCEEDED  some of it could not be; its activities say why
                     -> FAILED               none of it, or nothing could be looked through
          -> FAILED

A run changes a few assets at a time, each together with the activity that tells of it, so that
others need not wait for all of it; one that is begun again, by a server that was killed, passes
over what has its activity.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import unquote

from atoll.core.errors import AtollError, Conflict, NotFound
from atoll.core.groups import in_groups
from atoll.core.text import some_of
from atoll.mesh.harvest import Outcome, Source, Technical, Unreadable, harvest
from atoll.mesh.harvest.locations import lies_in
from atoll.mesh.harvest.patterns import is_wanted
from atoll.mesh.model.catalog import (
    Asset,
    AssetRunStatus,
    DataSource,
    DataSourceRun,
    DataSourceRunActivity,
    DataSourceRunStatus,
    DataSourceStatus,
    Listing,
    RunType,
)
from atoll.mesh.model.describing import EnabledStatus
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.record import Record, moved
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import HOUSEKEEPING, RUNS, Attendant, job, later
from atoll.mesh.operations.tools import Tools
from atoll.mesh.personal import NOT_LOOKED_AT, Findings, look_through
from atoll.mesh.service import grounds, harvested
from atoll.mesh.service.listings import published
from atoll.mesh.store.reading import Reader

Taken = Callable[[], list[str]]
RUN, START, FORGET = "run-data-source", "start-data-source-run", "forget-data-source-runs"
# A process is started for each such number of tables, which takes a second or two.
LOOKED_AT_ONCE = 200
CHANGED_AT_ONCE = 10
KEPT_RUNS = 100
REMOVED_AT_ONCE = 200
# Whatever keeps it from ending ends it in the end.
MOST_ATTEMPTS = 5
MESSAGE_LETTERS = 1000
RUN_EDGES = {
    DataSourceRunStatus.REQUESTED: (DataSourceRunStatus.RUNNING, DataSourceRunStatus.FAILED),
    DataSourceRunStatus.RUNNING: (
        DataSourceRunStatus.SUCCESS,
        DataSourceRunStatus.PARTIALLY_SUCCEEDED,
        DataSourceRunStatus.FAILED,
    ),
    DataSourceRunStatus.SUCCESS: (),
    DataSourceRunStatus.PARTIALLY_SUCCEEDED: (),
    DataSourceRunStatus.FAILED: (),
}
IS_GOING = (DataSourceRunStatus.REQUESTED, DataSourceRunStatus.RUNNING)
_REFUSED = ("forbidden", "unauthenticated")
_LOST = (AssetRunStatus.FAILED, AssetRunStatus.SKIPPED_NO_ACCESS)


@dataclass(frozen=True)
class RunState:
    """What a run stands on; read anew whenever something is changed on it."""

    run: DataSourceRun
    source: DataSource
    project: Project
    ground: grounds.Ground


@dataclass(frozen=True)
class Deed:
    """What was done with one asset."""

    status: AssetRunStatus
    asset_id: str = ""
    message: str = ""


def begun(call: Call, source: DataSource, type_: RunType) -> DataSourceRun:
    """Have a data source looked through that is not running."""
    run = call.add(
        DataSourceRun, data_source_id=source.id, project_id=source.project_id, type=type_
    )
    call.change(source, status=DataSourceStatus.RUNNING, last_run_id=run.id)
    later(call, RUN, run.id)
    return run


@job(START)
def start_scheduled_run(attendant: Attendant, task: Job) -> int | None:
    """Start a run that is due, unless one is going; due again after the source's interval."""
    due: list[int] = []

    def work(call: Call) -> DataSourceRun | None:
        source = call.find(DataSource, id=task.subject_id)
        if not (source and source.every_s and source.enable_setting is EnabledStatus.ENABLED):
            return None
        due.append(call.now + source.every_s * 1_000_000)
        if source.status is DataSourceStatus.RUNNING:
            return None
        return begun(call, source, RunType.SCHEDULED)

    attendant.act("StartDataSourceRun", START, work)
    return due[-1] if due else None


@job(RUN, lane=RUNS)
def carry_out_run(attendant: Attendant, task: Job) -> int | None:
    """Look through a data source, from the start or from where another left off."""
    run_id = task.subject_id
    with attendant.reading() as reader:
        run = reader.find(DataSourceRun, run_id)
    if run is None or run.status not in IS_GOING:
        return None
    attendant.act("BeginDataSourceRun", RUN, lambda call: _running(call, run_id))
    why = ""
    try:
        if task.attempts > MOST_ATTEMPTS:
            raise Conflict(f"it was begun {MOST_ATTEMPTS} times and never ended; see the log")
        _look_through(attendant, run_id)
    except Conflict as error:
        why = error.message
    attendant.act("EndDataSourceRun", RUN, lambda call: _ended(call, run_id, why))
    return None


@job(FORGET, lane=HOUSEKEEPING)
def forget_old_runs(attendant: Attendant, task: Job) -> int | None:
    """Remove all but a source's newest runs; of a source that is gone, all."""
    with attendant.reading() as reader:
        is_there = reader.find(DataSource, task.subject_id) is not None
        runs = sorted(
            reader.all(DataSourceRun, data_source_id=task.subject_id),
            key=lambda one: one.created_at,
        )
        old = runs[:-KEPT_RUNS] if is_there else runs
        gone = [
            *(one for run in old for one in reader.all(DataSourceRunActivity, run_id=run.id)),
            *old,
        ]
    for some in in_groups(gone, REMOVED_AT_ONCE):
        attendant.act("ForgetDataSourceRuns", FORGET, partial(_remove, records=some))
    return None


def _remove(call: Call, *, records: Sequence[Record]) -> None:
    for one in records:
        call.remove(one)


def _running(call: Call, run_id: str) -> DataSourceRun | None:
    run = call.find(DataSourceRun, id=run_id)
    if run is None or run.status is not DataSourceRunStatus.REQUESTED:
        return None
    to = moved("the run", run.status, DataSourceRunStatus.RUNNING, RUN_EDGES)
    return call.change(run, status=to, started_at=call.now)


def _ended(call: Call, run_id: str, why: str) -> DataSourceRun | None:
    run = call.find(DataSourceRun, id=run_id)
    if run is None or run.status not in IS_GOING:
        return None
    counts = {
        str(status): count
        for status in AssetRunStatus
        if (count := call.count(DataSourceRunActivity, run_id=run.id, status=status))
    }
    lost = sum(counts.get(status, 0) for status in _LOST)
    if lost and lost == sum(counts.values()):
        why = why or "nothing that was found could be read; its activities say why"
    is_whole = not lost and AssetRunStatus.PUBLISHING_FAILED not in counts
    wanted = DataSourceRunStatus.SUCCESS if is_whole else DataSourceRunStatus.PARTIALLY_SUCCEEDED
    wanted = DataSourceRunStatus.FAILED if why else wanted
    source = call.find(DataSource, id=run.data_source_id)
    if source and source.last_run_id == run.id:
        call.change(source, status=DataSourceStatus.READY)
        later(call, FORGET, source.id)
    call.tell(status=wanted, statistics=counts, why=why)
    return call.change(
        run,
        status=moved("the run", run.status, wanted, RUN_EDGES),
        statistics=counts,
        stopped_at=call.now,
        error_message=why,
    )


def _look_through(attendant: Attendant, run_id: str) -> None:
    """Deal with all that is there.

    Raises:
        Conflict: nothing can be looked through, or not any more.
    """
    with attendant.reading() as reader:
        state = _state(reader, run_id)
    source, outcomes = _found(attendant.tools, state)
    for some in in_groups(outcomes, LOOKED_AT_ONCE):
        findings = _findings(attendant, source, some)
        for few in in_groups(some, CHANGED_AT_ONCE):
            work = partial(_take_in, run_id=run_id, found=few, findings=findings)
            attendant.act("TakeAssetsIn", RUN, work)
    with attendant.reading() as reader:
        gone = list(_gone(reader, state, source, outcomes))
    for some_gone in in_groups(gone, CHANGED_AT_ONCE):
        attendant.act("MissAssets", RUN, partial(_miss, run_id=run_id, assets=some_gone))


def _state(reader: Reader, run_id: str) -> RunState:
    """Find what a run stands on.

    Raises:
        Conflict: it stands on nothing any more.
    """
    run = reader.find(DataSourceRun, run_id)
    source = reader.find(DataSource, run.data_source_id) if run else None
    project = reader.find(Project, source.project_id) if source else None
    if not (run and source and project and run.status in IS_GOING):
        raise Conflict("its data source or its project is gone")
    try:
        ground = grounds.ground_at(reader, project, source.location)
    except NotFound as error:
        raise Conflict(
            f"the storage of '{source.name}' does not belong to the domain any more, or its "
            "environment is gone; associate it again and give the data source its location anew"
        ) from error
    if ground.storage.id != source.association_id:
        raise Conflict(
            f"'{source.name}' lies in another association than it did; give it its location anew"
        )
    return RunState(run, source, project, ground)


def _found(tools: Tools, state: RunState) -> tuple[Source, list[Outcome]]:
    """Harvest a data source.

    Raises:
        Conflict: it cannot be, for whatever reason.
    """
    one = state.source
    try:
        options = tools.options_of(state.ground.storage)
        source = Source(one.location, one.include, one.exclude, options, state.ground.others)
        found = harvest(source, executor=tools.executor, collections=tools.collections)
    except AtollError as error:
        raise Conflict(error.message) from error
    if not all(lies_in(each.location, one.location) for each in found):
        # Nothing of what is there: it is somebody else's.
        raise Conflict(f"{one.location} has become a link to another place")
    return source, found


def _findings(
    attendant: Attendant, source: Source, outcomes: Sequence[Outcome]
) -> Mapping[str, Findings]:
    """Look what is new or changed through for personal data; by location."""
    with attendant.reading() as reader:
        places = [one.location for one in outcomes]
        assets = reader.all(Asset, external_identifier=places)
        known = {one.external_identifier: one for one in assets}
    news = [
        one
        for one in outcomes
        if isinstance(one, Technical) and harvested.is_news(known.get(one.location), one)
    ]
    tools = attendant.tools
    found = look_through(tools.executor, news, source.options, tools.collections)
    return {one.location: each for one, each in zip(news, found, strict=True)}


def _take_in(
    call: Call, *, run_id: str, found: Sequence[Outcome], findings: Mapping[str, Findings]
) -> None:
    state = _state(call.changes, run_id)
    if not all(state.ground.holds(one.location) for one in found):
        raise Conflict(f"'{state.source.name}' was given another location meanwhile")
    # All places there: read once, and only where something is new.
    taken = cache(partial(grounds.taken_in, call.reader, state.ground.root))
    for one in found:
        if not _is_told(call, run_id, one.location):
            seen = findings.get(one.location, NOT_LOOKED_AT)
            _tell(call, state, one.location, _dealt_with(call, state, one, seen, taken))


def _dealt_with(
    call: Call, state: RunState, found: Outcome, findings: Findings, taken: Taken
) -> Deed:
    """Make or change the asset at a place, if it is this run's to change."""
    asset = call.find(Asset, external_identifier=found.location)
    if asset and asset.owning_project_id != state.project.id:
        return Deed(AssetRunStatus.SKIPPED_ALREADY_IMPORTED, "", "it is registered already")
    id_ = asset.id if asset else ""
    if isinstance(found, Unreadable):
        is_refused = found.code in _REFUSED
        status = AssetRunStatus.SKIPPED_NO_ACCESS if is_refused else AssetRunStatus.FAILED
        return Deed(status, id_, found.reason)
    if state.ground.is_anothers(found.location) or state.ground.holds_anothers(found.location):
        told = "other projects work there; register what lies beside them"
        return Deed(AssetRunStatus.FAILED, id_, told)
    if asset is None:
        return _created(call, state, found, findings, taken)
    if asset.is_archived:
        return Deed(AssetRunStatus.SKIPPED_ARCHIVED, id_, "it is archived")
    other = asset.data_source_id != state.source.id and call.find(
        DataSource, id=asset.data_source_id
    )
    if other:
        told = f"the data source '{other.name}' has brought it in"
        return Deed(AssetRunStatus.SKIPPED_ALREADY_IMPORTED, id_, told)
    return _updated(call, state, asset, found, findings)


def _created(
    call: Call, state: RunState, found: Technical, findings: Findings, taken: Taken
) -> Deed:
    if len(found.location.encode()) > harvested.MOST_BYTES:
        return Deed(AssetRunStatus.FAILED, "", "its location is too long; move it")
    try:
        grounds.ground_at(call.reader, state.project, found.location)
    except Conflict as error:  # an environment of the project, in which nothing new is registered
        return Deed(AssetRunStatus.FAILED, "", error.message)
    if told := grounds.same_files(call.reader, state.project, taken(), found.location):
        return Deed(AssetRunStatus.FAILED, "", told)
    source = state.source
    made = harvested.created(
        call,
        state.project,
        state.ground.storage,
        found,
        findings,
        classification=harvested.classification_by(call, state.project, source),
        source=source,
    )
    insort(taken(), made.external_identifier)
    call.note(
        "CreateAsset",
        made,
        run=state.run.id,
        location=made.external_identifier,
        classification=made.classification,
    )
    copies = harvested.copies_of(call.seen_by_members(state.project.id), made)
    copy = f"it seems to hold the same as {some_of(copies)}" if copies else ""
    refused = _published(call, made) if source.publish_on_import else ""
    status = AssetRunStatus.PUBLISHING_FAILED if refused else AssetRunStatus.SUCCEEDED_CREATED
    remark = "" if made.unexamined and refused else findings.remark  # that is why
    return Deed(status, made.id, "; ".join(filter(None, [refused, copy, remark])))


def _published(call: Call, asset: Asset) -> str:
    """List a new asset; returns why it cannot be."""
    try:
        listing = published(call, asset)
    except Conflict as error:
        return error.message
    call.note("CreateListingChangeSet", listing, action="PUBLISH", revision=asset.version)
    return ""


def _updated(
    call: Call, state: RunState, asset: Asset, found: Technical, findings: Findings
) -> Deed:
    changed = harvested.updated(
        call,
        asset,
        found,
        findings,
        association_id=state.ground.storage.id,
        data_source_id=state.source.id,
    )
    if changed.version == asset.version:
        return Deed(AssetRunStatus.UNCHANGED, asset.id, changed.unexamined)
    call.note("RefreshAsset", changed, run=state.run.id, **harvested.told_of(asset, changed))
    diff = harvested.change_between(asset, found)
    # What was kept back at import.
    is_due = state.source.publish_on_import and asset.unexamined and not changed.unexamined
    is_held = is_due and not call.find(Listing, entity_id=asset.id)
    refused = _published(call, changed) if is_held else ""
    status = AssetRunStatus.PUBLISHING_FAILED if refused else AssetRunStatus.SUCCEEDED_UPDATED
    schema = diff.sentence() if diff else "its schema is as it was"
    told = [refused, schema, changed.unexamined]
    return Deed(status, asset.id, "; ".join(filter(None, told)))


def _gone(
    reader: Reader, state: RunState, source: Source, outcomes: Sequence[Outcome]
) -> Iterator[Asset]:
    """Yield the assets that this source once found, still looks for, and finds no more."""
    there = {one.location for one in outcomes}
    refused = [f"{one.location}/" for one in outcomes if isinstance(one, Unreadable)]
    for one in reader.all(Asset, data_source_id=state.source.id):
        place = one.external_identifier
        if (
            place not in there
            and not one.is_archived
            and not any(place.startswith(each) for each in refused)
            and _is_looked_for(source, place)
        ):
            yield one


def _is_looked_for(source: Source, place: str) -> bool:
    if not lies_in(place, source.location):
        return False
    path = place.removeprefix(source.location).lstrip("/") or place.rsplit("/", 1)[-1]
    return is_wanted(source, unquote(path) if place.startswith("file:") else path)


def _miss(call: Call, *, run_id: str, assets: Sequence[Asset]) -> None:
    state = _state(call.changes, run_id)
    told = "there is nothing at its location any more; archive or delete it"
    for one in assets:
        if not _is_told(call, run_id, one.external_identifier):
            deed = Deed(AssetRunStatus.FAILED, one.id, told)
            _tell(call, state, one.external_identifier, deed)


def _is_told(call: Call, run_id: str, location: str) -> bool:
    return call.find(DataSourceRunActivity, id=_activity_id(run_id, location)) is not None


def _tell(call: Call, state: RunState, location: str, deed: Deed) -> None:
    call.add(
        DataSourceRunActivity,
        id_=_activity_id(state.run.id, location),
        run_id=state.run.id,
        project_id=state.project.id,
        location=location,
        asset_id=deed.asset_id,
        status=deed.status,
        message=deed.message[:MESSAGE_LETTERS],
    )


def _activity_id(run_id: str, location: str) -> str:
    # The same for whoever takes a run up again: nothing is dealt with twice.
    made = hashlib.sha256(f"{run_id} {location}".encode()).hexdigest()[:32]
    return f"{DataSourceRunActivity.KIND}-{made}"
