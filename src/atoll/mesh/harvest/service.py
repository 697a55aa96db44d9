"""Harvests a source: lists it, groups its files, reads each group; failures are outcomes, too."""

from __future__ import annotations

import logging

from atoll.compute.port import Executor
from atoll.core.config import StorageOptions
from atoll.core.errors import Conflict
from atoll.core.progress import OnProgress, Progress, silent
from atoll.mesh.harvest.layout import Unit, plan
from atoll.mesh.harvest.listing import list_location
from atoll.mesh.harvest.model import CollectionReader, Outcome, Source, Unreadable
from atoll.mesh.harvest.patterns import check_patterns, is_wanted
from atoll.mesh.harvest.place import Place
from atoll.mesh.harvest.readers import read_units
from atoll.storage import Storage, StoredObject

logger = logging.getLogger(__name__)


def harvest(
    source: Source,
    *,
    executor: Executor,
    collections: CollectionReader | None = None,
    on_progress: OnProgress = silent,
) -> list[Outcome]:
    """Find the assets of a source and what their files say of them; `layout` has the rules.

    Of Parquet files only the footers are read; of CSV files of up to 16 MiB all, of larger ones the
    first MiB; of Lance tables of up to 200,000 rows all but vectors, of larger ones 1,000 rows.

    Args:
        source: where, and what is wanted of it.
        executor: where Lance tables and vector collections are read. Some damage to one ends the
            process it is read in, or takes all memory: give processes whose memory is bounded,
            unless all who write to the source are trusted.
        collections: reads vector collections; None leaves them unread, by name.
        on_progress: told as groups of files have been read.

    Returns:
        One outcome per asset wanted, by location; none of an empty folder.

    Raises:
        NotFound: nothing is at the location. Forbidden: it may not be listed.
        Unavailable: the store fails. InvalidInput: location or patterns make no sense, or there are
            too many files.
    """
    check_patterns(source)
    listing = list_location(source.location, source.options, source.apart)
    place = Place(listing)
    # The root has no path: patterns see its name.
    own_name = listing.storage.url.rsplit("/", 1)[-1]
    units = [unit for unit in plan(listing) if _may_be_wanted(source, unit, own_name)]
    found = place.refusals()
    for done, assets in enumerate(read_units(place, units, executor, collections), 1):
        found |= assets
        on_progress(Progress("harvest", done, len(units), "groups of files"))
    wanted = [one for path, one in found.items() if is_wanted(source, path or own_name)]
    failed = sum(isinstance(one, Unreadable) for one in wanted)
    logger.info(
        "source harvested at=%s assets=%d unreadable=%d", place.storage.url, len(wanted), failed
    )
    return sorted(wanted, key=lambda one: one.location)


def table_files(location: str, options: StorageOptions) -> tuple[Storage, tuple[StoredObject, ...]]:
    """Find the files that a table of Parquet or CSV consists of now, by the rules of `harvest`.

    Args:
        location: of the table, as `Technical` has it.
        options: how to reach the store.

    Returns:
        A storage, and the files, their paths below it.

    Raises:
        Conflict: it is not one such table any more; harvest its source again.
        NotFound, Forbidden, Unavailable: as the store says.
    """
    listing = list_location(location, options)
    units = plan(listing)
    is_table = len(units) == 1 and units[0].format in ("parquet", "csv")
    if not is_table or listing.refused or not (listing.is_file or units[0].path == ""):
        raise Conflict(f"{location} is not one table of Parquet or CSV any more; harvest it again")
    return listing.storage, units[0].objects


def _may_be_wanted(source: Source, unit: Unit, own_name: str) -> bool:
    """Tell whether one of the assets that a group of files may turn out to be is wanted."""
    loose = [one.path for one in unit.objects] if unit.format == "parquet" else []
    return any(is_wanted(source, path) for path in (unit.path or own_name, *loose))
