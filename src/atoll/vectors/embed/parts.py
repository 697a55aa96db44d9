"""The parts of a folder that `embed` fills: a record beside the shards of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.files import reading


def part_name(part: tuple[int, int]) -> str:
    """Name part (i, n), from 1: "part-00003-of-00007"; its record has the suffix ".json"."""
    return f"part-{part[0]:05}-of-{part[1]:05}"


def part_record(
    job: dict[str, Any], shards: Sequence[tuple[str, int]], *, is_finished: bool
) -> dict[str, Any]:
    """Say what a part is to be and how far it is.

    Args:
        job: what was asked for, with its `part`.
        shards: name and rows of each finished file.
        is_finished: whether these are all.
    """
    return {
        "job": job,
        "state": "finished" if is_finished else "running",
        "rows": sum(rows for _, rows in shards),
        "shards": [{"file": name, "rows": rows} for name, rows in shards],
    }


def read_records(folder: Path) -> dict[Path, dict[str, Any]]:
    """Read the records of all parts of a folder, in order.

    Raises:
        Corrupt: one is no such record. Forbidden: it may not be read.
    """
    return {path: _read(path) for path in sorted(folder.glob("part-*-of-*.json"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        with reading(path):
            record: dict[str, Any] = json.loads(path.read_text())
        record["job"]["part"], record["state"], record["shards"]
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path} is no record of an embedded part: {error!r}") from error
    return record


def embedded_shards(folder: Path) -> list[Path]:
    """List the shards of a folder that `embed` filled, all parts of it.

    Returns:
        HDF5 files in the order of parts and shards; empty where `embed` wrote none here.

    Raises:
        InvalidInput: a part is missing, unfinished, or lacks a shard it recorded.
        Corrupt: a record cannot be read.
    """
    records = {tuple(record["job"]["part"]): record for record in read_records(folder).values()}
    if not records:
        return []
    parts = max(count for _, count in records)
    faults: list[str] = []
    files: list[Path] = []
    for number in range(1, parts + 1):
        record = records.get((number, parts))
        if record is None or record["state"] != "finished":
            faults.append(f"part {number} of {parts} is {'unfinished' if record else 'missing'}")
            continue
        files += [folder / shard["file"] for shard in record["shards"]]
    faults += [f"{path.name} is missing" for path in files if not path.exists()]
    if faults:
        raise InvalidInput(
            f"{folder} is not embedded whole: {'; '.join(faults)}; run those `atoll embed` "
            "commands again, they go on where they stopped",
            faults=faults,
        )
    return files
