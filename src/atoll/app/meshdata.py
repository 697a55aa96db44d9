"""The data of the mesh's demo: a made-up plant's tables, what is made of them, some proteins."""

from __future__ import annotations

import gzip
from importlib import resources

import pyarrow as pa
import pyarrow.parquet as pq

from atoll.core.config import Settings
from atoll.core.errors import Conflict, NotFound
from atoll.core.files import scratch_folder, writing
from atoll.core.progress import OnProgress
from atoll.mesh.plant import MANIFEST, Manifest, generate, read_manifest
from atoll.storage import Storage
from atoll.vectors.embed.service import embed
from atoll.vectors.options import BuildOptions
from atoll.vectors.service import create_collection, open_collection

PROTEINS = 200


def write_data(
    place: Storage, scale: float, settings: Settings, on_progress: OnProgress
) -> Manifest:
    """Write what is not there yet: a file that is written anew would be a new revision.

    Args:
        place: where; the tables go to `tables`, machine_health to `maintenance`, the proteins to
            `lab` below it.
        scale: of the plant.
        settings: how to reach the place, and what work may take.
        on_progress: told of each stage.

    Raises:
        Conflict: a plant of another scale is there, or something else.
    """
    tables = place.child("tables")
    if not tables.exists(MANIFEST):
        generate(tables, scale=scale, scratch=settings.scratch, on_progress=on_progress)
    manifest = read_manifest(tables)
    if manifest.scale != scale:
        raise Conflict(
            f"{place} holds a plant of scale {manifest.scale:g}; take that, or another folder"
        )
    health = place.child("maintenance/machine_health")
    if not health.exists("part-00000.parquet"):
        health.put("part-00000.parquet", _parquet(_machine_health(tables)))
    _make_proteins(f"{place.url}/lab/proteins", settings, on_progress)
    return manifest


def _machine_health(tables: Storage) -> pa.Table:
    """Make of the sensor readings one row for each machine."""
    sensors = tables.child("scada/sensors")
    parts = [
        pq.read_table(pa.BufferReader(sensors.get(one.path)))
        for one in sensors.list()
        if one.path.endswith(".parquet")
    ]
    means = [("temperature_c", "mean"), ("vibration_mm_s", "mean"), ("vibration_mm_s", "max")]
    seen = [("at", "count"), ("at", "max")]
    return pa.concat_tables(parts).group_by("machine_id").aggregate([*means, *seen])


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _make_proteins(uri: str, settings: Settings, on_progress: OnProgress) -> None:
    try:
        open_collection(uri, settings)
        return
    except NotFound:
        pass
    with scratch_folder(settings.scratch, "demo") as folder:
        packaged = resources.files("atoll.app") / "data" / "proteins.fasta.gz"
        records = gzip.decompress(packaged.read_bytes()).split(b"\n>")[:PROTEINS]
        fasta, vectors = folder / "proteins.fasta", folder / "proteins.h5"
        with writing(fasta):
            fasta.write_bytes(b"\n>".join(records) + b"\n")
        embed([fasta], vectors, settings=settings, on_progress=on_progress)
        create_collection(
            uri, [vectors], options=BuildOptions(), settings=settings, on_progress=on_progress
        )
