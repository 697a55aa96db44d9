"""One part of an embed whose folder is a URL: shards go to the store as each is full.

The part's record in the store tells which shards are there, so that any machine goes on after the
last of them. What is not a whole shard yet lies in a scratch folder and is lost with its machine.
Two machines at one part at once, as AWS Batch may have them, write the same files: so neither
removes any, nor a record that tells more than its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import Conflict
from atoll.core.files import scratch_folder
from atoll.storage import Storage
from atoll.vectors.embed.job import Job, Run, State, check_part, differences, places_of
from atoll.vectors.embed.parts import parsed_record, part_name, part_record, stored_records
from atoll.vectors.embed.shards import Row

logger = logging.getLogger(__name__)


@dataclass
class StoredRun(Run):
    """A job at work in a scratch folder; its shards go to `store`.

    Attributes:
        store: the folder of all parts.
        is_whole: whether the last shard of the part was there before.
    """

    store: Storage = field(kw_only=True)
    is_whole: bool = field(kw_only=True)

    def keep(self, rows: list[Row], vectors: NDArray[np.float32], digest: str) -> None:
        """Write rows; finish the shard when it is full."""
        if self.is_whole:
            raise self.changed()
        super().keep(rows, vectors, digest)

    def changed(self) -> Conflict:
        """Say that the input differs from what the rows in the store were made from."""
        return Conflict(
            f"the input is no longer what the {self.state.rows} vectors of {self.store}/"
            f"{self.places.stem} were made from: --force starts over"
        )

    def finish_shard(self) -> None:
        """Gather the pieces at hand into the next shard, and bring it to the store."""
        if not self.state.pieces:
            return
        super().finish_shard()
        shard = self.places.shard(len(self.state.shards) - 1)
        self.store.put_file(shard.name, shard)
        shard.unlink()
        self.tell(is_finished=False)

    def finish(self) -> list[str]:
        """Finish the last shard and record the part as finished."""
        self.finish_shard()
        self.tell(is_finished=True)
        return [f"{self.store}/{name}" for name, _ in self._shards(self.state)]

    def tell(self, *, is_finished: bool) -> None:
        """Record how far the part is, unless another machine is further.

        Only what is in the store counts.
        """
        if not is_finished and self._is_behind():
            return
        self.store.put(self.record_name, self._record(self.state, is_finished=is_finished))

    def start_over(self) -> None:
        """Record that nothing is there yet."""
        self.store.put(self.record_name, self._record(State(), is_finished=False))

    def abandon(self) -> None:
        """Remove the record that `start_over` left, if nobody has told more since."""
        if self.store.find(self.record_name) == self._record(State(), is_finished=False):
            self.store.delete(self.record_name)

    @property
    def record_name(self) -> str:
        """The object that tells of the part."""
        return f"{self.places.stem}.json"

    def _is_behind(self) -> bool:
        data = self.store.find(self.record_name)
        if data is None:
            return False
        told = parsed_record(f"{self.store}/{self.record_name}", data)
        return told["state"] == "finished" or len(told["shards"]) > len(self.state.shards)

    def _record(self, state: State, *, is_finished: bool) -> bytes:
        shards = self._shards(state)
        record = part_record(self.job.to_json(), shards, is_finished=is_finished)
        record["digest"] = state.digest
        return json.dumps(record, indent=1).encode()

    def _shards(self, state: State) -> list[tuple[str, int]]:
        rows = state.shards
        return [(self.places.shard(number).name, each) for number, each in enumerate(rows)]


@contextmanager
def opened_stored_run(
    job: Job, store: Storage, scratch: Path | None, *, force: bool
) -> Iterator[StoredRun]:
    """Start a job, or go on with it, also where it was finished: then it is compared only.

    Args:
        job: what is asked for.
        store: the folder.
        scratch: where shards lie until they are full.
        force: discard what is there of this part.

    Raises:
        Conflict: the folder holds a part of another job, or files that no record tells of.
        Corrupt: a record cannot be read.
    """
    stem = part_name(job.part)
    records = stored_records(store)
    for name, record in records.items():
        if name != f"{stem}.json":
            check_part(job, f"{store}/{name}", record)
    # Listed after the records were read: what they tell of was there before.
    there = [entry.path for entry in store.list() if entry.path.startswith(f"{stem}-")]
    known = None if force else records.get(f"{stem}.json")
    state = _state(job, store, known)
    if known is not None and (missing := _missing(known, there)):
        logger.warning("part starts over store=%s part=%s missing=%s", store, stem, missing)
        known, state = None, State()
    elif known is None:
        _make_way(store, there, force=force)
    # Only the last shard of a part may have room.
    is_whole = known is not None and known["state"] == "finished"
    is_whole |= bool(state.shards) and state.shards[-1] != job.shard_rows
    with scratch_folder(scratch, "embed") as folder:
        places = places_of(folder, job.part, is_folder=True)
        places.state.mkdir()
        run = StoredRun(job, places, state, store=store, is_whole=is_whole)
        if known is None:
            run.start_over()
        try:
            yield run
        except BaseException:
            if known is None and not run.state.shards:
                run.abandon()
            raise


def _missing(record: dict[str, Any], there: Sequence[str]) -> list[str]:
    """Name the shards that a record tells of and the store does not have."""
    return sorted({shard["file"] for shard in record["shards"]} - set(there))


def _make_way(store: Storage, there: Sequence[str], *, force: bool) -> None:
    """Remove shards of a part that is not to be gone on with."""
    for name in there:
        if not force:
            raise Conflict(
                f"{store}/{name} is there already: choose another place, or replace it with "
                "--force",
                path=name,
            )
        store.delete(name)


def _state(job: Job, store: Storage, record: dict[str, Any] | None) -> State:
    """Read how far the same job came."""
    if record is None:
        return State()
    if found := differences(record["job"], job.to_json()):
        raise Conflict(
            f"{store} holds {part_name(job.part)} of another command ({'; '.join(found)}): finish "
            "it with that command, choose another place, or discard it with --force",
            path=str(store),
        )
    return State(tuple(shard["rows"] for shard in record["shards"]), (), record["digest"])
