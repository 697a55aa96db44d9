"""Which bucket size meets a latency, a budget and a concurrency: a table, a choice, the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.core.text import counted, sized
from atoll.vectors.buckets import BUCKET_ROWS
from atoll.vectors.forecast import POST
from atoll.vectors.model import Dtype, IndexKind
from atoll.vectors.pricing.bill import cost, dollars
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import SearchCost, search_cost
from atoll.vectors.pricing.shape import SearchSettings, planned_shape
from atoll.vectors.pricing.storedcost import building, stored

# What the disks of the instance that builds hold: two of 3.75 TB (recalled).
DISK_BYTES = 7.5e12
# The post's is one of them.
SIZES = (50_000_000, 100_000_000, BUCKET_ROWS, 500_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Limits:
    """What a search must keep to; None where there is no limit.

    Attributes:
        latency_s: from the start of a run to its end, nothing warm.
        query_usd: for a query.
        month_usd: for all queries of a month.
        queries_per_month: how many.
    """

    latency_s: float | None = None
    query_usd: float | None = None
    month_usd: float | None = None
    queries_per_month: float = 0

    def __post_init__(self) -> None:
        """Refuse what is no limit.

        Raises:
            InvalidInput: a number that is not above 0, or queries below 0.
        """
        for name, value in (("latency", self.latency_s), ("query-budget", self.query_usd),
                            ("monthly-budget", self.month_usd)):  # fmt: skip
            if value is not None and not 0 < value < float("inf"):
                raise InvalidInput(f"--{name} {value} is no limit; give a number above 0")
        if not 0 <= self.queries_per_month < float("inf"):
            raise InvalidInput(
                f"--queries-per-month {self.queries_per_month} is no number of queries; give 0 or "
                "more"
            )


@dataclass(frozen=True)
class Size:
    """One size of bucket.

    Attributes:
        bucket_rows: rows a bucket holds at most.
        cost: of a run.
        run_usd, query_usd: of a run; of one of its queries.
        index_hours: of a bucket, on an instance, at the post's rate.
        misses: limits it does not keep, in words; empty where it keeps all.
    """

    bucket_rows: int
    cost: SearchCost
    run_usd: float
    query_usd: float
    index_hours: float
    misses: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """The sizes looked at, and which to take.

    Attributes:
        sizes: ascending.
        chosen: the cheapest that keeps all limits; None where none does.
        why: in words: which limit decides, or what would have to give.
    """

    sizes: tuple[Size, ...]
    chosen: Size | None
    why: str


def choose_size(
    rows: int,
    dim: int,
    dtype: Dtype,
    index: IndexKind,
    settings: SearchSettings,
    limits: Limits,
    prices: Prices,
    own: Sequence[int] = (),
) -> Choice:
    """Choose a bucket size.

    Args:
        rows, dim, dtype, index: of the collection.
        settings: how it is searched; its concurrency is that of Lambda.
        limits: to be kept.
        prices: of everything.
        own: further sizes to look at.
    """
    wanted = sorted({*SIZES, *own})
    # Where all rows fit into one bucket, larger ones are the same.
    whole = next((size for size in wanted if size >= rows), wanted[-1])
    sizes = tuple(
        _size(size, rows, dim, dtype, index, settings, limits, prices)
        for size in wanted
        if size <= whole or size in own
    )
    fitting = [size for size in sizes if not size.misses]
    if not fitting:
        return Choice(sizes, None, _why_none(sizes, limits))
    # Of equally cheap ones the smaller: it is indexed sooner.
    chosen = min(fitting, key=lambda size: (size.query_usd, size.bucket_rows))
    return Choice(sizes, chosen, _why(sizes, chosen))


def _size(
    bucket_rows: int,
    rows: int,
    dim: int,
    dtype: Dtype,
    index: IndexKind,
    settings: SearchSettings,
    limits: Limits,
    prices: Prices,
) -> Size:
    shape = planned_shape(rows, dim, dtype, index=index, bucket_rows=bucket_rows)
    found = search_cost(shape, settings)
    run = cost(found.bill, prices)
    return Size(
        bucket_rows,
        found,
        run,
        run / settings.queries,
        building(shape, None).bucket_hours,
        tuple(_misses(found, run / settings.queries, limits)),
    )


def _misses(found: SearchCost, query_usd: float, limits: Limits) -> list[str]:
    misses = list(found.obstacles)
    if (size := stored(found.shape).bytes / found.shape.buckets) > DISK_BYTES:
        misses.append(f"{sized(size)} do not fit the disks of {POST.name}, {sized(DISK_BYTES)}")
    if limits.latency_s is not None and found.latency_s > limits.latency_s:
        waves = f" in {found.waves} waves" if found.waves > 1 else ""
        misses.append(f"{found.latency_s:.1f} s{waves} over the latency of {limits.latency_s:g} s")
    if limits.query_usd is not None and query_usd > limits.query_usd:
        misses.append(
            f"{dollars(query_usd)} a query over the budget of {dollars(limits.query_usd)}"
        )
    month = query_usd * limits.queries_per_month
    if limits.month_usd is not None and month > limits.month_usd:
        misses.append(f"{dollars(month)} a month over the budget of {dollars(limits.month_usd)}")
    return misses


def _why(sizes: Sequence[Size], chosen: Size) -> str:
    n = chosen.cost.shape.buckets
    text = (
        f"{chosen.bucket_rows:,} rows: the cheapest that keeps every limit, "
        f"{dollars(chosen.query_usd)} a query, {chosen.cost.latency_s:.1f} s, "
        f"{counted(n, 'bucket')}"
    )
    cheaper = [size for size in sizes if size.query_usd < chosen.query_usd]
    if cheaper:
        binding = min(cheaper, key=lambda size: size.bucket_rows)
        return (
            f"{text}; {binding.bucket_rows:,} rows would be cheaper, but: "
            f"{'; '.join(binding.misses)}"
        )
    return f"{text}; no limit binds: the larger the buckets the cheaper the query"


def _why_none(sizes: Sequence[Size], limits: Limits) -> str:
    possible = [size for size in sizes if not size.cost.obstacles]
    if not possible:
        first = sizes[0]
        return f"no size can be searched on Lambda: {'; '.join(first.misses)}; give an index"
    cheapest = min(possible, key=lambda size: size.query_usd)
    quickest = min(possible, key=lambda size: size.cost.latency_s)
    needs = []
    if limits.latency_s is not None:
        needs.append(
            f"the quickest takes {quickest.cost.latency_s:.1f} s "
            f"({quickest.bucket_rows:,} rows, {dollars(quickest.query_usd)} a query)"
        )
    if limits.query_usd is not None or limits.month_usd is not None:
        month = cheapest.query_usd * limits.queries_per_month
        needs.append(
            f"the cheapest costs {dollars(cheapest.query_usd)} a query"
            f"{f', {dollars(month)} a month' if limits.month_usd is not None else ''} "
            f"({cheapest.bucket_rows:,} rows, {cheapest.cost.latency_s:.1f} s)"
        )
    return (
        f"no size keeps every limit: {'; '.join(needs)}. Give more time or money, a higher "
        "concurrency, fewer nprobes, or more queries in a run"
    )
