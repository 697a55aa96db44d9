"""What one search of a collection would cost, by each way that it can be carried out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import msgspec

from atoll.core.errors import InvalidInput
from atoll.core.functions import FunctionMemory
from atoll.vectors.distributed.grouping import is_filtered_first
from atoll.vectors.model import Calibration, IndexSpec, Manifest
from atoll.vectors.options import LOCAL, SearchOptions
from atoll.vectors.pricing.bill import Bill, cost, dollars, price
from atoll.vectors.pricing.downloads import break_even, download
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import Runtime, SearchCost, cold_search, search_cost
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings, shape_of
from atoll.vectors.search import DEFAULT_NPROBES


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
    """All ways whose cost is known, the cheapest first.

    Attributes:
        offers: that of this machine among them; none where nothing is known of the collection.
        downloads_from: from how many queries in one run copying the buckets to an instance is
            cheaper than Lambda; None where it never is.
        notes: what is left out, and why; for people.
    """

    offers: tuple[Offer, ...]
    downloads_from: int | None = None
    notes: tuple[str, ...] = ()

    def of(self, via: str) -> Offer:
        """Return that of one way.

        Raises:
            InvalidInput: the search cannot go that way, or nobody knows what it would cost.
        """
        for offer in self.offers:
            if offer.via == via:
                return offer
        why = "".join(f"; {note}" for note in self.notes)
        if not self.offers:
            raise InvalidInput(
                f"nobody can tell what this search costs via {via}{why}. Leave --budget out, or "
                "search --via local, which stops where a budget is spent"
            )
        known = ", ".join(offer.via for offer in self.offers)
        raise InvalidInput(f"this search cannot go via {via}; it can go via {known}{why}")

    def text(self) -> str:
        """Compare them in one line."""
        told = [f"{offer.via} {dollars(offer.usd)} ({offer.why})" for offer in self.offers]
        if self.downloads_from is not None:
            told.append(
                f"copying the buckets is cheaper than Lambda from {self.downloads_from:,} queries "
                "in a run"
            )
        return "; ".join((*told, *self.notes))


def make_offers(
    manifest: Manifest,
    options: SearchOptions,
    queries: int,
    prices: Prices,
    *,
    clouds: Collection[str],
    is_leaving: bool,
    memory: FunctionMemory = FunctionMemory(),
    calibration: Calibration | None = None,
) -> Offers:
    """Quote a search with nothing cached, by each way.

    Args:
        manifest: the version to search.
        options: of the search, with settings that hold the recall asked for.
        queries: how many.
        prices: of everything.
        clouds: what is deployed, of `options.CLOUDS`.
        is_leaving: whether what this machine reads leaves the store's region.
        memory: of the functions that are deployed.
        calibration: of the collection; None where there is none.
    """
    if not manifest.rows or any(bucket.is_adopted for bucket in manifest.buckets):
        what = "adopted tables" if manifest.rows else "no rows"
        return Offers((), notes=(f"the collection has {what}, whose cost is not known",))
    shape = shape_of(manifest, len(msgspec.json.encode(manifest)), calibration)
    if options.exact:
        shape = replace(shape, index=IndexSpec("flat"), model_bytes=None, reads=())
    settings = SearchSettings(
        k=options.k,
        nprobes=options.nprobes or _widened(shape, options.k),
        refine_factor=options.refine_factor,
        queries=queries,
        widens=options.nprobes is None,
        is_filtered=is_filtered_first(options, manifest.spec),
    )
    here = cold_search(shape, settings)
    if is_leaving:
        here = replace(here, bytes_leaving=here.bytes_in)
    offers, notes = [_offer(LOCAL, here, prices)], []
    if options.where is not None:
        notes.append("what `where` reads of its columns, in every bucket, is not included")
    if options.group_by is not None:
        notes.append("group_by looks further than one bucket can, so that only this machine can")
        return Offers(tuple(offers), notes=tuple(notes))
    run = search_cost(shape, settings, Runtime(memory=memory, is_deployed=True))
    if run.obstacles:
        notes += [f"no function can: {why}" for why in run.obstacles]
    else:
        offers += _on_functions(run, clouds, prices)
    if "batch" in clouds:
        offers.append(_offer("batch", download(shape, settings).bill(queries), prices))
    ordered = tuple(sorted(offers, key=lambda offer: offer.usd))
    return Offers(ordered, break_even(shape, settings, prices), tuple(notes))


def _widened(shape: CollectionShape, k: int) -> int:
    """Expect how many partitions are probed until k rows are in them, as `search.plan` widens."""
    nprobes, partitions = DEFAULT_NPROBES, shape.index.num_partitions
    while nprobes < partitions and shape.buckets * shape.probed(1, nprobes)[1] < k:
        nprobes *= 2
    return nprobes


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
