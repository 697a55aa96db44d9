"""What a reader finds in the files of one table, before it has a place in the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from atoll.mesh.harvest.model import Fingerprint

NO_COLUMNS = pa.schema([])


@dataclass(frozen=True)
class Content:
    """What the files of one table hold.

    Attributes:
        schema: columns, without partitions.
        rows: exact; None where nobody counted.
        fingerprint: what finds duplicates.
        partitions: columns that stand in folder names.
        rows_estimate, details, remarks: as in `Technical`.
        version: of a format that counts them.
    """

    schema: pa.Schema
    rows: int | None
    fingerprint: Fingerprint
    partitions: pa.Schema = NO_COLUMNS
    rows_estimate: int | None = None
    details: Mapping[str, str | int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    version: int | None = None
