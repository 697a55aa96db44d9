"""Reads groups of files, each format in its way: many at once, or in another process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeAlias, TypeVar

from atoll.compute.deadlines import in_worker
from atoll.compute.port import Executor
from atoll.compute.port import Outcome as Ended
from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, Corrupt, InvalidInput, Unavailable
from atoll.core.text import counted, sized
from atoll.mesh.harvest.content import NO_COLUMNS, Content
from atoll.mesh.harvest.csvfiles import read_csv
from atoll.mesh.harvest.lancetables import read_lance
from atoll.mesh.harvest.layout import Unit
from atoll.mesh.harvest.locations import url_of
from atoll.mesh.harvest.losses import GIVE_UP_AFTER, Losses
from atoll.mesh.harvest.model import CollectionReader, Fingerprint, Outcome
from atoll.mesh.harvest.parquet import Footer, read_footer
from atoll.mesh.harvest.parquettables import as_table, do_agree
from atoll.mesh.harvest.place import Place
from atoll.mesh.harvest.schemas import columns_of
from atoll.mesh.harvest.statistics import digest, fingerprint
from atoll.storage import Storage, StoredObject, Threads

T = TypeVar("T")
R = TypeVar("R")
# By their path below the root.
Assets: TypeAlias = dict[str, Outcome]

# Of one group of files; each of its columns in each row group takes some 100 bytes there, and some
# 40 microseconds to read.
FOOTERS_BYTES = 256 << 20
_FOOTERS_AT_ONCE = 16
# One in memory takes some ten times the bytes of its file.
_CSV_AT_ONCE = 2
# Results that may wait for a slow one before them.
_WINDOW = 1000
# Of what says of a collection what is in it: some 3 KiB for each table.
MANIFEST_BYTES = 64 << 20
_LANCE_SECONDS = 300  # for one table or collection


def read_units(
    place: Place, units: Sequence[Unit], executor: Executor, collections: CollectionReader | None
) -> Iterator[Assets]:
    """Read groups of files, those of one format after those of another; yields once for each.

    Args:
        place: where they are.
        units: the groups.
        executor: where Lance tables and vector collections are read.
        collections: reads vector collections.
    """
    yield from _parquet(place, [unit for unit in units if unit.format == "parquet"])
    yield from _csv(place, [unit for unit in units if unit.format == "csv"])
    yield from _lance(place, [unit for unit in units if unit.format == "lance"], executor)
    found = [unit for unit in units if unit.format == "atoll"]
    yield from _collections(place, found, executor, collections)
    for unit in units:
        if unit.format == "files":
            yield {unit.path: place.outcome(unit, _file_set)}
        elif unit.format == "foreign":
            yield {unit.path: place.outcome(unit, partial(_foreign, unit))}


def _parquet(place: Place, units: Sequence[Unit]) -> Iterator[Assets]:
    work = [(unit, one) for unit in units for one in unit.objects]
    results = _in_threads(_Footers(place.storage).read, work, _FOOTERS_AT_ONCE)
    # Else whatever thread collects garbage ends those, perhaps one that holds what they wait for.
    with closing(results):
        for unit in units:
            read = [next(results) for _ in unit.objects]
            files = [(one.path, found) for one, found in zip(unit.objects, read, strict=True)]
            good = [(path, found) for path, found in files if isinstance(found, Footer)]
            if unit.is_partitioned or (not unit.is_loose and do_agree(good)):
                yield {unit.path: place.outcome(unit, partial(_one_table, unit, files))}
            else:
                yield _loose(place, unit, [partial(_one_table, unit, [each]) for each in files])


def _loose(place: Place, unit: Unit, reads: Sequence[Callable[[], Content]]) -> Assets:
    """Describe each file of a group as a table of its own."""
    units = [Unit(one.path, unit.format, (one,)) for one in unit.objects]
    return {one.path: place.outcome(one, read) for one, read in zip(units, reads, strict=True)}


class _Footers:
    """Reads footers, until those of one group are too much."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read = Counter[str]()

    def read(self, work: tuple[Unit, StoredObject]) -> Footer:
        unit, stored = work
        if self._read[unit.path] > FOOTERS_BYTES:
            raise InvalidInput(
                f"the footers of its {counted(len(unit.objects), 'file')} take more than"
                f" {sized(FOOTERS_BYTES)}; write fewer, larger files and row groups"
            )
        footer = read_footer(self._storage, stored)
        self._read[unit.path] += footer.size_bytes
        return footer


def _one_table(unit: Unit, files: Sequence[tuple[str, Footer | AtollError]]) -> Content:
    """Make one table of files; raises what is wrong with the first that cannot be read."""
    if unit.is_partitioned and unit.is_loose:
        raise InvalidInput("other assets lie among its partitions; move them")
    failed = [(path, found) for path, found in files if isinstance(found, AtollError)]
    if failed:
        path, error = failed[0]
        if len(files) == 1:
            raise error
        raise type(error)(
            f"{len(failed):,} of its {counted(len(files), 'file')} cannot be read; {path!r}:"
            f" {error.message}"
        )
    return as_table(
        [(path, found) for path, found in files if isinstance(found, Footer)],
        is_partitioned=unit.is_partitioned,
    )


