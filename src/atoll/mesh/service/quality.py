"""Quality: scores that are posted of assets again and again, and what follows from a bad one.

Each asset has one series of points per form name; those of "quality" carry a score, 0 to 100. The
newest counts: a point that comes late is history, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.text import sized
from atoll.mesh.model.access import LIVE, OnLowScore, Subscription, SubscriptionStatus
from atoll.mesh.model.catalog import Asset, Listing, TimeSeriesDataPoint
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.record import Moment, Score, in_order, new_id
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Page, Right, operation
from atoll.mesh.operations.scores import MAX_SCORE, QUALITY, measured, newest_points, worst
from atoll.mesh.service.guardrails import guardrails_of
from atoll.mesh.service.subscriptions import resumed, suspended

MAX_CONTENT_BYTES = 64 << 10
MAX_CONTENT_DEPTH = 16
_DAY_US = 86_400_000_000
_AHEAD_US = 60_000_000  # clocks differ
_OLDEST_US = 3653 * _DAY_US
_POINTS_LOOKED_AT = 1000  # of one asset, for how long it has been bad
NOTABLE_DROP = 10.0  # from one point to the next: so much is told
Series = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$(?!\n)")]


class NewDataPoint(Ask, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        form_name: of which series.
        timestamp: when, microseconds since the epoch.
        score: 0 to 100, of "quality" only.
        content: what else was measured; the asset's people see it, others do not.
    """

    form_name: Series = QUALITY
    timestamp: Moment
    score: Score | None = None
    content: dict[str, Any] = msgspec.field(default_factory=dict)


class DataPoints(Page, frozen=True, kw_only=True):
    """Which points: of a series, from and to a time, both among them, in microseconds.

    Attributes:
        ended_at: 0: the newest.
    """

    form_name: Series = QUALITY
    started_at: Moment = 0
    ended_at: Moment = 0


class ListingScores(Page, frozen=True, kw_only=True):
    """Which scores: from and to a time, both among them, microseconds since the epoch.

    Attributes:
        ended_at: 0: the newest.
    """

    started_at: Moment = 0
    ended_at: Moment = 0


class ListedScore(msgspec.Struct, frozen=True):
    """A score, as everybody sees it who may find the listing."""

    id: str
    asset_id: str
    timestamp: int
    score: float


class ListingQuality(msgspec.Struct, frozen=True):
    """How good listed data are now; a data product is as good as the worst of its assets.

    Attributes:
        score: 0 to 100; None: nobody has measured it.
        timestamp: when, microseconds since the epoch; 0: never.
        trend: by how much it is better than the time before; None: there is no such time.
    """

    score: float | None
    timestamp: int
    trend: float | None


class ScorecardStandards(Ask, frozen=True, kw_only=True):
    """What an owner's assets are held against.

    Attributes:
        threshold: a newest score below it is a failure; left out: what the guardrails demand, or
            100 where they demand nothing.
        overdue_days: a failure that lasts for longer is overdue.
        only_overdue: shows nothing else; what is counted stays the same.
        limit: so many of the worst assets are shown.
    """

    threshold: Score | None = None
    overdue_days: Annotated[int, Meta(ge=0, le=3650)] = 7
    only_overdue: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class AssetScore(msgspec.Struct, frozen=True):
    """How one asset does.

    Attributes:
        score, timestamp: of its newest point; None and 0: nobody has measured it.
        below_since: of a failure: since when, as far as the last 1,000 points tell; 0: it is none.
    """

    asset_id: str
    name: str
    score: float | None
    timestamp: int
    below_since: int
    is_overdue: bool


class OwnerScorecard(msgspec.Struct, frozen=True):
    """How the assets of a project do, the worst first; those that nobody has measured last.

    Attributes:
        threshold: what they were held against.
        total, measured, failing, overdue: how many assets there are of each, shown or not.
    """

    threshold: float
    assets: tuple[AssetScore, ...]
    total: int
    measured: int
    failing: int
    overdue: int


