"""Data sources: places that a project has looked through for assets, by hand or on a schedule.

READY <-> RUNNING        a data source
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.harvest import Source
from atoll.mesh.harvest.patterns import MAX_PATTERN_CHARACTERS, MAX_PATTERNS, check_patterns
from atoll.mesh.model.catalog import (
    AssetRunStatus,
    Classification,
    DataSource,
    DataSourceRun,
    DataSourceRunActivity,
    DataSourceStatus,
    RunType,
)
from atoll.mesh.model.describing import EnabledStatus
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.record import Ids
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import later
from atoll.mesh.operations.registry import Described, Done, Page, Redescribed, Right, operation
from atoll.mesh.service import harvested
from atoll.mesh.service.forms import FormInputs, checked_forms
from atoll.mesh.service.glossaries import require_usable
from atoll.mesh.service.grounds import ground_of
from atoll.mesh.service.history import revised
from atoll.mesh.service.registering import Location
from atoll.mesh.service.runs import FORGET, START, begun

LEAST_SECONDS, MOST_SECONDS = 60, 366 * 86_400

Patterns = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=MAX_PATTERN_CHARACTERS)], ...],
    Meta(max_length=MAX_PATTERNS),
]
Seconds = Annotated[int, Meta(ge=0, le=MOST_SECONDS)]


class NewDataSource(Described, frozen=True, kw_only=True):
    """What is looked through, and what its assets begin with.

    Attributes:
        location: in an accepted storage of the project, or in one of its environments.
        include, exclude: patterns of paths below it; `*` stands for "/", too.
        every_s: seconds between two runs, 60 at least; 0: only when asked for.
        publish_on_import: whether new assets are listed at once, where all rules allow it.
        classification: of new assets; left out: as the guardrails say; less than that takes an
            owner. Once they say more than they did then, new assets begin with no less.
        forms, glossary_terms: of new assets; of terms their ids.
    """

    location: Location
    include: Patterns = ()
    exclude: Patterns = ()
    every_s: Seconds = 0
    publish_on_import: bool = False
    classification: Classification | None = None
    forms: FormInputs = ()
    glossary_terms: Ids = ()


class ChangedDataSource(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    location: Location | None = None
    include: Patterns | None = None
    exclude: Patterns | None = None
    every_s: Seconds | None = None
    publish_on_import: bool | None = None
    classification: Classification | None = None
    forms: FormInputs | None = None
    glossary_terms: Ids | None = None
    enable_setting: EnabledStatus | None = None


class Activities(Page, frozen=True, kw_only=True):
    """Which of a run's activities."""

    status: AssetRunStatus | None = None


@operation("POST", "/projects/{project_id}/data-sources", Right.CONTRIBUTE)
def create_data_source(call: Call, project: Project, ask: NewDataSource) -> DataSource:
    """Have a place looked through for assets; see `StartDataSourceRun`."""
    made = call.add(DataSource, project_id=project.id, **_checked(call, project, ask.given()))
    _schedule(call, made)
    return made


@operation("GET", "/projects/{project_id}/data-sources", Right.VIEW)
def list_data_sources(call: Call, project: Project, ask: Page) -> Iterator[DataSource]:
    """List the data sources of a project."""
    return call.shown(DataSource, project_id=project.id)


@operation("GET", "/data-sources/{data_source_id}", Right.VIEW)
def get_data_source(call: Call, source: DataSource) -> DataSource:
    """Show a data source."""
    return source


@operation("PATCH", "/data-sources/{data_source_id}", Right.CONTRIBUTE)
def update_data_source(call: Call, source: DataSource, ask: ChangedDataSource) -> DataSource:
    """Change a data source; the assets that it has found stay as they are until its next run."""
    project = call.get(Project, source.project_id)
    changed = revised(call, source, **_checked(call, project, ask.given(), source))
    if (changed.every_s, changed.enable_setting) != (source.every_s, source.enable_setting):
        _schedule(call, changed)
    return changed


@operation("DELETE", "/data-sources/{data_source_id}", Right.CONTRIBUTE)
def delete_data_source(call: Call, source: DataSource) -> Done:
    """Remove a data source that is not running, with its runs; the assets it has found stay."""
    if source.status is DataSourceStatus.RUNNING:
        raise Conflict(f"'{source.name}' is running; wait for its run to end")
    call.tell(name=source.name, location=source.location)
    call.remove(source)
    later(call, FORGET, source.id)
    return Done()


@operation("POST", "/data-sources/{data_source_id}/runs", Right.CONTRIBUTE)
def start_data_source_run(call: Call, source: DataSource) -> DataSourceRun:
    """Look through a data source now."""
    if source.enable_setting is EnabledStatus.DISABLED:
        raise Conflict(f"'{source.name}' is disabled; enable it first")
    if source.status is DataSourceStatus.RUNNING:
        raise Conflict(f"'{source.name}' is running already", run=source.last_run_id)
    return begun(call, source, RunType.PRIORITIZED)


@operation("GET", "/data-sources/{data_source_id}/runs", Right.VIEW)
def list_data_source_runs(call: Call, source: DataSource, ask: Page) -> Iterator[DataSourceRun]:
    """List the runs of a data source."""
    return call.shown(DataSourceRun, data_source_id=source.id)


@operation("GET", "/data-source-runs/{data_source_run_id}", Right.VIEW)
def get_data_source_run(call: Call, run: DataSourceRun) -> DataSourceRun:
    """Show a run."""
    return run


@operation("GET", "/data-source-runs/{data_source_run_id}/activities", Right.VIEW)
def list_data_source_run_activities(
    call: Call, run: DataSourceRun, ask: Activities
) -> Iterator[DataSourceRunActivity]:
    """List what a run did with each asset, and why."""
    wanted = {"status": ask.status} if ask.status else {}
    return call.each(DataSourceRunActivity, run_id=run.id, after=call.after, **wanted)


def _checked(
    call: Call, project: Project, given: dict[str, Any], before: DataSource | None = None
) -> dict[str, Any]:
    """See that what is given makes sense; returns it as it is kept."""
    if 0 < given.get("every_s", 0) < LEAST_SECONDS:
        raise InvalidInput(f"every_s is {LEAST_SECONDS} at least; 0: only when asked for")
    if wanted := given.get("classification"):
        harvested.check_classification(call, project, wanted)
        least = harvested.first_classification(call, project, None)
        given = {**given, "classified_under": least}
    require_usable(call, given.get("glossary_terms", ()), before.glossary_terms if before else ())
    if "forms" in given:
        forms = checked_forms(call, given["forms"], before.forms if before else ())
        given = {**given, "forms": forms}
    if "location" in given:
        ground, location = ground_of(call.reader, project, given["location"])
        given = {**given, "location": location, "association_id": ground.storage.id}
    include, exclude = (given.get(key, getattr(before, key, ())) for key in ("include", "exclude"))
    check_patterns(Source("", include, exclude))
    return given


def _schedule(call: Call, source: DataSource) -> None:
    if source.every_s and source.enable_setting is EnabledStatus.ENABLED:
        later(call, START, source.id, due_at=call.now + source.every_s * 1_000_000)
