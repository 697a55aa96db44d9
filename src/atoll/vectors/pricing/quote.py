"""A quote: storage, building, one run of a search, a month, bucket sizes, and the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from atoll.core.text import counted, duration, sized
from atoll.vectors.forecast import HINT, POST, POST_ROWS_PER_S
from atoll.vectors.model import Dtype, IndexKind
from atoll.vectors.pricing.bill import Bill, Line, cost, dollars, plain, price, total
from atoll.vectors.pricing.downloads import (
    Download,
    break_even,
    download,
    lambda_cost,
    queries_at_once,
)
from atoll.vectors.pricing.planner import Choice, Limits, choose_size
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import Runtime, SearchCost, StepCost, search_cost
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings, planned_shape
from atoll.vectors.pricing.storedcost import Building, Stored, building, stored
from atoll.vectors.rates import Rates


@dataclass(frozen=True)
class Wanted:
    """What a quote is asked for.

    Attributes:
        rows, dim, dtype, index: of the collection.
        bucket_rows: rows a bucket holds at most; None takes the size that is chosen.
        settings: of a search.
        limits: to be kept.
        settings_why: where nprobes and refine factor are from.
    """

    rows: int
    dim: int
    dtype: Dtype
    index: IndexKind
    bucket_rows: int | None
    settings: SearchSettings
    limits: Limits
    settings_why: str = "as given"


@dataclass(frozen=True)
class Quote:
    """What a collection will cost.

    Attributes:
        wanted: what was asked.
        prices: at which.
        shape: of the collection quoted.
        stored, building: at rest; until it is there.
        run: of a search.
        choice: of bucket sizes.
        download: the same queries on an instance.
        cheaper_from: queries in one run from which that is cheaper; None where it never is.
        rates: what `building` rests on; None where nothing was measured.
    """

    wanted: Wanted
    prices: Prices
    shape: CollectionShape
    stored: Stored
    building: Building
    run: SearchCost
    choice: Choice
    download: Download
    cheaper_from: int | None
    rates: Rates | None

    @property
    def run_lines(self) -> dict[str, Line]:
        """A run, priced."""
        return price(self.run.bill, self.prices)

    @property
    def query_usd(self) -> float:
        """What a query comes to."""
        return total(self.run_lines) / self.run.settings.queries

    @property
    def month_usd(self) -> float:
        """A month: storage and queries."""
        queries = self.query_usd * self.wanted.limits.queries_per_month
        return self.stored.month(self.prices).usd + queries

    def facts(self) -> dict[str, Any]:
        """Return all figures, JSON-ready: bytes, seconds, US dollars."""
        here = self.building.here
        return {
            "prices": asdict(self.prices),
            "rows": self.shape.rows,
            "dim": self.shape.dim,
            "dtype": self.shape.dtype,
            "index": asdict(self.shape.index),
            "bucket_rows": self.shape.bucket_rows,
            "buckets": self.shape.buckets,
            "storage": {
                "bytes": self.stored.bytes,
                "row_bytes": self.stored.parts,
                "month_usd": self.stored.month(self.prices).usd,
            },
            "build": {
                "post_hours": self.building.post_hours,
                "post_usd": self.building.line(self.prices).usd,
                "bucket_hours": self.building.bucket_hours,
                "measured_hours": here and here.total_s.mid / 3600,
                "measured_at": self.rates and self.rates.measured_at,
            },
            "search": {
                "settings": asdict(self.run.settings),
                "settings_why": self.wanted.settings_why,
                "steps": [_step_facts(each) for each in self.run.steps],
                "counted": asdict(self.run.bill),
                "lines": {name: asdict(line) | {"usd": line.usd}
                          for name, line in self.run_lines.items()},
                "run_usd": total(self.run_lines),
                "query_usd": self.query_usd,
                "latency_s": self.run.latency_s,
                "obstacles": list(self.run.obstacles),
            },
            "month": {
                "queries": self.wanted.limits.queries_per_month,
                "usd": self.month_usd,
            },
            "sizes": [
                {
                    "bucket_rows": size.bucket_rows,
                    "buckets": size.cost.shape.buckets,
                    "query_usd": size.query_usd,
                    "latency_s": size.cost.latency_s,
                    "index_hours": size.index_hours,
                    "misses": list(size.misses),
                }
                for size in self.choice.sizes
            ],
            "chosen": self.choice.chosen and self.choice.chosen.bucket_rows,
            "why": self.choice.why,
            "download": {
                "once_usd": cost(self.download.once, self.prices),
                "query_usd": cost(self.download.a_query, self.prices),
                "cheaper_from_queries": self.cheaper_from,
            },
        }  # fmt: skip

    def text(self) -> Iterator[str]:
        """Write the quote, line by line: each amount with its arithmetic."""
        yield from self._head()
        yield from self._search_text()
        yield from self._sizes_text()
        yield from self._download_text()
        yield from self._notes()

    def _head(self) -> Iterator[str]:
        shape, prices = self.shape, self.prices
        index: str = shape.index.kind
        if shape.index.num_partitions:
            index += f", {shape.index.num_partitions:,} partitions each"
        yield (
            f"{counted(shape.rows, 'row')} of {shape.dim} x {shape.dtype} in "
            f"{counted(shape.buckets, 'bucket')} of {plain(round(shape.bucket_rows))}; "
            f"index {index}"
        )
        yield f"prices of {prices.date}, {prices.region}, from {prices.origin}"
        yield ""
        yield f"storage   {self.stored}"
        yield f"          {self.stored.month(prices)} a month"
        built = self.building
        yield (
            f"build     {shape.rows:,} / {POST_ROWS_PER_S:,} vectors a second (the post's, on one "
            f"{POST.name}) = {built.post_hours:,.0f} h, {built.bucket_hours:.1f} h a bucket"
        )
        yield f"          {built.line(prices)}"
        if prices.spot_hour is not None:
            spot = Line("", built.post_hours, "h of spot", prices.spot_hour)
            yield f"          {spot}"
        if built.here is not None and (line := built.measured_line(prices)) is not None:
            yield (
                f"          {duration(built.here.total_s.mid)} on it at the rates measured here "
                f"({duration(built.here.total_s.low)} to {duration(built.here.total_s.high)}): "
                f"{line}"
            )

    def _search_text(self) -> Iterator[str]:
        settings, run = self.run.settings, self.run
        yield ""
        yield (
            f"search    {counted(settings.queries, 'query', 'queries')} a run, k {settings.k}, "
            f"nprobes {settings.nprobes}, refine factor {settings.refine_factor} "
            f"({self.wanted.settings_why})"
        )
        for each in run.steps:
            yield f"  {each.step.name:<7} {_step_text(each)}"
        yield (f"  requests {_sum_text(run.steps, 'gets', 'GET', self.prices.get)}")
        for line in self.run_lines.values():
            if line.usd:
                yield f"  {line.what:<15} {line}"
        yield (
            f"  a run {dollars(total(self.run_lines))}, a query {dollars(self.query_usd)}, "
            f"{run.latency_s:.1f} s with nothing warm, {self._warm_s():.1f} s with functions warm"
        )
        for obstacle in run.obstacles:
            yield f"  IMPOSSIBLE: {obstacle}"
        if queries := self.wanted.limits.queries_per_month:
            yield (
                f"month     storage {dollars(self.stored.month(self.prices).usd)} + "
                f"{plain(queries)} queries x {dollars(self.query_usd)} = {dollars(self.month_usd)}"
            )

    def _warm_s(self) -> float:
        return search_cost(self.shape, self.run.settings, Runtime(start_s=0)).latency_s

    def _sizes_text(self) -> Iterator[str]:
        yield ""
        yield (
            f"{'bucket rows':>13} {'buckets':>7} {'waves':>5} {'a query':>10} {'answer':>8} "
            f"{'to index one':>13}  limits"
        )
        for size in self.choice.sizes:
            mark = "*" if size == self.choice.chosen else " "
            fits = "; ".join(size.misses) or "kept"
            yield (
                f"{mark}{size.bucket_rows:>12,} {size.cost.shape.buckets:>7,} "
                f"{size.cost.waves:>5} {dollars(size.query_usd):>10} "
                f"{size.cost.latency_s:>6.1f} s {size.index_hours:>11.1f} h  {fits}"
            )
        yield f"{'chosen' if self.choice.chosen else 'NONE'}: {self.choice.why}"

    def _download_text(self) -> Iterator[str]:
        once, query = self.download.once, self.download.a_query
        yield ""
        yield (
            f"download  all buckets to an instance, once: "
            f"{_amounts(once, self.prices)} = {dollars(cost(once, self.prices))}; "
            f"then {dollars(cost(query, self.prices))} a query"
        )
        if self.cheaper_from is None:
            yield "          Lambda is cheaper however many queries there are"
            return
        count = self.cheaper_from
        there = cost(self.download.bill(count), self.prices)
        if self.run.obstacles:
            yield "          it is the only way: Lambda cannot"
            return
        runs = -(-count // queries_at_once(self.shape, self.run.settings))
        here = lambda_cost(self.shape, self.run.settings, count, self.prices)
        yield (
            f"          cheaper than Lambda from {counted(count, 'query', 'queries')} together: "
            f"{dollars(there)} against {dollars(here)} in {counted(runs, 'run')}"
        )

    def _notes(self) -> Iterator[str]:
        yield ""
        if self.rates is None and self.shape.index.kind != "ivf_pq":
            yield f"the build is at the post's rate; {_HINT}"
        yield (
            f"latency, throughput and start-up of Lambda are supposed, not measured: "
            f"{_supposed(Runtime())}"
        )
        yield (
            "requests and bytes are for unrelated queries with nothing cached; `atoll search` "
            "counts its own"
        )


_HINT = HINT.replace("plan says how long it takes", "this says what ours takes")


def make_quote(wanted: Wanted, prices: Prices, rates: Rates | None = None) -> Quote:
    """Quote a collection and its searches.

    Args:
        wanted: what is asked.
        prices: at which.
        rates: measured on this machine; None where nothing was.

    Raises:
        InvalidInput: a number is out of range, or the index does not go with the vectors.
    """
    given = wanted.bucket_rows
    choice = choose_size(
        wanted.rows,
        wanted.dim,
        wanted.dtype,
        wanted.index,
        wanted.settings,
        wanted.limits,
        prices,
        own=() if given is None else (given,),
    )
    best = choice.chosen or min(choice.sizes, key=lambda size: size.query_usd)
    shape = planned_shape(
        wanted.rows,
        wanted.dim,
        wanted.dtype,
        index=wanted.index,
        bucket_rows=best.bucket_rows if given is None else given,
    )
    return Quote(
        wanted=wanted,
        prices=prices,
        shape=shape,
        stored=stored(shape),
        building=building(shape, rates),
        run=search_cost(shape, wanted.settings),
        choice=choice,
        download=download(shape, wanted.settings),
        cheaper_from=break_even(shape, wanted.settings, prices),
        rates=rates,
    )


def _step_facts(each: StepCost) -> dict[str, Any]:
    return {
        "name": each.step.name,
        "count": each.step.count,
        "gets": each.step.gets,
        "puts": each.step.puts,
        "bytes_in": each.step.bytes_in,
        "bytes_out": each.step.bytes_out,
        "cpu_s": each.step.cpu_s,
        "memory_mib": each.memory_mib,
        "seconds": each.seconds,
        "accesses": [asdict(access) for access in each.step.accesses],
    }


def _step_text(each: StepCost) -> str:
    step = each.step
    reads = ", ".join(
        f"{access.what} {plain(access.gets)} ({sized(access.bytes_in)})"
        for access in step.accesses
        if access.gets
    )
    return (
        f"{step.count:,} x {each.memory_mib:,} MiB x {each.seconds:.2f} s; reads "
        f"{plain(step.gets)}: {reads}"
    )


def _sum_text(steps: tuple[StepCost, ...], kind: str, unit: str, usd: float) -> str:
    parts = " + ".join(
        f"{each.step.count:,} {each.step.name} x {plain(getattr(each.step, kind))}"
        for each in steps
    )
    count = sum(each.step.count * getattr(each.step, kind) for each in steps)
    return f"{parts} = {Line('', count, unit, usd)}"


def _amounts(bill: Bill, prices: Prices) -> str:
    return " + ".join(str(line) for line in price(bill, prices).values() if line.usd)


def _supposed(runtime: Runtime) -> str:
    return (
        f"{runtime.latency_s * 1000:.0f} ms a request, {runtime.max_bytes_s / 1e6:.0f} MB/s at "
        f"most, {runtime.start_s:g} s to start, a vCPU as {runtime.vcpu_speed:g} of a core here"
    )
