"""The command that quotes before anything is built: estimate."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.text import printable
from atoll.vectors.cli.common import json_option
from atoll.vectors.model import DTYPES, INDEX_KINDS

if TYPE_CHECKING:
    from atoll.vectors.pricing.shape import SearchSettings


class Count(click.ParamType[int]):
    """A whole number that may be written as 3.5e9."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            number = float(value)
            if math.isfinite(number) and number == int(number):
                return int(number)
        except ValueError:
            pass
        return self.fail(f"{value!r} is not a whole number such as 200000000 or 2e8", param, ctx)


COUNT = Count()


def _show_prices(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        from atoll.vectors.pricing.prices import own_prices

        click.echo(own_prices(), nl=False)
        context.exit()


@click.command()
@click.option("--rows", type=COUNT, required=True, help="Vectors in the collection, e.g. 3.5e9.")
@click.option("--dim", type=COUNT, required=True, help="Length of a vector.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True,
              help="How vectors are stored.")  # fmt: skip
@click.option("--index", type=click.Choice(INDEX_KINDS), default="rabitq", show_default=True,
              help="Atoll's own, Lance's, or no index at all.")  # fmt: skip
@click.option("--bucket-rows", type=COUNT, metavar="ROWS",
              help="Rows a bucket holds at most.  [default: the size chosen]")  # fmt: skip
@click.option("-k", type=COUNT, default=10, show_default=True, help="Hits per query.")
@click.option("--nprobes", type=COUNT, help="Partitions read per bucket.  [default: 20]")
@click.option("--refine-factor", type=COUNT,
              help="k x this many candidates get exact distances.  [default: 5]")  # fmt: skip
@click.option("--recall", type=float, metavar="SHARE",
              help="Suppose the settings that hold it on clustered vectors.")  # fmt: skip
@click.option("--queries-per-run", type=COUNT, default=1, show_default=True,
              help="Queries answered together.")  # fmt: skip
@click.option("--queries-per-month", type=COUNT, default=0, show_default=True,
              help="Queries in a month.")  # fmt: skip
@click.option("--latency", type=float, metavar="SECONDS", help="How long an answer may take.")
@click.option("--query-budget", type=float, metavar="USD", help="What a query may cost.")
@click.option("--monthly-budget", type=float, metavar="USD",
              help="What the queries of a month may cost.")  # fmt: skip
@click.option("--concurrency", type=COUNT, metavar="N", help="Functions that may run at once.")
@click.option("--prices", type=click.Path(path_type=Path), metavar="FILE",
              help="Prices; a copy of Atoll's prices.toml, edited.")  # fmt: skip
@click.option("--show-prices", is_flag=True, is_eager=True, expose_value=False,
              callback=_show_prices, help="Print that file, to be copied, and stop.")  # fmt: skip
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png",
              help="Draw time and cost against k, for one bucket and for all.")  # fmt: skip
@json_option
@click.pass_obj
def estimate(
    settings: Settings,
    /,
    rows: int,
    dim: int,
    bucket_rows: int | None,
    prices: Path | None,
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say what a collection and its searches will cost, and which size of bucket to choose.

    Nothing is built and nothing is read but the prices.
    """
    from atoll.vectors.machine import load_rates, this_machine
    from atoll.vectors.pricing.planner import Limits
    from atoll.vectors.pricing.prices import load_prices
    from atoll.vectors.pricing.quote import Wanted, make_quote
    from atoll.vectors.pricing.quoteplot import draw
    from atoll.vectors.pricing.quotetext import text
    from atoll.vectors.recallplot import check_can_draw

    if plot is not None:
        check_can_draw(plot)
    search, why = _search_settings(given)
    quote = make_quote(
        Wanted(
            rows=rows,
            dim=dim,
            dtype=given["dtype"],
            index=given["index"],
            bucket_rows=bucket_rows,
            settings=search,
            limits=Limits(
                latency_s=given["latency"],
                query_usd=given["query_budget"],
                month_usd=given["monthly_budget"],
                queries_per_month=given["queries_per_month"],
            ),
            settings_why=why,
        ),
        load_prices(prices or settings.aws.prices),
        load_rates(settings.rates, this_machine()) if settings.rates else None,
    )
    if plot is not None:
        draw(quote.shape, search, quote.prices, plot)
    if as_json:
        click.echo(json.dumps(quote.facts(), indent=2))
        return
    for line in text(quote):
        click.echo(printable(line))


def _search_settings(given: dict[str, Any]) -> tuple[SearchSettings, str]:
    """Read how a search is set, and where that is from."""
    from atoll.vectors.pricing.shape import SearchSettings, for_recall

    chosen = {name: given[name] for name in ("nprobes", "refine_factor") if given[name] is not None}
    why = "as given" if chosen else "the defaults"
    if given["recall"] is not None:
        if chosen:
            raise InvalidInput(
                "--recall supposes nprobes and the refine factor; leave those out, or --recall"
            )
        chosen["nprobes"], chosen["refine_factor"] = for_recall(given["index"], given["recall"])
        why = (
            f"supposed for recall {given['recall']:g} of the 10 nearest, from clustered vectors; "
            "`atoll calibrate` measures yours"
        )
    return SearchSettings(
        k=given["k"],
        queries=given["queries_per_run"],
        concurrency=given["concurrency"],
        widens="nprobes" not in chosen,
        **chosen,
    ), why
