"""What one search of a collection would cost, by each way that it can be carried out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import msgspec

from atoll.core.errors import InvalidInput
from atoll.vectors.model import IndexSpec, Manifest
from atoll.vectors.options import SearchOptions
from atoll.vectors.pricing.bill import Bill, cost, dollars, price
from atoll.vectors.pricing.downloads import break_even, download
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import SearchCost, cold_search, search_cost
from atoll.vectors.pricing.shape import SearchSettings, shape_of
from atoll.vectors.search import DEFAULT_NPROBES

LOCAL = "local"


@dataclass(frozen=True)
class Offer:
    """One way to carry a search out.

    Attributes:
        via: as `atoll search --via` names it.
        bill: what it is expected to take.
        usd: what that costs.
        why: the arithmetic, in words.
    """

    via: str
    bill: Bill
    usd: float
    why: str


@dataclass(frozen=True)
class Offers:
    """All ways, the cheapest first.

    Attributes:
        offers: at least that of this machine.
        downloads_from: from how many queries in one run copying the buckets to an instance is
            cheaper than Lambda; None where it never is.
    """

    offers: tuple[Offer, ...]
    downloads_from: int | None

    def of(self, via: str) -> Offer:
        """Return that of one way.

        Raises:
            InvalidInput: the search cannot go that way.
        """
        for offer in self.offers:
            if offer.via == via:
                return offer
        known = ", ".join(offer.via for offer in self.offers)
        raise InvalidInput(f"this search cannot go via {via}; it can go via {known}")

    def text(self) -> str:
        """Compare them in one line."""
        told = [f"{offer.via} {dollars(offer.usd)} ({offer.why})" for offer in self.offers]
        text = "; ".join(told)
        if self.downloads_from is not None:
            text += f"; copying the buckets is cheaper than Lambda from {self.downloads_from:,} "
            text += "queries in a run"
        return text


def make_offers(
    manifest: Manifest,
    options: SearchOptions,
    queries: int,
    prices: Prices,
    *,
    clouds: Collection[str],
    is_leaving: bool,
) -> Offers:
    """Quote a search with nothing cached, by each way.

    Args:
        manifest: the version to search.
        options: of the search, with settings that hold the recall asked for.
        queries: how many.
        prices: of everything.
        clouds: what is deployed, of `options.CLOUDS`.
        is_leaving: whether what this machine reads leaves the store's region.

    Raises:
        InvalidInput: what the search costs does not follow from the collection's shape.
    """
    shape = shape_of(manifest, len(msgspec.json.encode(manifest)))
    if options.exact:
        shape = replace(shape, index=IndexSpec("flat"), model_bytes=None)
    settings = SearchSettings(
        k=options.k,
        nprobes=options.nprobes or DEFAULT_NPROBES,
        refine_factor=options.refine_factor,
        queries=queries,
        widens=options.nprobes is None,
    )
    here = cold_search(shape, settings)
    if is_leaving:
        here = replace(here, bytes_leaving=here.bytes_in)
    offers = [_offer(LOCAL, here, prices)]
    run = search_cost(shape, settings)
    if not run.obstacles:
        offers += _on_functions(run, clouds, prices)
    if "batch" in clouds:
        offers.append(_offer("batch", download(shape, settings).bill(queries), prices))
    ordered = tuple(sorted(offers, key=lambda offer: offer.usd))
    return Offers(ordered, break_even(shape, settings, prices))


def _on_functions(run: SearchCost, clouds: Collection[str], prices: Prices) -> list[Offer]:
    offers = []
    if "stepfunctions" in clouds:
        offers.append(_offer("stepfunctions", run.bill, prices))
    if "lambda" in clouds:
        offers.append(_offer("lambda", replace(run.bill, transitions=0), prices))
    return offers


def _offer(via: str, bill: Bill, prices: Prices) -> Offer:
    lines = price(bill, prices).values()
    return Offer(via, bill, cost(bill, prices), ", ".join(str(line) for line in lines if line.usd))