def _csv(place: Place, units: Sequence[Unit]) -> Iterator[Assets]:
    read = partial(read_csv, place.storage)
    results = _in_threads(read, [unit.objects[0] for unit in units], _CSV_AT_ONCE)
    for unit, result in zip(units, results, strict=True):
        yield {unit.path: place.outcome(unit, partial(_value, result))}


def _lance(place: Place, units: Sequence[Unit], executor: Executor) -> Iterator[Assets]:
    # One with a link in it is not opened: Lance would follow that.
    refused = {unit.path: place.refusal(unit.path) for unit in units}
    work = [(place.storage, path) for path, error in refused.items() if error is None]
    told = Losses().told
    outcomes = iter(executor.map(_read_lance, work, name=lambda each: url_of(*each), on_done=told))
    for unit in units:
        result = refused[unit.path] or _result(next(outcomes))
        yield {unit.path: place.outcome(unit, partial(_value, result))}


def _read_lance(table: tuple[Storage, str]) -> Content:
    return in_worker(lambda: read_lance(table), _LANCE_SECONDS, url_of(*table))


def _result(outcome: Ended[Content]) -> Content | AtollError:
    if outcome.value is not None:
        return outcome.value
    if isinstance(outcome.error, AtollError):
        return outcome.error
    return Corrupt(f"it cannot be read: {type(outcome.error).__name__}")


def _collections(
    place: Place, units: Sequence[Unit], executor: Executor, collections: CollectionReader | None
) -> Iterator[Assets]:
    refused = {
        unit.path: place.refusal(unit.path) or _unopenable(unit, collections) for unit in units
    }
    work = [
        (collections, url_of(place.storage, path), place.storage.options)
        for path, error in refused.items()
        if collections and error is None
    ]
    told = Losses().told
    outcomes = iter(executor.map(_described, work, name=lambda each: each[1], on_done=told))
    for unit in units:
        result = refused[unit.path] or _result(next(outcomes))
        yield {unit.path: place.outcome(unit, partial(_value, result))}


def _unopenable(unit: Unit, collections: CollectionReader | None) -> AtollError | None:
    if collections is None:
        return InvalidInput("it is a vector collection, which nobody here can open")
    own = f"{unit.path}/_atoll/".lstrip("/")
    for one in unit.objects:
        is_read = one.path == f"{own}hint" or one.path.startswith(f"{own}manifests/")
        if is_read and one.size_bytes > MANIFEST_BYTES:
            return InvalidInput(
                f"{one.path.removeprefix(own)} takes {sized(one.size_bytes)};"
                f" {sized(MANIFEST_BYTES)} are the most"
            )
    return None


def _described(asked: tuple[CollectionReader, str, StorageOptions]) -> Content:
    return in_worker(lambda: _description(*asked), _LANCE_SECONDS, asked[1])


def _description(collections: CollectionReader, location: str, options: StorageOptions) -> Content:
    facts = collections.describe(location, options)
    columns_of(facts.schema)
    types = {one.name: one.type for one in facts.schema}
    shape = fingerprint(types, None, {}).schema
    content = digest("collection", facts.digest) if facts.rows and facts.digest else None
    return Content(
        facts.schema,
        facts.rows,
        Fingerprint(shape, content),
        details=facts.details,
        version=facts.version,
    )


def _file_set() -> Content:
    return Content(NO_COLUMNS, None, Fingerprint(None, None))


def _foreign(unit: Unit) -> Content:
    raise InvalidInput(
        f"it is a table of {unit.note}, whose files may hold rows that it has deleted; export it"
        " as Parquet and register that"
    )


def _in_threads(
    read: Callable[[T], R], items: Sequence[T], at_once: int
) -> Generator[R | AtollError, None, None]:
    """Read items in some threads; yields, in their order, what came of each.

    Raises:
        Unavailable: the store fails time after time.
    """

    lost: list[Unavailable] = []  # since the store last answered

    def tried(item: T) -> R | AtollError:
        if len(lost) >= GIVE_UP_AFTER:
            return lost[0]
        try:
            result: R | AtollError = read(item)
        except Unavailable as error:
            lost.append(error)
            return error
        except AtollError as error:
            result = error
        lost.clear()
        return result

    threads = Threads(at_once, thread_name_prefix="atoll-harvest")
    try:
        for at in range(0, len(items), _WINDOW):
            for result in threads.map(tried, items[at : at + _WINDOW]):
                if len(lost) >= GIVE_UP_AFTER:
                    raise lost[0]
                yield result
    finally:
        threads.shutdown(cancel_futures=True)


def _value(result: R | AtollError) -> R:
    if isinstance(result, AtollError):
        raise result
    return result
