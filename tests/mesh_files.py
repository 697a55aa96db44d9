"""Tables as a plant has them, in files of each format, and what a harvest finds of them."""

import lance
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from atoll.compute.inline import InlineExecutor
from atoll.core.config import StorageOptions
from atoll.mesh.harvest import Source, Technical, Unreadable, harvest
from atoll.storage import open_storage


def plant_table(rows=60, seed=0):
    """Look-alike of a milling machine's log: ids, text, decimals, flags, times, gaps."""
    random = np.random.default_rng(seed)
    torque = random.normal(40, 10, rows).round(1)
    return pa.table(
        {
            "udi": pa.array(range(1, rows + 1)),
            "product": [f"{'LMH'[number % 3]}{14860 + number}" for number in range(rows)],
            "type": ["LMH"[number % 3] for number in range(rows)],
            "torque [Nm]": pa.array(torque, mask=random.random(rows) < 0.2),
            "failure": random.random(rows) < 0.1,
            "at": pa.array(1_700_000_000 + 60 * np.arange(rows), pa.timestamp("s")),
        }
    )


def write_parquet(path, table, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def csv_bytes(table, delimiter=","):
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(table, sink, pa_csv.WriteOptions(delimiter=delimiter))
    return sink.getvalue().to_pybytes()


def lake(folder):
    """Write the plant's table in every way, beside some pictures; returns the folder."""
    table = plant_table()
    write_parquet(folder / "single" / "ai.parquet", table)
    for number in range(3):
        write_parquet(folder / "parts" / f"{number}.parquet", table.slice(20 * number, 20))
    for line in ("A", "B=1"):
        name = f"line={line.replace('=', '%3D')}"
        write_parquet(folder / "hive" / "year=2026" / name / "x.parquet", table)
    write_parquet(folder / "mixed" / "a.parquet", table)
    write_parquet(folder / "mixed" / "b.parquet", table.drop_columns(["at"]))
    for name, delimiter in (("a.csv", ","), ("b.csv", ";")):
        (folder / "loose").mkdir(exist_ok=True)
        (folder / "loose" / name).write_bytes(csv_bytes(table, delimiter))
    lance.write_dataset(table, str(folder / "welds.lance"))
    (folder / "img").mkdir()
    (folder / "img" / "1.png").write_bytes(b"png")
    return folder


def harvested(location, *, options=StorageOptions(), include=(), exclude=(), **given):
    """Harvest in this process; returns outcomes by what their location has behind the root."""
    source = Source(str(location), tuple(include), tuple(exclude), options)
    outcomes = harvest(source, **{"executor": InlineExecutor()} | given)
    root = open_storage(str(location)).url
    return {one.location.removeprefix(root).lstrip("/"): one for one in outcomes}


def found(location, **given):
    """Harvest what must be one asset."""
    (one,) = harvested(location, **given).values()
    assert isinstance(one, Technical), one
    return one


def refused(location, **given):
    """Harvest what must be one thing that cannot be read."""
    (one,) = harvested(location, **given).values()
    assert isinstance(one, Unreadable), one
    assert one.reason.isprintable()
    return one
