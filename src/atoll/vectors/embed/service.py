"""The use case: FASTA files in, HDF5 files of vectors out, resumable at any point."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress, silent
from atoll.storage import Storage, local_path, open_storage
from atoll.vectors.embed.fasta import STDIN, FastaStats, Record, count_records, read_fasta
from atoll.vectors.embed.job import SINGLE_PART, Job, Run, opened_run, places_of
from atoll.vectors.embed.models import (
    DEFAULT_BATCH_TOKENS,
    DEFAULT_MODEL,
    Model,
    ModelOptions,
    load_model,
)
from atoll.vectors.embed.seen import SeenIds, id_hash
from atoll.vectors.embed.shards import Row
from atoll.vectors.embed.stored import opened_stored_run
from atoll.vectors.embed.tiling import check_tile, tiles
from atoll.vectors.model import Embedder

T = TypeVar("T")

DEFAULT_SHARD_ROWS = 1_000_000
SUFFIXES = (".h5", ".hdf5")
# A piece is written when either is reached; what a kill costs.
CHECKPOINT_ROWS = 16_384
CHECKPOINT_SECONDS = 30.0
_RECORDS_AT_ONCE = 1024
_WINDOW_RESIDUES = 2_000_000
_WINDOWS_AHEAD = 2
_READER_FAREWELL_SECONDS = 2.0
_COUNT_MAX_BYTES = 64 << 20
_LINE_BITS = 48
# The share of the memory that ids met before may take.
_SEEN_SHARE = 4

OnDuplicate = Literal["error", "skip"]


@dataclass(frozen=True)
class EmbedOptions:
    """What an embed may be told; the defaults are the documented ones.

    Attributes:
        model: a name of the registry.
        model_path: local folder of its published weights.
        device: "cpu", "cuda" or "cuda:N".
        precision: "float32" or "bfloat16".
        batch_tokens: residues, padding included, in a batch of a torch model.
        tile: residues per vector, for one vector per tile; None for one per protein.
        tile_overlap: residues that neighbouring tiles share; None is half a tile.
        shard_rows: rows in a file of an output folder; None with `part` (1, 1) for a single file.
        part: (i, n), from 1: embed only the proteins whose id hashes to part i of n.
        on_duplicate: what to do with an id met before in this part.
        force: replace an output that is there, discard an unfinished one of another command.
    """

    model: str = DEFAULT_MODEL
    model_path: Path | None = None
    device: str = "cpu"
    precision: str = "float32"
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    tile: int | None = None
    tile_overlap: int | None = None
    shard_rows: int | None = None
    part: tuple[int, int] = SINGLE_PART
    on_duplicate: OnDuplicate = "error"
    force: bool = False


@dataclass(frozen=True)
class EmbedReport:
    """What an embed did.

    Attributes:
        files: paths or URLs of the HDF5 files of this part.
        rows: vectors in them; `resumed_rows` of these were there from a run that had stopped.
        proteins: sequences read that belong to this part, duplicates left out.
        skipped: duplicates left out.
        notes: what the reader changed or found odd, in words.
        embedder: what made the vectors.
        seconds: of this run, model loading not counted.
    """

    files: tuple[Path | str, ...]
    rows: int
    resumed_rows: int
    proteins: int
    skipped: int
    notes: tuple[str, ...]
    embedder: Embedder
    seconds: float


def embed(
    inputs: Sequence[str | Path] | str | Path,
    output: str | Path | Storage,
    *,
    options: EmbedOptions | None = None,
    settings: Settings | None = None,
    on_progress: OnProgress = silent,
    stdin: BinaryIO | None = None,
) -> EmbedReport:
    """Embed the proteins of FASTA files.

    Args:
        inputs: paths, storage URLs or "-"; plain, gzip, bzip2, xz or zstd; each id once.
        output: an HDF5 file, or with `shard_rows` or `part` a folder of them. Hidden state beside
            it lets the same call continue after a kill. Or the URL of a folder, which a call on any
            machine continues after the last whole file; finished, it is compared with the input. A
            local folder given as `Storage` is treated so, too.
        options: model, tiles, shards.
        settings: threads, memory, scratch folder, how to reach stores.
        on_progress: told of vectors written, stage "embed".
        stdin: what "-" reads.

    Returns:
        The report. Files hold `embedding` (n, dim) float32 and `id` (n), in the order of the input;
        see `atoll.vectors.embed.shards.write_shard`.

    Raises:
        InvalidInput: bad FASTA (file and line are named), a duplicate id (both places), a wrong
            option.
        Conflict: the output exists, or belongs to another command or process.
        NotFound, Forbidden, Unavailable, Corrupt: inputs, weights or the disk; messages say which.
    """
    options, settings = options or EmbedOptions(), settings or Settings()
    names = [str(inputs)] if isinstance(inputs, str | Path) else [str(each) for each in inputs]
    overlap = _check_options(names, options)
    is_folder = options.shard_rows is not None or options.part != SINGLE_PART
    target = _check_output(output, is_folder, settings)
    is_folder |= isinstance(target, Storage)
    model = load_model(
        options.model,
        ModelOptions(
            path=options.model_path,
            device=options.device,
            precision=options.precision,
            batch_tokens=options.batch_tokens,
            threads=settings.threads,
        ),
    )
    job = Job(
        inputs=tuple(absolute(name) for name in names),
        embedder=model.embedder,
        tile=options.tile,
        tile_overlap=overlap,
        shard_rows=(options.shard_rows or DEFAULT_SHARD_ROWS) if is_folder else None,
        part=options.part,
    )
    total = _total(names, options)
    opened: AbstractContextManager[Run]
    if isinstance(target, Storage):
        opened = opened_stored_run(job, target, settings.scratch, force=options.force)
    else:
        places = places_of(target, options.part, is_folder)
        opened = opened_run(job, places, force=options.force)
    with opened as run:
        memory = settings.memory_bytes // _SEEN_SHARE
        with SeenIds(settings.scratch, memory) as seen:
            reading = _Reading(names, job, options.on_duplicate, settings, seen, stdin)
            return _Work(model, run, reading, on_progress, total).carry_out()


def _check_options(names: Sequence[str], options: EmbedOptions) -> int | None:
    """Refuse what does not fit together; return the overlap of tiles."""
    if not names:
        raise InvalidInput("no FASTA file to embed")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{twice} is given twice")
    index, count = options.part
    if not 1 <= index <= count:
        raise InvalidInput(f"part {index}/{count} does not exist: count from 1/{max(count, 1)}")
    if options.shard_rows is not None and options.shard_rows < 1:
        raise InvalidInput("a shard needs at least 1 row")
    if options.tile is None:
        if options.tile_overlap is not None:
            raise InvalidInput("--tile-overlap goes with --tile")
        return None
    overlap = options.tile // 2 if options.tile_overlap is None else options.tile_overlap
    check_tile(options.tile, overlap)
    return overlap


def _check_output(
    output: str | Path | Storage, is_folder: bool, settings: Settings
) -> Path | Storage:
    """Return the file or folder, or the folder of a store, that is to be written."""
    if isinstance(output, Storage):
        return output
    path = local_path(output)
    if path is None:
        if str(output).lower().endswith(SUFFIXES):
            raise InvalidInput(
                f"{output} names a file, but what is embedded into a store is a folder of files; "
                "leave out the suffix"
            )
        return open_storage(output, settings.storage)
    if is_folder and path.exists() and not path.is_dir():
        raise InvalidInput(f"{path} is a file: --shard-rows and --part write into a folder")
    if not is_folder and (path.is_dir() or path.suffix.lower() not in SUFFIXES):
        raise InvalidInput(
            f"{path} does not end in {' or '.join(SUFFIXES)}: name an HDF5 file, or give"
            " --shard-rows N to fill a folder"
        )
    return path.absolute()


def absolute(name: str) -> str:
    """Name an input in a way that holds in any working folder."""
    path = None if name == STDIN else local_path(name)
    return name if path is None else str(path.absolute())


def _total(names: Sequence[str], options: EmbedOptions) -> int | None:
    """Count the vectors to come where that is cheap; None elsewhere."""
    paths = [local_path(name) for name in names if name != STDIN]
    if STDIN in names or options.tile is not None or options.part != SINGLE_PART:
        return None
    sizes = [path.stat().st_size if path and path.is_file() else None for path in paths]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or sum(known) > _COUNT_MAX_BYTES:
        return None
    return sum(count_records(path) for path in paths if path)


class _Reading:
    """The rows of a job, in order, with the hash over them."""

    def __init__(
        self,
        names: Sequence[str],
        job: Job,
        on_duplicate: OnDuplicate,
        settings: Settings,
        seen: SeenIds,
        stdin: BinaryIO | None,
    ) -> None:
        self.stats = FastaStats()
        self.proteins = 0
        self.skipped = 0
        self._names = list(names)
        self._job = job
        self._on_duplicate = on_duplicate
        self._settings = settings
        self._seen = seen
        self._stdin = stdin

    def rows(self) -> Iterator[Row]:
        """Yield what becomes a vector each."""
        for record in self._new_records():
            self.proteins += 1
            yield from self._rows_of(record)

    def _rows_of(self, record: Record) -> Iterator[Row]:
        name, description, sequence = record[:3]
        if self._job.tile is None or self._job.tile_overlap is None:
            yield Row(name, description, sequence, name, 1, len(sequence))
            return
        for tile in tiles(len(sequence), self._job.tile, self._job.tile_overlap):
            start, end = tile.start + 1, tile.end
            part = sequence[tile.start : tile.end]
            yield Row(f"{name}/{start}-{end}", description, part, name, start, end)

    def _new_records(self) -> Iterator[Record]:
        index, count = self._job.part
        hashed = ((record, id_hash(record.id)) for record in self._records())
        mine = (pair for pair in hashed if pair[1] % count == index - 1)
        for group in _groups(mine, _RECORDS_AT_ONCE):
            places = [self._place(record) for record, _ in group]
            earlier = self._seen.add([key for _, key in group], places)
            for (record, _), first in zip(group, earlier, strict=True):
                if first is None:
                    yield record
                elif self._on_duplicate == "skip":
                    self.skipped += 1
                else:
                    self._refuse(record, first)

    def _records(self) -> Iterator[Record]:
        for name in self._names:
            yield from read_fasta(
                name,
                options=self._settings.storage,
                stats=self.stats,
                stdin=self._stdin,
            )

    def _place(self, record: Record) -> int:
        name = STDIN if record.file == "stdin" and STDIN in self._names else record.file
        return self._names.index(name) << _LINE_BITS | record.line

    def _refuse(self, record: Record, first: int) -> NoReturn:
        name = self._names[first >> _LINE_BITS]
        file = "stdin" if name == STDIN else name
        line = first & ((1 << _LINE_BITS) - 1)
        raise InvalidInput(
            f"{record.file}:{record.line}: id {record.id!r} was met before at {file}:{line}: ids"
            " must differ; rename one, or keep the first with --on-duplicate skip",
            id=record.id,
            first=f"{file}:{line}",
            second=f"{record.file}:{record.line}",
        )


class _Work:
    """Reads ahead in a thread, embeds and writes in this one."""

    def __init__(
        self,
        model: Model,
        run: Run,
        reading: _Reading,
        on_progress: OnProgress,
        total: int | None,
    ) -> None:
        self._model = model
        self._run = run
        self._reading = reading
        self._on_progress = on_progress
        self._total = total
        self._rows: list[Row] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._digest = ""
        self._kept_at = time.monotonic()

    def carry_out(self) -> EmbedReport:
        """Embed from where the run stands to its end, and finish its files."""
        began = time.monotonic()
        resumed = self._run.state.rows
        self._tell()
        rows = self._reading.rows()
        self._skip(rows, resumed)
        with closing(_ahead(_windows(rows, self._model.window_rows))) as windows:
            for window in windows:
                self._take(window)
                self._tell()
        self._keep()
        done = self._run.state.rows
        files = self._run.finish()
        return EmbedReport(
            files=tuple(files),
            rows=done,
            resumed_rows=resumed,
            proteins=self._reading.proteins,
            skipped=self._reading.skipped,
            notes=tuple(self._reading.stats.notes()),
            embedder=self._run.job.embedder,
            seconds=time.monotonic() - began,
        )

    def _skip(self, rows: Iterator[Row], count: int) -> None:
        """Pass over what is on disk, and make sure that it is what the input still says."""
        for _ in range(count):
            row = next(rows, None)
            if row is None:
                break
            self._digest = _extended(self._digest, row)
        if self._digest != self._run.state.digest:
            raise self._run.changed()

    def _take(self, window: list[Row]) -> None:
        """Embed a window; write where a piece or shard is full."""
        vectors = self._model.embed([row.sequence for row in window])
        at = 0
        while at < len(window):
            room = min(self._room(), len(window) - at)
            part = window[at : at + room]
            self._rows += part
            self._vectors.append(vectors[at : at + room])
            for row in part:
                self._digest = _extended(self._digest, row)
            at += room
            if self._room() == 0:
                self._keep()
        if time.monotonic() - self._kept_at > CHECKPOINT_SECONDS:
            self._keep()

    def _room(self) -> int:
        in_shard = self._run.room()
        room = CHECKPOINT_ROWS if in_shard is None else min(CHECKPOINT_ROWS, in_shard)
        return room - len(self._rows)

    def _keep(self) -> None:
        if self._rows:
            self._run.keep(self._rows, np.concatenate(self._vectors), self._digest)
        self._rows, self._vectors = [], []
        self._kept_at = time.monotonic()

    def _tell(self) -> None:
        done = self._run.state.rows + len(self._rows)
        unit = "sequences" if self._run.job.tile is None else "tiles"
        self._on_progress(Progress("embed", done, self._total, unit))


def _extended(digest: str, row: Row) -> str:
    return xxhash.xxh3_128_hexdigest(f"{digest} {row.id} {row.sequence}".encode())


def _groups(items: Iterator[T], size: int) -> Iterator[list[T]]:
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _windows(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Group rows that are embedded together: bounded in number and in residues."""
    window: list[Row] = []
    held = 0
    for row in rows:
        window.append(row)
        held += len(row.sequence)
        if len(window) == size or held >= _WINDOW_RESIDUES:
            yield window
            window, held = [], 0
    if window:
        yield window


def _ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Draw from an iterator in a thread of its own, a few items ahead.

    An exception of the iterator is raised here, after the items before it.
    """
    end = object()
    ready: queue.Queue[object] = queue.Queue(_WINDOWS_AHEAD)
    is_over = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> None:
        while not is_over.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def draw() -> None:
        try:
            for item in items:
                put(item)
                if is_over.is_set():
                    return
        except BaseException as error:  # handed over, not handled
            failure.append(error)
        put(end)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not end:
            yield item  # type: ignore[misc]
    finally:
        is_over.set()
        # A read from a silent pipe cannot be woken; the thread is a daemon and holds nothing.
        thread.join(_READER_FAREWELL_SECONDS)
    if failure:
        raise failure[0]
