"""LanceDB tables, one for each bucket: write, pin, open, delete from, find their rows in files."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any, Literal

import lance
import numpy as np
import pyarrow as pa
from lance.commit import CommitConflictError
from numpy.typing import NDArray

from atoll.core.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.storage import Storage, count, count_made
from atoll.storage.lancefiles import refers_outside
from atoll.vectors.lanceerrors import lance_errors
from atoll.vectors.model import Bucket

# Pinned: a table must read the same whatever a later Lance writes by default.
DATA_STORAGE_VERSION: Literal["2.1"] = "2.1"
# One file per writer, so that nearly every partition is one range of one file.
MAX_ROWS_PER_FILE = 1 << 30
MAX_BYTES_PER_FILE = 1 << 50
FINGERPRINT = "atoll.fingerprint"
WRITER = "atoll.writer"
PINNED_TAG = "atoll"
# What Lance notes of a version; tells those of ours that nobody pins from those of other clients.
MADE_BY_US = "made by atoll"
DELETE_ATTEMPTS = 20
DELETE_SECONDS = 0.05


@cache
def _session() -> Any:
    return lance.Session()  # type: ignore[attr-defined]


def open_table(
    storage: Storage, name: str, version: int | None = None, *, is_strangers: bool = False
) -> lance.LanceDataset:
    """Open a bucket's table, pinned where a version is given.

    Args:
        storage, name, version: which.
        is_strangers: whether it may be of somebody who must not have us read what is not theirs.

    Raises:
        NotFound, Forbidden, Unavailable, Corrupt: as the store says.
        InvalidInput: it is a stranger's and refers to files outside its folder.
    """
    with lance_errors(f"table {name}"):
        table = lance.dataset(
            storage.lance_uri(f"{name}.lance"),
            version=version,
            storage_options=storage.lance_options(),
            session=_session(),
        )
        if is_strangers and refers_outside(table):
            raise InvalidInput(f"table {name} refers to files outside its folder; copy them there")
    with reading(table):
        return table


@contextmanager
def reading(table: lance.LanceDataset) -> Iterator[None]:
    """Count what Lance has asked the store for when the block ends; begin only within limits."""
    count()
    try:
        yield
    finally:
        asked = table.io_stats_incremental()
        count_made(gets=asked.read_iops, bytes_read=asked.read_bytes)


def find_table(storage: Storage, name: str) -> lance.LanceDataset | None:
    """Open the newest version of a table; None where nothing was committed under the name."""
    try:
        return open_table(storage, name)
    except NotFound:
        return None


def write_fragments(storage: Storage, name: str, reader: pa.RecordBatchReader) -> list[str]:
    """Write data files of a table that is not there yet; they belong to nothing before the commit.

    Returns:
        What `commit_table` wants to know of them; nothing where there are no rows.

    Raises:
        Conflict: a table of that name was committed meanwhile.
    """
    with lance_errors(f"writing table {name}"):
        fragments = lance.fragment.write_fragments(
            reader,
            storage.lance_uri(f"{name}.lance"),
            mode="create",
            max_rows_per_file=MAX_ROWS_PER_FILE,
            max_bytes_per_file=MAX_BYTES_PER_FILE,
            data_storage_version=DATA_STORAGE_VERSION,
            storage_options=storage.lance_options(),
        )
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def commit_table(storage: Storage, name: str, schema: pa.Schema, fragments: Sequence[str]) -> None:
    """Make a table of data files, in one commit that only the first of several writers makes.

    Args:
        storage, name: where it goes.
        schema: with the metadata of the table and its fields.
        fragments: as `write_fragments` returned them, in the order of their rows.

    Raises:
        Conflict: a table of that name was committed meanwhile.
    """
    operation = lance.LanceOperation.Overwrite(
        schema, [lance.FragmentMetadata.from_json(fragment) for fragment in fragments]
    )
    try:
        with lance_errors(f"committing table {name}"):
            # Version 0 is none: with these two arguments a table that is there is left alone.
            lance.LanceDataset.commit(
                storage.lance_uri(f"{name}.lance"),
                operation,
                read_version=0,
                max_retries=0,
                storage_options=storage.lance_options(),
            )
    except NotFound as error:
        # So Lance calls it when the other one's first version appears at that very moment.
        raise Conflict(f"table {name} was committed by another writer") from error


def pin_table(table: lance.LanceDataset) -> None:
    """Tag the open version, so that a stock `optimize` with cleanup cannot remove it."""
    # Others who pin it at the same time pin the same version.
    with suppress(Conflict), lance_errors("tagging a table"):
        if (tag := _tag(int(table.version))) not in table.tags.list():
            table.tags.create(tag, int(table.version))


def _tag(version: int) -> str:
    return f"{PINNED_TAG}-{version}"


def unpin_others(table: lance.LanceDataset, versions: Collection[int]) -> None:
    """Take our tags off all but some versions, so that they can be cleaned up."""
    kept = {_tag(version) for version in versions}
    with lance_errors("reading tags"):
        ours = [tag for tag in table.tags.list() if re.fullmatch(rf"{PINNED_TAG}-\d+", tag)]
        for tag in set(ours) - kept:
            table.tags.delete(tag)


def unpinned(table: lance.LanceDataset, versions: Collection[int]) -> list[int]:
    """Tell which versions do not carry our tag."""
    with lance_errors("reading tags"):
        tagged = {name: tag["version"] for name, tag in table.tags.list().items()}
    return [version for version in sorted(versions) if tagged.get(_tag(version)) != version]


def delete_rows(storage: Storage, table: Table, rows: NDArray[np.int64]) -> int:
    """Make a version of a table that is the pinned one less some rows, and pin it.

    Lance has no delete from an old version: the pinned one is first made the newest again, where it
    is not. A killed delete leaves a version that nobody reads.

    Args:
        storage: the collection.
        table: the table, at its pinned version.
        rows: positions of rows that are there; not all that are.

    Returns:
        The version's number.

    Raises:
        Conflict: the table is adopted, and its owner has changed it since.
        Unavailable: others change the table all the time.
    """
    name, pinned = table.bucket.name, table.bucket.version
    addresses = np.sort(table.addresses(rows))
    uri, options = storage.lance_uri(f"{name}.lance"), storage.lance_options()
    for attempt in range(DELETE_ATTEMPTS):
        with lance_errors(f"deleting from table {name}"):
            base = open_table(storage, name)
            if base.version != pinned:
                _require_own(table, int(base.version))
                base = restored(storage, table.bucket)
            delete = _delete_operation(base, addresses)
            with suppress(CommitConflictError):
                found = lance.LanceDataset.commit(
                    uri, delete, read_version=base.version, max_retries=0,
                    storage_options=options, commit_message=MADE_BY_US,
                )  # fmt: skip
                # Lance lets a change of other rows pass in between: this is then not our version.
                if found.version == base.version + 1:
                    pin_table(found)
                    return int(found.version)
                if table.bucket.is_adopted:
                    # What came between is its owner's and stays; only our delete is taken back.
                    undo = lance.LanceOperation.Restore(found.version - 1)
                    lance.LanceDataset.commit(uri, undo, storage_options=options)
        time.sleep(random.uniform(0, DELETE_SECONDS * attempt))
    raise Unavailable(f"table {name} changes all the time; wait for the others, then try again")


def restored(storage: Storage, bucket: Bucket) -> lance.LanceDataset:
    """Make a version of a bucket's table that is equal to the pinned one."""
    with lance_errors(f"restoring table {bucket.name}"):
        return lance.LanceDataset.commit(
            storage.lance_uri(f"{bucket.name}.lance"),
            lance.LanceOperation.Restore(bucket.version),
            storage_options=storage.lance_options(),
            commit_message=MADE_BY_US,
        )


