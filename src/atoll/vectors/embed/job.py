"""One run of embed into one place: what was asked, how far it is, who is at it.

A hidden state folder beside the output holds `job.json` (what was asked), `progress.json` (what is
done, replaced whole after each step) and the pieces of the shard at hand. It outlives a kill at any
point; the same job then goes on from the last step.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from atoll.core.errors import Conflict, Corrupt, NotFound
from atoll.core.files import reading, whole_file, writing
from atoll.vectors.embed.parts import part_name, part_record, read_records
from atoll.vectors.embed.shards import (
    RESUME,
    Layout,
    Piece,
    Row,
    remove_pieces,
    write_piece,
    write_shard,
)
from atoll.vectors.model import Embedder

SINGLE_PART = (1, 1)
_FORMAT = 1


@dataclass(frozen=True)
class Job:
    """What was asked for: two runs of equal jobs give the same files.

    Attributes:
        inputs: absolute paths, URLs or "-".
        embedder: what makes the vectors.
        tile, tile_overlap: residues per vector, for one vector per tile.
        shard_rows: rows in a file; None for one file.
        part: (i, n), from 1: this run takes every protein whose id hashes to part i of n.
    """

    inputs: tuple[str, ...]
    embedder: Embedder
    tile: int | None
    tile_overlap: int | None
    shard_rows: int | None
    part: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as they come back from JSON."""
        plain: dict[str, Any] = json.loads(json.dumps({**asdict(self), "format": _FORMAT}))
        return plain


@dataclass(frozen=True)
class Places:
    """Where a job's files are.

    Attributes:
        output: the HDF5 file, or the folder of shards.
        is_folder: which of the two.
        stem: "part-00003-of-00007" in a folder.
    """

    output: Path
    is_folder: bool
    stem: str = ""

    @property
    def state(self) -> Path:
        """The hidden folder of the run."""
        if self.is_folder:
            return self.output / f".{self.stem}"
        return self.output.with_name(f".{self.output.name}.embedding")

    @property
    def record(self) -> Path:
        """The JSON that tells of a part: running, or finished with these shards."""
        return self.output / f"{self.stem}.json"

    def shard(self, number: int) -> Path:
        """The file of a shard."""
        return self.output / f"{self.stem}-{number:05}.h5" if self.is_folder else self.output


