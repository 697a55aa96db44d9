"""Holds what a block asks of a distant store to a budget, before it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.storage import count_usage, local_path
from atoll.vectors.pricing.bill import bill_of_usage, cost, dollars
from atoll.vectors.pricing.prices import load_prices


@contextmanager
def spending(budget: float | None, uri: str, settings: Settings) -> Iterator[None]:
    """Let the block ask a distant store only as much as a budget allows.

    Args:
        budget: US dollars; None allows all.
        uri: of the collection; what a disk of this machine is asked costs nothing.
        settings: say which prices hold, and whether what is read leaves the region.

    Raises:
        InvalidInput: what would be asked next costs more; it was not asked. Of an object read whole
            the request was made, since only its answer tells the size, which is not read on. What
            Lance asks by itself is found to be too much when it is asked again.
    """
    if budget is None or local_path(uri) is not None:
        yield
        return
    prices = load_prices(settings.aws.prices)

    def check(usage: dict[str, int]) -> None:
        bill = bill_of_usage(usage, is_leaving=settings.is_leaving_region)
        if (usd := cost(bill, prices)) > budget:
            raise InvalidInput(
                f"the budget of {dollars(budget)} is spent: with what it asks next the search "
                f"would cost {dollars(usd)}; give more, or ask for less",
                usd=usd,
            )

    with count_usage(check):
        yield
