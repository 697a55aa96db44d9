"""From how many queries a run is cheaper on an instance that downloads the buckets.

`atoll batch-search` copies each bucket to the disks of an instance once and answers all queries
there; on Lambda every run reads what it needs, and little else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from atoll.vectors.distributed.copies import PIECE_BYTES
from atoll.vectors.forecast import POST_CORES, POST_VCPU_SPEED
from atoll.vectors.pricing.bill import Bill, cost
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import search_cost
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings
from atoll.vectors.pricing.steps import step_in_one_process
from atoll.vectors.pricing.storedcost import stored

# i4i.8xlarge: 18.75 Gbit/s of network, of which ranged reads side by side fill some four fifths;
# from its disks some 400,000 rows a second at random. Both are recalled, not measured.
DOWNLOAD_BYTES_S = 0.8 * 18.75e9 / 8
DISK_READS_S = 400_000
# Until an instance has started and its container runs.
START_S = 120
# Beyond so many queries nobody asks.
MOST_QUERIES = 10**9


@dataclass(frozen=True)
class Download:
    """A run of many queries on instances, one bucket after the other.

    Attributes:
        once: what copying all buckets takes, whatever the queries.
        a_query: what one query adds.
    """

    once: Bill
    a_query: Bill

    def bill(self, queries: int) -> Bill:
        """What a run comes to."""
        return self.once + self.a_query.times(queries)


def download(shape: CollectionShape, settings: SearchSettings) -> Download:
    """Count a run of `atoll batch-search`; with more instances each has its share."""
    size = stored(shape).bytes
    once = Bill(
        gets=size / PIECE_BYTES,
        bytes_in=size,
        instance_s=START_S + size / DOWNLOAD_BYTES_S,
    )
    # The model is read once, for all of them.
    one, two = (step_in_one_process(shape, replace(settings, queries=n)).cpu_s for n in (1, 2))
    cpu = two - one
    # Each bucket refines its own candidates, from its disk.
    reads = shape.buckets * min(shape.bucket_rows, settings.k * settings.refine_factor)
    busy = cpu / (POST_CORES * POST_VCPU_SPEED) + reads / DISK_READS_S
    return Download(once, Bill(cpu_s=cpu, instance_s=busy))


def break_even(shape: CollectionShape, settings: SearchSettings, prices: Prices) -> int | None:
    """Find from how many queries in one run downloading is cheaper than Lambda.

    Returns:
        The number: 1 where no run on Lambda is possible; None where it never is.
    """
    if search_cost(shape, replace(settings, queries=1)).obstacles:
        return 1
    each, at_once = download(shape, settings), queries_at_once(shape, settings)

    def is_cheaper(queries: int) -> bool:
        there = cost(each.bill(queries), prices)
        return there < lambda_cost(shape, settings, queries, at_once, prices)

    most = 1
    while not is_cheaper(most):
        most *= 2
        if most > MOST_QUERIES:
            return None
    least = most // 2
    while least + 1 < most:
        middle = (least + most) // 2
        least, most = (least, middle) if is_cheaper(middle) else (middle, most)
    return most


def lambda_cost(
    shape: CollectionShape, settings: SearchSettings, queries: int, at_once: int, prices: Prices
) -> float:
    """Price so many queries on Lambda, in runs of as many as functions answer at once."""
    runs = -(-queries // at_once)
    each = search_cost(shape, replace(settings, queries=-(-queries // runs)))
    return runs * cost(each.bill, prices)


def queries_at_once(shape: CollectionShape, settings: SearchSettings) -> int:
    """Tell how many queries one run on Lambda can answer, in powers of 2; at least 1."""
    count = 1
    while count < MOST_QUERIES:
        if search_cost(shape, replace(settings, queries=2 * count)).obstacles:
            break
        count *= 2
    return count