@operation("POST", "/assets/{asset_id}/time-series-data-points", Right.CONTRIBUTE)
def post_time_series_data_points(
    call: Call, asset: Asset, ask: NewDataPoint
) -> TimeSeriesDataPoint:
    """Tell what was measured of an asset at a time; told again, it is the same point.

    A newest score that comes below what a subscription asks for warns its people, or suspends it,
    as its terms say; one that is good enough again lets it go on. One that comes below what the
    guardrails demand, or is lower by 10 or more than the one before, is told to the asset's owners
    and to subscribers that name no score of their own.
    """
    _check(call, ask)
    keys = {"asset_id": asset.id, "form_name": ask.form_name, "timestamp": ask.timestamp}
    told = {"score": ask.score, "content": ask.content}
    if before := call.find(TimeSeriesDataPoint, **keys):
        if {"score": before.score, "content": before.content} != told:
            raise Conflict(
                f"another '{ask.form_name}' of {ask.timestamp} was told before; points stay as "
                "they are, so tell of another time"
            )
        return before
    last = newest(call, asset.id)
    is_newest = ask.form_name == QUALITY and (last is None or last.timestamp < ask.timestamp)
    held = list(_held_to_a_score(call, asset)) if is_newest else []
    scores = [_score(call, one.columns) for one in held]
    id_ = new_id(in_order(TimeSeriesDataPoint.KIND, ask.timestamp))
    owner = asset.owning_project_id
    made = call.add(TimeSeriesDataPoint, id_=id_, owning_project_id=owner, **keys, **told)
    call.tell(form_name=ask.form_name, timestamp=ask.timestamp, score=ask.score)
    if is_newest:
        _note_drop(call, asset, last, made)
    for one, score in zip(held, scores, strict=True):
        _judged(call, one, score)
    return made


@operation("GET", "/assets/{asset_id}/time-series-data-points", Right.VIEW)
def list_time_series_data_points(
    call: Call, asset: Asset, ask: DataPoints
) -> Iterator[TimeSeriesDataPoint]:
    """List what was measured of an asset, the first first."""
    return _between(call, ask.started_at, ask.ended_at, asset_id=asset.id, form_name=ask.form_name)


@operation("GET", "/listings/{listing_id}/scores", Right.DISCOVER)
def list_listing_scores(call: Call, listing: Listing, ask: ListingScores) -> Iterator[ListedScore]:
    """List the quality scores of what is listed, of each of its assets, the first first."""
    keys = {"asset_id": measured(listing), "form_name": QUALITY}
    for one in _between(call, ask.started_at, ask.ended_at, **keys):
        yield ListedScore(one.id, one.asset_id, one.timestamp, one.score or 0.0)


@operation("GET", "/listings/{listing_id}/quality", Right.DISCOVER)
def get_listing_quality(call: Call, listing: Listing) -> ListingQuality:
    """Show how good listed data are."""
    ids = measured(listing)
    point = worst(newest_points(call.reader, ids), ids)
    if point is None:
        return ListingQuality(None, 0, None)
    _, *earlier = islice(_newest_first(call, point.asset_id), 2)
    trend = (point.score or 0.0) - (earlier[0].score or 0.0) if earlier else None
    return ListingQuality(point.score, point.timestamp, trend)


@operation("GET", "/projects/{project_id}/scorecard", Right.VIEW)
def get_owner_scorecard(call: Call, project: Project, ask: ScorecardStandards) -> OwnerScorecard:
    """Show how good the data of a project are, and which failures nobody has mended in time."""
    threshold = ask.threshold
    if threshold is None:
        threshold = guardrails_of(call, project.id).min_score or MAX_SCORE
    overdue_before = call.now - ask.overdue_days * _DAY_US
    assets = call.each(Asset, owning_project_id=project.id)
    found = [
        _asset_score(call, one, threshold, overdue_before) for one in assets if not one.is_archived
    ]
    found.sort(key=lambda one: (one.score is None, one.score or 0.0, one.below_since, one.name))
    shown = (one for one in found if one.is_overdue or not ask.only_overdue)
    return OwnerScorecard(
        threshold=threshold,
        assets=tuple(islice(shown, ask.limit)),
        total=len(found),
        measured=sum(one.score is not None for one in found),
        failing=sum(one.below_since > 0 for one in found),
        overdue=sum(one.is_overdue for one in found),
    )


def newest(call: Call, asset_id: str) -> TimeSeriesDataPoint | None:
    """Return the newest point of an asset's quality; None: nobody has measured it."""
    return next(_newest_first(call, asset_id), None)


def require_score(call: Call, listing: Listing) -> None:
    """See that data are good enough for anybody to get access; unknown quality is.

    Raises:
        Conflict: their newest score is below what the guardrails of their domain unit demand.
    """
    least = guardrails_of(call, listing.owning_project_id).min_score
    score = _score(call, measured(listing))
    if score is not None and score < least:
        raise Conflict(
            f"the newest quality score of '{listing.name}' is {score:g}; no access is given to "
            f"data below {least:g} there, so ask again when it is better",
            score=score,
            min_score=least,
        )