def _require_own(table: Table, newest: int) -> None:
    if table.bucket.is_adopted and not is_made_by_us(table.dataset, newest):
        raise Conflict(
            f"table {table.bucket.name} was changed by its owner since it was adopted; take that "
            "up with `atoll adopt` first",
            table=table.bucket.name,
        )


def _delete_operation(
    base: lance.LanceDataset, addresses: NDArray[np.uint64]
) -> lance.LanceOperation.Delete:
    changed, emptied = [], []
    numbers = addresses >> np.uint64(32)
    for number in np.unique(numbers).tolist():
        offsets = (addresses[numbers == number] & np.uint64(0xFFFFFFFF)).tolist()
        fragment = base.get_fragment(number)
        assert fragment is not None
        left = fragment.delete_rows(offsets)
        if left is None:
            emptied.append(number)
        else:
            changed.append(left)
    return lance.LanceOperation.Delete(changed, emptied, "")


def show_pinned(storage: Storage, bucket: Bucket) -> None:
    """Make the pinned version the newest, for clients other than ours, where ours left another.

    That is one that was pinned before, a delete that was killed, a version that was shown before,
    or a second builder's copy of the table.
    """
    newest, pinned = (open_table(storage, bucket.name, v) for v in (None, bucket.version))
    if newest.version == pinned.version:
        return
    with lance_errors(f"reading table {bucket.name}"):
        was_pinned = not unpinned(newest, [int(newest.version)])
        is_left = _is_marked(newest) and _files_of(newest) != _files_of(pinned)
        is_ours = was_pinned or is_left or _is_of_lost_builder(newest, pinned)
    if is_ours:
        restored(storage, bucket)


def _is_marked(table: lance.LanceDataset) -> bool:
    try:
        made = table.read_transaction(int(table.version))
    except TypeError:  # pylance cannot show a compaction of an indexed table; it is none of ours
        return False
    noted = made.transaction_properties if made else None
    return noted is not None and MADE_BY_US in noted.values()


