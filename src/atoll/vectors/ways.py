"""The ways a search can be carried out: from here, or by what `atoll deploy aws` has set up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import AtollError, Incomplete, InvalidInput
from atoll.core.functions import JOB_VCPUS, FunctionMemory
from atoll.core.progress import OnProgress
from atoll.vectors.collection import Collection
from atoll.vectors.distributed import clouds
from atoll.vectors.distributed.deployment import Deployment, find_deployment
from atoll.vectors.distributed.grouping import is_filtered_first
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import AUTO, LOCAL, Cloud, search_options
from atoll.vectors.pricing.bill import dollars, transitions_of
from atoll.vectors.pricing.prices import load_prices
from atoll.vectors.queries import QueryBatch
from atoll.vectors.view import METADATA_KEY
from atoll.vectors.work import Work

Tell = Callable[[str], None]


def find_stack(settings: Settings, tell: Tell, *, is_needed: bool) -> Deployment | None:
    """Look up what is deployed; None where nothing is, and nothing need be."""
    try:
        return find_deployment(settings)
    except AtollError as error:
        if is_needed:
            raise
        tell(f"nothing is deployed that could search: {error.message}")
        return None


@dataclass(frozen=True)
class Answer:
    """What a search found, how, what others did for it, and what it lacks.

    Attributes:
        hits: a table; or a CSV file, in pieces.
        count: of them.
        facts: see `view.search_facts`.
        works: of those who searched elsewhere.
        incomplete: the error to raise once the hits are written; None where no bucket is missing.
        transitions: of the state machine.
        job_vcpus: processors of a job, where jobs searched.
    """

    hits: pa.Table | Iterator[bytes]
    count: int
    facts: dict[str, Any]
    works: list[Work] = field(default_factory=list)
    incomplete: Incomplete | None = None
    transitions: int = 0
    job_vcpus: int = 0


@dataclass(frozen=True)
class Search:
    """A search that is to be carried out.

    Attributes:
        collection: to search.
        batch: the queries.
        given: further arguments of `Collection.search`.
        settings: prices, and how to reach AWS.
        deployment: what `atoll deploy aws` has set up; None where nothing is.
        on_progress: told as it goes on.
        tell: told what people should know of it.
    """

    collection: Collection
    batch: QueryBatch
    given: dict[str, Any]
    settings: Settings
    deployment: Deployment | None
    on_progress: OnProgress
    tell: Tell

    def chosen(self, via: str, budget: float | None) -> str:
        """Choose the cheapest way where that is asked for, and hold it against a budget.

        Args:
            via: a way; AUTO chooses.
            budget: US dollars; None for as many as it takes.

        Raises:
            InvalidInput: it costs more, or cannot go that way.
        """
        if self.collection.is_here:
            return LOCAL
        outputs = {} if self.deployment is None else self.deployment.outputs
        offers = self.collection.offers(
            search_options(**self.given),
            len(self.batch),
            load_prices(self.settings.aws.prices),
            clouds=() if self.deployment is None else self.deployment.clouds,
            memory=FunctionMemory.of_outputs(outputs),
        )
        if not offers.offers and via in (AUTO, LOCAL):
            self.tell(f"via local: {offers.text()}")
            return LOCAL
        offer = offers.offers[0] if via == AUTO else offers.of(via)
        if via == AUTO:
            self.tell(f"via {offer.via}: {offers.text()}")
        elif offers.notes:
            self.tell(f"by estimate {dollars(offer.usd)}: {'; '.join(offers.notes)}")
        if budget is not None and offer.usd > budget:
            raise InvalidInput(
                f"by estimate this search costs {dollars(offer.usd)} via {offer.via}, more than "
                f"the budget of {dollars(budget)}: {offer.why}; nothing was searched",
                usd=offer.usd,
            )
        return offer.via

    def here(self) -> Answer:
        """Carry it out in this process."""
        incomplete = None
        try:
            hits = self.collection.search(self.batch, on_progress=self.on_progress, **self.given)
        except Incomplete as error:
            hits, incomplete = error.partial, error
        facts = json.loads(hits.schema.metadata[METADATA_KEY])
        return Answer(hits, len(hits), facts, incomplete=incomplete)

    def by(self, cloud: Cloud, results: str | None, *, is_csv: bool) -> Answer:
        """Have it carried out by what is deployed.

        Args:
            cloud: which part of that.
            results: folder of its run; None for a new one in the stack's bucket.
            is_csv: whether the hits are wanted as CSV.
        """
        assert self.deployment is not None
        run = self.collection.begin_run(
            results or self.deployment.new_run(),
            self.batch,
            search_options(**self.given),
            suffix=".csv" if is_csv else ".parquet",
            is_refined_early=cloud == "batch",
        )
        # Before it begins: whoever stops waiting knows where to look.
        self.tell(f"results: {run}")
        summary = clouds.carried_out(run, cloud, self.deployment, self.settings, self.on_progress)
        incomplete = None
        try:
            clouds.require_whole(run, summary)
        except Incomplete as error:
            incomplete = error
        works = [Work(**each) for each in summary["works"]]
        if cloud == "batch":
            # Planned here, where it is counted.
            works = [work for work in works if work.step != "plan"]
        return Answer(
            run.csv() if is_csv else run.hits(),
            summary["hits"],
            summary,
            works,
            incomplete,
            _transitions(run) if cloud == "stepfunctions" else 0,
            int(self.deployment.outputs.get("JobVcpus", JOB_VCPUS)) if cloud == "batch" else 0,
        )


def _transitions(run: Run) -> int:
    return transitions_of(
        run.target.buckets,
        len(run.plan.groups),
        is_filtered=is_filtered_first(run.request.options, run.target.spec),
        is_measured=run.plan.is_measured,
    )
