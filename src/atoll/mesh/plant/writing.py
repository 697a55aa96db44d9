"""Writes a plant: each table as CSV or Parquet, batch by batch, and a manifest of what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow.csv
import pyarrow.parquet

from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.records import decoded
from atoll.core.text import some_of
from atoll.mesh.plant import lookalikes, mes, office, sap, scada
from atoll.mesh.plant.model import FIRST_DAY, Dirt, Plant, Recipe, Reference
from atoll.storage import Storage, open_storage

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
# Made and written at once; a row group of a Parquet file.
BATCH_ROWS = 65_536
FILE_ROWS = 5_000_000
_MAKERS = (
    sap.orders, sap.order_items, sap.materials, sap.suppliers, sap.workers,
    mes.vehicles, mes.operations, mes.welds, mes.quality_tests, mes.rework,
    scada.machines, scada.sensors, scada.alarms,
    office.trucks, office.deliveries, office.shifts, office.cost_centres, office.invoices,
    lookalikes.ai4i, lookalikes.steel_plates, lookalikes.auto_mpg,
)  # fmt: skip


@dataclass(frozen=True)
class TableColumn:
    """A column of a written table.

    Attributes:
        type: Arrow's own text for it; in a CSV file, what its text stands for.
        personal: the kind of personal data in it; "" where none.
    """

    name: str
    type: str
    description: str
    personal: str


@dataclass(frozen=True)
class Table:
    """A table that was written.

    Attributes:
        name: unique in the plant.
        system, domain: where such data come from, and who is responsible for them.
        path: of its file or folder, below the plant's.
        format: "csv" or "parquet".
        delimiter: of the CSV file; "" for Parquet.
        partition: name of the column that its folders stand for (`day=2026-03-02`); "" for none.
        rows, files, size_bytes: how large it is.
        dirt: rows that are wrong on purpose.
    """

    name: str
    system: str
    domain: str
    description: str
    path: str
    format: str
    delimiter: str
    partition: str
    rows: int
    files: int
    size_bytes: int
    columns: tuple[TableColumn, ...]
    references: tuple[Reference, ...]
    dirt: tuple[Dirt, ...]

    @property
    def personal(self) -> dict[str, str]:
        """Return the kinds of personal data by column."""
        return {column.name: column.personal for column in self.columns if column.personal}


@dataclass(frozen=True)
class Manifest:
    """What a plant's folder holds; written last, so that who finds it finds all of it."""

    version: int
    seed: int
    scale: float
    tables: tuple[Table, ...]


