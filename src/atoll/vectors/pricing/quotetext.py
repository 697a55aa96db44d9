"""A quote in words, as `atoll estimate` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.core.text import counted, duration, sized
from atoll.vectors.forecast import POST, POST_ROWS_PER_S, hint
from atoll.vectors.pricing.bill import Bill, Line, cost, dollars, plain, price, total
from atoll.vectors.pricing.downloads import lambda_cost, queries_at_once
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.quote import Quote
from atoll.vectors.pricing.searchcost import Runtime, StepCost, search_cost


def text(quote: Quote) -> Iterator[str]:
    """Write a quote, line by line: each amount with its arithmetic."""
    yield from _head(quote)
    yield from _search_text(quote)
    yield from _sizes_text(quote)
    yield from _download_text(quote)
    yield from _notes(quote)


def _head(quote: Quote) -> Iterator[str]:
    shape, prices = quote.shape, quote.prices
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
    yield f"storage   {quote.stored}"
    yield f"          {quote.stored.month(prices)} a month"
    built = quote.building
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


def _search_text(quote: Quote) -> Iterator[str]:
    settings, run = quote.run.settings, quote.run
    yield ""
    yield (
        f"search    {counted(settings.queries, 'query', 'queries')} a run, k {settings.k}, "
        f"nprobes {settings.nprobes}, refine factor {settings.refine_factor} "
        f"({quote.wanted.settings_why})"
    )
    for each in run.steps:
        yield f"  {each.step.name:<7} {_step_text(each)}"
    yield (f"  requests {_sum_text(run.steps, 'gets', 'GET', quote.prices.get)}")
    for line in quote.run_lines.values():
        if line.usd:
            yield f"  {line.what:<15} {line}"
    yield (
        f"  a run {dollars(total(quote.run_lines))}, a query {dollars(quote.query_usd)}, "
        f"{run.latency_s:.1f} s with nothing warm, {_warm_s(quote):.1f} s with functions warm"
    )
    for obstacle in run.obstacles:
        yield f"  IMPOSSIBLE: {obstacle}"
    if queries := quote.wanted.limits.queries_per_month:
        yield (
            f"month     storage {dollars(quote.stored.month(quote.prices).usd)} + "
            f"{plain(queries)} queries x {dollars(quote.query_usd)} = {dollars(quote.month_usd)}"
        )


def _warm_s(quote: Quote) -> float:
    return search_cost(quote.shape, quote.run.settings, Runtime(start_s=0)).latency_s


def _sizes_text(quote: Quote) -> Iterator[str]:
    yield ""
    yield (
        f"{'bucket rows':>13} {'buckets':>7} {'waves':>5} {'a query':>10} {'answer':>8} "
        f"{'to index one':>13}  limits"
    )
    for size in quote.choice.sizes:
        mark = "*" if size == quote.choice.chosen else " "
        fits = "; ".join(size.misses) or "kept"
        yield (
            f"{mark}{size.bucket_rows:>12,} {size.cost.shape.buckets:>7,} "
            f"{size.cost.waves:>5} {dollars(size.query_usd):>10} "
            f"{size.cost.latency_s:>6.1f} s {size.index_hours:>11.1f} h  {fits}"
        )
    yield f"{'chosen' if quote.choice.chosen else 'NONE'}: {quote.choice.why}"


def _download_text(quote: Quote) -> Iterator[str]:
    once, query = quote.download.once, quote.download.a_query
    yield ""
    yield (
        f"download  all buckets to an instance, once: "
        f"{_amounts(once, quote.prices)} = {dollars(cost(once, quote.prices))}; "
        f"then {dollars(cost(query, quote.prices))} a query"
    )
    if quote.cheaper_from is None:
        yield "          Lambda is cheaper however many queries there are"
        return
    count = quote.cheaper_from
    there = cost(quote.download.bill(count), quote.prices)
    if quote.run.obstacles:
        yield "          it is the only way: Lambda cannot"
        return
    at_once = queries_at_once(quote.shape, quote.run.settings)
    runs = -(-count // at_once)
    here = lambda_cost(quote.shape, quote.run.settings, count, at_once, quote.prices)
    yield (
        f"          cheaper than Lambda from {counted(count, 'query', 'queries')} together: "
        f"{dollars(there)} against {dollars(here)} in {counted(runs, 'run')}"
    )


def _notes(quote: Quote) -> Iterator[str]:
    yield ""
    if quote.rates is None and quote.shape.index.kind != "ivf_pq":
        yield f"the build is at the post's rate; {hint('this says what ours takes')}"
    yield (
        f"latency, throughput and start-up of Lambda are supposed, not measured: "
        f"{_supposed(Runtime())}"
    )
    yield (
        "requests and bytes are for unrelated queries with nothing cached; `atoll search` "
        "counts its own"
    )


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