def places_of(output: Path, part: tuple[int, int], is_folder: bool) -> Places:
    """Name the files of a part."""
    return Places(output, is_folder, part_name(part) if is_folder else "")


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        shards: rows of each finished shard.
        pieces: what of the next shard is on disk.
        digest: hash over ids and sequences of all these rows, hex.
    """

    shards: tuple[int, ...] = ()
    pieces: tuple[Piece, ...] = ()
    digest: str = ""

    @property
    def rows(self) -> int:
        """Rows on disk."""
        return sum(self.shards) + sum(piece.rows for piece in self.pieces)


@dataclass
class Run:
    """A job at work in its place; holds the lock."""

    job: Job
    places: Places
    state: State = field(default_factory=State)

    def changed(self) -> Conflict:
        """Say that the input differs from what the rows on disk were made from."""
        return Conflict(
            f"the input is no longer what the first {self.state.rows} vectors of"
            f" {self.places.output} were made from: --force starts over"
        )

    def room(self) -> int | None:
        """Count the rows the shard at hand can still take; None without a limit."""
        if self.job.shard_rows is None:
            return None
        return self.job.shard_rows - sum(piece.rows for piece in self.state.pieces)

    def keep(self, rows: list[Row], vectors: Any, digest: str) -> None:
        """Write rows; finish the shard when it is full."""
        piece = write_piece(self.places.state, len(self.state.pieces), rows, vectors)
        self._save(replace(self.state, pieces=(*self.state.pieces, piece), digest=digest))
        if self.room() == 0:
            self.finish_shard()

    def finish_shard(self) -> None:
        """Gather the pieces at hand into the next shard."""
        if not self.state.pieces:
            return
        layout = Layout(self.job.embedder, self.job.tile, self.job.tile_overlap)
        target = self.places.shard(len(self.state.shards))
        write_shard(target, self.places.state, self.state.pieces, layout)
        rows = sum(piece.rows for piece in self.state.pieces)
        self._save(replace(self.state, shards=(*self.state.shards, rows), pieces=()))
        remove_pieces(self.places.state)

    def finish(self) -> Sequence[Path | str]:
        """Finish the last shard, record the part as finished, remove the state."""
        self.finish_shard()
        files = [self.places.shard(number) for number in range(len(self.state.shards))]
        if self.places.is_folder:
            names = [path.name for path in files]
            shards = list(zip(names, self.state.shards, strict=True))
            _record(self.places, self.job, shards, is_finished=True)
        shutil.rmtree(self.places.state)
        return files

    def _save(self, state: State) -> None:
        _write_json(self.places.state / "progress.json", asdict(state), self.places.state)
        self.state = state


@contextmanager
def opened_run(job: Job, places: Places, *, force: bool) -> Iterator[Run]:
    """Take hold of an output place, alone, to start a job or go on with it.

    Raises:
        Conflict: there is an output already, an unfinished one of another job, parts of another
            job, or another process is at work there. `force` discards the first two.
        InvalidInput: the folder of the output is not there. Forbidden: it may not be written.
    """
    with writing(places.output, mend=RESUME):
        if places.is_folder:
            places.output.mkdir(parents=True, exist_ok=True)
        _check_other_parts(job, places)
        unfinished = places.state.exists()
        places.state.mkdir(exist_ok=True)
    with _locked(places):
        state = _known_state(job, places, force=force)
        if state is None:
            _start_over(job, places, force=force, unfinished=unfinished)
        run = Run(job, places, state or State())
        try:
            yield run
        except BaseException:
            if not run.state.rows:
                _abandon(places)
            raise


def _known_state(job: Job, places: Places, *, force: bool) -> State | None:
    """Read how far the same job came; None where there is nothing to go on from."""
    try:
        with reading(places.state):
            asked = json.loads((places.state / "job.json").read_text())
            done = json.loads((places.state / "progress.json").read_text())
        pieces = tuple(Piece(**piece) for piece in done["pieces"])
        state = State(tuple(done["shards"]), pieces, done["digest"])
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError) as error:
        if force:
            return None
        raise Corrupt(f"{places.state} cannot be read; --force starts over") from error
    if found := differences(asked, job.to_json()):
        if force:
            return None
        raise Conflict(
            f"{places.output} holds an unfinished embedding of another command"
            f" ({'; '.join(found)}): finish it with that command, choose another place, or"
            " discard it with --force",
            path=str(places.output),
        )
    return state


def _start_over(job: Job, places: Places, *, force: bool, unfinished: bool) -> None:
    existing = _finished_files(places)
    if existing and not force:
        if not unfinished:
            shutil.rmtree(places.state)
        raise Conflict(
            f"{existing[0]} is there already: choose another place, or replace it with --force",
            path=str(existing[0]),
        )
    with writing(places.output, mend=RESUME):
        for path in places.state.iterdir():
            if path.name != "lock":
                path.unlink()
        if places.is_folder:
            # A single file stays until the new one takes its place.
            for path in existing:
                path.unlink()
            _record(places, job, [], is_finished=False)
        _write_json(places.state / "job.json", job.to_json(), places.state)
        _write_json(places.state / "progress.json", asdict(State()), places.state)


def _finished_files(places: Places) -> list[Path]:
    if not places.is_folder:
        return [places.output] if places.output.exists() else []
    record = [places.record] if places.record.exists() else []
    return record + sorted(places.output.glob(f"{places.stem}-*.h5"))


def _abandon(places: Places) -> None:
    """Leave no trace of a run that has written nothing."""
    shutil.rmtree(places.state, ignore_errors=True)
    if places.is_folder:
        places.record.unlink(missing_ok=True)
        if not any(places.output.iterdir()):
            places.output.rmdir()


def _check_other_parts(job: Job, places: Places) -> None:
    """Refuse a folder that holds parts of another job."""
    if not places.is_folder:
        return
    for path, record in read_records(places.output).items():
        if path == places.record:
            continue
        check_part(job, str(path), record)


def check_part(job: Job, path: str, record: dict[str, Any]) -> None:
    """Refuse a folder that holds a part of another job.

    Args:
        job: what is asked for.
        path: of the record, for the message.
        record: of another part than the job's.

    Raises:
        Conflict: its job differs in more than the part's number.
    """
    other = record["job"]
    mine = {**job.to_json(), "part": [other["part"][0], job.part[1]]}
    if found := differences(other, mine):
        folder, _, name = path.rpartition("/")
        raise Conflict(
            f"{folder} holds {name.removesuffix('.json')} of another command"
            f" ({'; '.join(found)}): give every part the same options, or another folder",
            path=path,
        )


def differences(theirs: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    """Name what differs between two jobs, then and now."""
    before, now = _flat(theirs), _flat(mine)
    return [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def _flat(job: dict[str, Any]) -> dict[str, Any]:
    embedder = {f"model {key}": value for key, value in job.get("embedder", {}).items()}
    return {**{key: value for key, value in job.items() if key != "embedder"}, **embedder}


@contextmanager
def _locked(places: Places) -> Iterator[None]:
    """Hold the place alone; the system lets go when the process ends, however it ends."""
    with writing(places.output):
        file = (places.state / "lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another process is embedding into {places.output}: wait for it or stop it",
                path=str(places.output),
            ) from error
        yield


def _record(places: Places, job: Job, shards: list[tuple[str, int]], *, is_finished: bool) -> None:
    record = part_record(job.to_json(), shards, is_finished=is_finished)
    _write_json(places.record, record, places.state)


def _write_json(path: Path, value: dict[str, Any], unfinished_in: Path) -> None:
    with whole_file(path, unfinished_in=unfinished_in, mend=RESUME) as file:
        file.write(json.dumps(value, indent=1).encode())
