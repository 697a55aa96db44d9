"""A quote: storage, building, one run of a search, a month, bucket sizes, and the arithmetic."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from atoll.vectors.model import Dtype, IndexKind
from atoll.vectors.pricing.bill import Line, cost, price, total
from atoll.vectors.pricing.downloads import (
    Download,
    break_even,
    download,
)
from atoll.vectors.pricing.planner import Choice, Limits, choose_size
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import SearchCost, StepCost, search_cost
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
