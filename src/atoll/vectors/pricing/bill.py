"""What was counted, priced: the same arithmetic for a quote and for the bill that follows it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from atoll.vectors.pricing.prices import Prices
from atoll.vectors.work import Work

GIB = 1 << 30
# Of the state machine in `deploy/aws/search.asl.json`: its start; Plan, IsFiltered, Search, IsTree,
# Refine; a tree is Fold and IsMeasured. An item of a Map that is distributed is an execution with a
# start of its own.
_ALWAYS, _OF_A_FILTER, _OF_A_TREE, _OF_A_MEASURE = 6, 2, 2, 1
_OF_A_BUCKET, _OF_A_GROUP = 2, 1


@dataclass(frozen=True)
class Bill:
    """Counted work; sums and multiples of it are work, too.

    Attributes:
        gets: requests that read an object, or a range of one, or found none.
        puts: requests that write.
        lists: requests that list.
        bytes_in: read from the object store.
        bytes_out: written to it.
        retries: of all these, those sent again because an earlier one had failed.
        cpu_s: CPU-seconds, of whatever core; no price of their own.
        invocations: of functions.
        gb_s: 2^30 bytes of a function's memory for a second.
        transitions: of the state machine.
        instance_s: seconds of an instance.
        bytes_leaving: that leave the region.
    """

    gets: float = 0
    puts: float = 0
    lists: float = 0
    bytes_in: float = 0
    bytes_out: float = 0
    retries: float = 0
    cpu_s: float = 0.0
    invocations: float = 0
    gb_s: float = 0.0
    transitions: float = 0
    instance_s: float = 0.0
    bytes_leaving: float = 0

    def __add__(self, other: Bill) -> Bill:
        """Add what else was done."""
        return Bill(**{one.name: getattr(self, one.name) + getattr(other, one.name)
                       for one in fields(self)})  # fmt: skip

    def times(self, count: float) -> Bill:
        """Do it so many times; a fraction shares it out.

        >>> Bill(gets=2, gb_s=0.5).times(10) == Bill(gets=20, gb_s=5.0)
        True
        """
        return Bill(**{one.name: getattr(self, one.name) * count for one in fields(self)})

    @property
    def requests(self) -> float:
        """All requests to the object store."""
        return self.gets + self.puts + self.lists


def bill_of(
    works: Iterable[Work],
    transitions: int = 0,
    *,
    is_leaving: bool = False,
    instance_share: float = 0.0,
) -> Bill:
    """Sum up what was measured.

    Args:
        works: of the steps of a run; where `memory_mb` is 0 no function did them.
        transitions: of the state machine, if there was one.
        is_leaving: whether what they read left the store's region.
        instance_share: of an instance that each had to itself while it was done.
    """
    whole = Bill(transitions=transitions)
    for work in works:
        is_function = work.memory_mb > 0
        whole += bill_of_usage(work.usage, is_leaving=is_leaving) + Bill(
            cpu_s=work.cpu_s,
            invocations=work.times if is_function else 0,
            gb_s=work.memory_mb / 1024 * work.seconds,
            instance_s=work.seconds * instance_share,
        )
    return whole


def bill_of_usage(usage: Mapping[str, int], *, is_leaving: bool) -> Bill:
    """Tell what was asked of a store.

    Args:
        usage: as `atoll.storage.Usage` names its counts.
        is_leaving: whether what was read left the store's region.
    """
    return Bill(
        gets=usage["gets"],
        puts=usage["puts"],
        lists=usage["lists"],
        bytes_in=usage["bytes_read"],
        bytes_out=usage["bytes_written"],
        retries=usage["retries"],
        bytes_leaving=usage["bytes_read"] if is_leaving else 0,
    )


def transitions_of(
    buckets: int, groups: int = 0, *, is_filtered: bool = False, is_measured: bool = False
) -> int:
    """Count the state transitions of an execution in which nothing is tried again.

    Args:
        buckets: searched, by a Map that is distributed, as is the default.
        groups: folded, by one that is not.
        is_filtered: whether each bucket is filtered first, and the plan made again.
        is_measured: whether each bucket measures its candidates itself.
    """
    maps = 1 + is_filtered + is_measured
    return (
        _ALWAYS
        + maps * buckets * _OF_A_BUCKET
        + is_filtered * _OF_A_FILTER
        + is_measured * _OF_A_MEASURE
        + (_OF_A_TREE + groups * _OF_A_GROUP if groups else 0)
    )


@dataclass(frozen=True)
class Line:
    """One line of a bill.

    Attributes:
        what: for people.
        quantity, unit: how much of what.
        price: US dollars for one.
    """

    what: str
    quantity: float
    unit: str
    price: float

    @property
    def usd(self) -> float:
        """The amount."""
        return self.quantity * self.price

    def __str__(self) -> str:
        """Show the arithmetic.

        >>> str(Line("S3 reads", 738, "GET", 0.0000004))
        '738 GET x $0.0000004 = $0.000295'
        """
        return (
            f"{plain(self.quantity)} {self.unit} x {unit_price(self.price)} = {dollars(self.usd)}"
        )


def price(bill: Bill, prices: Prices) -> dict[str, Line]:
    """Price a bill.

    Returns:
        Its lines by name, those without a quantity left out. Bytes within the region and
        CPU-seconds cost nothing of their own.
    """
    lines = {
        "gets": Line("S3 reads", bill.gets, "GET", prices.get),
        "puts": Line("S3 writes", bill.puts, "PUT", prices.put),
        "lists": Line("S3 listings", bill.lists, "LIST", prices.list),
        "bytes": Line(
            "bytes inside the region",
            (bill.bytes_in + bill.bytes_out - bill.bytes_leaving) / GIB,
            "GiB",
            prices.inside_region_gib,
        ),
        "leaving": Line(
            "bytes out of the region",
            bill.bytes_leaving / GIB,
            "GiB",
            prices.out_of_region_gib,
        ),
        "invocations": Line("Lambda calls", bill.invocations, "call", prices.invocation),
        "gb_s": Line("Lambda time", bill.gb_s, "GB-s", prices.gb_second),
        "transitions": Line(
            "Step Functions", bill.transitions, "transition", prices.state_transition
        ),
        "instance": Line(prices.instance, bill.instance_s / 3600, "h", prices.instance_hour),
    }
    return {name: line for name, line in lines.items() if line.quantity}


def total(lines: Mapping[str, Line]) -> float:
    """Sum a bill up, in US dollars."""
    return sum(line.usd for line in lines.values())


def cost(bill: Bill, prices: Prices) -> float:
    """Tell what a bill comes to, in US dollars."""
    return total(price(bill, prices))


def plain(number: float) -> str:
    """Write a quantity with the digits that matter.

    >>> plain(738), plain(41.27), plain(0.0417), plain(1234567.8)
    ('738', '41.3', '0.0417', '1,234,568')
    """
    is_whole = number == int(number) or abs(number) >= 100
    return f"{number:,.0f}" if is_whole else f"{number:,.3g}"


def unit_price(amount: float) -> str:
    """Write a price with all its digits.

    >>> unit_price(0.0000166667), unit_price(2.746), unit_price(0.5), unit_price(0)
    ('$0.0000166667', '$2.746', '$0.50', '$0.00')
    """
    whole, _, digits = f"{amount:,.15f}".rstrip("0").partition(".")
    return f"${whole}.{digits:0<2}"


def dollars(amount: float) -> str:
    """Write an amount of US dollars: cents where it is large, three digits where it is small.

    >>> dollars(1234.5), dollars(0.12345), dollars(0.000295), dollars(0)
    ('$1,234.50', '$0.123', '$0.000295', '$0.00')
    """
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.{2 - math.floor(math.log10(amount))}f}"