def generate(
    place: str | Path | Storage,
    *,
    seed: int = 1,
    scale: float = 1.0,
    batch_rows: int = BATCH_ROWS,
    scratch: Path | None = None,
    on_progress: OnProgress = silent,
) -> list[Table]:
    """Write the tables of a made-up plant, and what is in them beside them.

    The same seed and scale give the same rows, whatever the size of a batch. An earlier run that
    was interrupted, or the same one, is written over.

    Args:
        place: an empty folder, local or of an object store.
        seed: of all random numbers.
        scale: 1 has 5,000 vehicles and 0.3 million rows in all; 500 has 96 million of sensors.
        batch_rows: how many are in memory at a time.
        scratch: where each file lies until it is whole; None is the system's temporary folder.
        on_progress: told of each batch, in rows.

    Raises:
        InvalidInput: the scale is not above 0 and at most 10,000, or another number makes no sense.
        Conflict: something else is in the folder.
        Forbidden, Unavailable: it cannot be written.
    """
    plant = Plant(seed, scale)
    if batch_rows < 1:
        raise InvalidInput(f"batches of {batch_rows} rows hold nothing; give at least 1")
    storage = place if isinstance(place, Storage) else open_storage(place)
    recipes = [make(plant) for make in _MAKERS]
    _require_own(storage, recipes, plant)
    total = sum(recipe.rows for recipe in recipes)
    tables: list[Table] = []
    with scratch_folder(scratch, "plant") as folder:
        for recipe in recipes:
            done = sum(table.rows for table in tables)

            def report(rows: int, done: int = done) -> None:
                on_progress(Progress("make the plant", done + rows, total, "rows"))

            tables.append(_write(recipe, seed, storage, folder, batch_rows, report))
    manifest = Manifest(MANIFEST_VERSION, seed, scale, tuple(tables))
    storage.put(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return tables


def read_manifest(storage: Storage) -> Manifest:
    """Read what a plant's folder holds.

    Raises:
        NotFound: no plant was generated there, or not all of it.
        Corrupt: the manifest is damaged.
    """
    try:
        return decoded(storage.get(MANIFEST), Manifest)
    except msgspec.DecodeError as error:
        raise Corrupt(f"{storage}/{MANIFEST} is damaged; generate the plant again") from error


def _require_own(storage: Storage, recipes: Sequence[Recipe], plant: Plant) -> None:
    """Make sure that nothing is in a folder but what this run would write."""
    own = {path for recipe in recipes for path, _, _ in _files(recipe)} | {MANIFEST}
    found = {one.path for one in storage.list()}
    if others := sorted(found - own):
        raise Conflict(
            f"{storage} is not empty: it has {some_of(others)}; choose another folder",
            path=str(storage),
        )
    if MANIFEST in found:
        earlier = read_manifest(storage)
        if (earlier.seed, earlier.scale) != (plant.seed, plant.scale):
            raise Conflict(
                f"{storage} holds the plant of seed {earlier.seed}, scale {earlier.scale:g}; "
                "choose another folder",
                path=str(storage),
            )


def _files(recipe: Recipe) -> Iterator[tuple[str, int, int]]:
    """List the files of a table: path, first row, row after the last."""
    if recipe.delimiter:
        yield _path(recipe), 0, recipe.rows
        return
    parts = recipe.days or 1
    for part in range(parts):
        first, last = part * recipe.rows // parts, (part + 1) * recipe.rows // parts
        day = f"day={np.datetime64(FIRST_DAY) + part}/" if recipe.days else ""
        for number, start in enumerate(range(first, last, FILE_ROWS)):
            path = f"{_path(recipe)}/{day}part-{number:05}.parquet"
            yield path, start, min(start + FILE_ROWS, last)


def _path(recipe: Recipe) -> str:
    return f"{recipe.system.lower()}/{recipe.name}{'.csv' if recipe.delimiter else ''}"


def _write(
    recipe: Recipe,
    seed: int,
    storage: Storage,
    folder: Path,
    batch_rows: int,
    report: Callable[[int], None],
) -> Table:
    size_bytes = files = 0
    for path, start, stop in _files(recipe):
        part = folder / "part"
        with (
            writing(folder, mend=OTHER_SCRATCH),
            part.open("wb") as file,
            closing(_writer(recipe, file)) as writer,
        ):
            for batch in recipe.batches(seed, start, stop, batch_rows):
                writer.write_batch(batch)
                start += len(batch)
                report(start)
        storage.put_file(path, part)
        size_bytes += part.stat().st_size
        files += 1
    return _table(recipe, files, size_bytes)


def _writer(recipe: Recipe, file: BinaryIO) -> Any:
    """Begin a file; what comes back has `write_batch` and `close`."""
    if recipe.delimiter:
        options = pyarrow.csv.WriteOptions(delimiter=recipe.delimiter, quoting_style="needed")
        return pyarrow.csv.CSVWriter(file, recipe.schema, write_options=options)
    return pyarrow.parquet.ParquetWriter(file, recipe.schema, compression="zstd")


def _table(recipe: Recipe, files: int, size_bytes: int) -> Table:
    return Table(
        name=recipe.name,
        system=recipe.system,
        domain=recipe.domain,
        description=recipe.description,
        path=_path(recipe),
        format="csv" if recipe.delimiter else "parquet",
        delimiter=recipe.delimiter,
        partition="day" if recipe.days else "",
        rows=recipe.rows,
        files=files,
        size_bytes=size_bytes,
        columns=tuple(
            TableColumn(column.name, str(column.type), column.description, column.personal)
            for column in recipe.columns
        ),
        references=recipe.references,
        dirt=recipe.dirt,
    )