def _is_of_lost_builder(newest: lance.LanceDataset, ours: lance.LanceDataset) -> bool:
    """Tell whether the newest version holds the same rows, written once more by another builder.

    Lance lets several writers create one table, each with a version of its own; the newest stays
    when old ones are removed.
    """
    last, first = table_metadata(newest), table_metadata(ours)
    return (
        last.get(FINGERPRINT) == first.get(FINGERPRINT)
        and last.get(WRITER) != first.get(WRITER)
        and newest.count_rows() == ours.count_rows()
    )


def is_made_by_us(table: lance.LanceDataset, version: int) -> bool:
    """Tell whether another version is one of ours, or made of the same files as the open one."""
    return not unpinned(table, [version]) or has_our_rows(table, version)


def has_our_rows(table: lance.LanceDataset, version: int) -> bool:
    """Tell whether another version has the files of the open one, but for a change of ours."""
    with lance_errors(f"reading version {version}"):
        other = table.checkout_version(version)
        ours, theirs = _files_of(table), _files_of(other)
        # A change of ours may have come after one of others' that we did not see.
        known = {path for paths, _ in ours for path in paths}
        is_known = all(path in known for paths, _ in theirs for path in paths)
        return ours == theirs or (is_known and _is_marked(other))


def _files_of(table: lance.LanceDataset) -> list[tuple[list[str], str | None]]:
    fragments = [(f.data_files(), f.deletion_file()) for f in table.get_fragments()]
    return [([file.path for file in files], deleted) for files, deleted in fragments]


def table_metadata(table: lance.LanceDataset) -> dict[str, str]:
    """Read the key-value metadata of a table's schema."""
    raw = table.schema.metadata or {}
    return {key.decode(): value.decode() for key, value in raw.items()}


class Table:
    """An open bucket: rows addressed by their position in stored order."""

    def __init__(self, storage: Storage, bucket: Bucket, *, is_strangers: bool = False) -> None:
        """Open the pinned version of a bucket; see `open_table`."""
        self.bucket = bucket
        opened = partial(open_table, storage, bucket.name, is_strangers=is_strangers)
        self.dataset = whole = opened(bucket.version)
        if bucket.first_version is not None:
            # A fragment whose rows are all deleted is gone, but its rows still have positions.
            whole = opened(bucket.first_version)
        self._fragments = whole.get_fragments()
        rows = [fragment.physical_rows for fragment in self._fragments]
        self._starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])

    def take(self, rows: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Read some rows, in the order given."""
        with lance_errors(f"reading table {self.bucket.name}"), reading(self.dataset):
            address = pa.array(self.addresses(rows))
            found = self.dataset._take_rows(address, columns=list(columns))
        if len(found) != len(rows):
            raise Corrupt(
                f"table {self.bucket.name} returned {len(found):,} of {len(rows):,} rows; "
                "run `atoll verify`",
                bucket=self.bucket.name,
            )
        return found

    def batches(
        self, columns: Sequence[str], *, batch_rows: int = 8192, where: str | None = None
    ) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """Scan in stored order: (positions, batch) pairs, of the rows that pass `where`."""
        is_asked = where is not None
        named = f"reading table {self.bucket.name}"
        with lance_errors(named, user_input=is_asked), reading(self.dataset):
            for batch in self.dataset.to_batches(
                columns=list(columns), filter=where, batch_size=batch_rows, with_row_address=True
            ):
                yield self.positions(batch["_rowaddr"]), batch.drop_columns(["_rowaddr"])

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Mark the rows that pass a predicate: (rows,) bool."""
        mask = np.zeros(self.bucket.stored_rows, np.bool_)
        for positions, _ in self.batches([], where=where, batch_rows=1 << 16):
            mask[positions] = True
        return mask

    def live_rows(self) -> NDArray[np.int64]:
        """List the rows that this version has, ascending."""
        found = [positions for positions, _ in self.batches([], batch_rows=1 << 16)]
        return np.concatenate([np.empty(0, np.int64), *found])

    def count(self, where: str) -> int:
        """Count the rows that pass a predicate."""
        with lance_errors("where", user_input=True), reading(self.dataset):
            return int(self.dataset.count_rows(filter=where))

    def addresses(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Turn positions in stored order into Lance row addresses."""
        fragment = np.searchsorted(self._starts, rows, "right") - 1
        ids = np.array([f.fragment_id for f in self._fragments], np.uint64)
        offset = (rows - self._starts[fragment]).astype(np.uint64)
        found: NDArray[np.uint64] = (ids[fragment] << np.uint64(32)) | offset
        return found

    def positions(self, address: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        """Turn Lance row addresses into positions in stored order."""
        value = np.asarray(address).astype(np.uint64)
        ids = np.array([f.fragment_id for f in self._fragments], np.uint64)
        fragment = np.searchsorted(ids, value >> np.uint64(32))
        offset = (value & np.uint64(0xFFFFFFFF)).astype(np.int64)
        found: NDArray[np.int64] = self._starts[fragment] + offset
        return found