def held_to_terms(call: Call, subscription: Subscription) -> Subscription:
    """Hold a subscription that was just given against its data as they are now."""
    return _judged(call, subscription, None)


def _check(call: Call, ask: NewDataPoint) -> None:
    if (ask.form_name == QUALITY) != (ask.score is not None):
        raise InvalidInput(f"a point of '{QUALITY}' has a score, and no other has")
    if ask.timestamp > call.now + _AHEAD_US:
        raise InvalidInput("the timestamp lies in the future; it is in microseconds since 1970")
    if ask.timestamp < call.now - _OLDEST_US:
        raise InvalidInput("the timestamp is over ten years old, or not in microseconds since 1970")
    if not _is_flat(ask.content, MAX_CONTENT_DEPTH):
        raise InvalidInput(f"the content is nested more than {MAX_CONTENT_DEPTH} deep; flatten it")
    size = len(msgspec.json.encode(ask.content))
    if size > MAX_CONTENT_BYTES:
        raise InvalidInput(
            f"the content takes {sized(size)}; {sized(MAX_CONTENT_BYTES)} are the most, so link to "
            "what is larger"
        )


def _is_flat(value: object, depth: int) -> bool:
    """Tell whether lists and objects are nested at most so deep; deeper ones are not read back."""
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list | tuple):
        return True
    return depth > 0 and all(_is_flat(one, depth - 1) for one in parts)


def _between(
    call: Call, started_at: int, ended_at: int, **keys: Any
) -> Iterator[TimeSeriesDataPoint]:
    after = max(call.after, in_order(TimeSeriesDataPoint.KIND, started_at))
    for one in call.each(TimeSeriesDataPoint, after=after, **keys):
        if ended_at and one.timestamp > ended_at:
            return
        yield one


def _newest_first(call: Call, asset_id: str) -> Iterator[TimeSeriesDataPoint]:
    return call.newest(TimeSeriesDataPoint, "timestamp", asset_id=asset_id, form_name=QUALITY)


def _score(call: Call, asset_ids: Collection[str]) -> float | None:
    point = worst(newest_points(call.reader, asset_ids), asset_ids)
    return point.score if point else None


def _note_drop(
    call: Call, asset: Asset, last: TimeSeriesDataPoint | None, made: TimeSeriesDataPoint
) -> None:
    """Say that a newest score has become too low, or is much lower than the one before."""
    score = made.score or 0.0
    before = (last.score or 0.0) if last else MAX_SCORE
    least = guardrails_of(call, asset.owning_project_id).min_score
    if score < least <= before:
        why = f"the newest quality score is {score:g}; the guardrails demand {least:g}"
    elif last and before - score >= NOTABLE_DROP:
        why = f"the newest quality score is {score:g}; the one before was {before:g}"
    else:
        return
    call.note("QualityDropped", asset, asset_id=asset.id, score=score, why=why)


def _held_to_a_score(call: Call, asset: Asset) -> Iterator[Subscription]:
    for one in call.each(Subscription, columns=asset.id, status=LIVE):
        if one.terms.min_score > 0 or one.status is SubscriptionStatus.SUSPENDED:
            yield one


def _judged(call: Call, subscription: Subscription, before: float | None) -> Subscription:
    """Warn, suspend or let go on, where that has changed since the score was `before`."""
    least, score = subscription.terms.min_score, _score(call, subscription.columns)
    is_low = score is not None and score < least
    was_low = before is not None and before < least
    is_suspended = subscription.status is SubscriptionStatus.SUSPENDED
    shall_be = is_low and subscription.terms.on_low_score is OnLowScore.SUSPEND
    why = f"the newest quality score is {score:g}; {least:g} were asked for" if is_low else ""
    if is_low and not was_low:
        call.note("QualityBelowThreshold", subscription, score=score, min_score=least, why=why)
    if shall_be and not is_suspended:
        return suspended(call, subscription, why)
    if is_suspended and not shall_be:
        return resumed(call, subscription)
    return subscription


def _asset_score(call: Call, asset: Asset, threshold: float, overdue_before: int) -> AssetScore:
    found: TimeSeriesDataPoint | None = None
    below_since = 0
    for one in islice(_newest_first(call, asset.id), _POINTS_LOOKED_AT):
        found = found or one
        if (one.score or 0.0) >= threshold:
            break
        below_since = one.timestamp
    return AssetScore(
        asset_id=asset.id,
        name=asset.name,
        score=found.score if found else None,
        timestamp=found.timestamp if found else 0,
        below_since=below_since,
        is_overdue=0 < below_since < overdue_before,
    )
