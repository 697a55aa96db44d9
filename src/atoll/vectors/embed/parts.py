"""The parts of a folder that `embed` fills: a record beside the shards of each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import Any

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.files import reading
from atoll.storage import Storage

_RECORD_NAME = re.compile(r"part-\d+-of-\d+\.json")


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
    found = {}
    for path in sorted(folder.glob("part-*-of-*.json")):
        with reading(path):
            data = path.read_bytes()
        found[path] = parsed_record(path, data)
    return found


def stored_records(folder: Storage) -> dict[str, dict[str, Any]]:
    """Read the records of all parts of a folder of a store, by name, in order.

    Raises:
        Corrupt: one is no such record.
    """
    names = sorted(entry.path for entry in folder.list())
    return {
        name: parsed_record(f"{folder}/{name}", folder.get(name))
        for name in names
        if _RECORD_NAME.fullmatch(name)
    }


def parsed_record(path: Path | str, data: bytes) -> dict[str, Any]:
    """Read the record of a part.

    Raises:
        Corrupt: it is no such record.
    """
    try:
        record: dict[str, Any] = json.loads(data)
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
    records = read_records(folder)
    names = _whole(folder, records.values(), lambda name: (folder / name).exists())
    return [folder / name for name in names]


def stored_shards(folder: Storage, names: Set[str]) -> list[str]:
    """List the shards of a folder of a store, as `embedded_shards` does.

    Args:
        folder: where `embed` may have written.
        names: of all objects right in it.
    """
    if not any(map(_RECORD_NAME.fullmatch, names)):
        return []
    return _whole(folder, stored_records(folder).values(), names.__contains__)


def _whole(
    folder: Path | Storage, found: Iterable[dict[str, Any]], is_there: Callable[[str], bool]
) -> list[str]:
    """List the shards that records name.

    Raises:
        InvalidInput: something is missing.
    """
    records = {tuple(record["job"]["part"]): record for record in found}
    if not records:
        return []
    parts = max(count for _, count in records)
    faults: list[str] = []
    names: list[str] = []
    for number in range(1, parts + 1):
        record = records.get((number, parts))
        if record is None or record["state"] != "finished":
            faults.append(f"part {number} of {parts} is {'unfinished' if record else 'missing'}")
            continue
        names += [shard["file"] for shard in record["shards"]]
    faults += [f"{name} is missing" for name in names if not is_there(name)]
    if faults:
        raise InvalidInput(
            f"{folder} is not embedded whole: {'; '.join(faults)}; run those `atoll embed` "
            "commands again, they go on where they stopped",
            faults=faults,
        )
    return names
