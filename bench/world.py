"""What the bench of object stores works on: the store, collections in it, the same on this disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench import servers, sets, snippet, standing, synthetic
from bench.measure import Figures, fresh
from bench.sizes import Sizes

STORE_BYTES = 12 << 30


@dataclass
class World:
    """The store as seen through the proxy, and what lies there.

    Attributes:
        store: endpoint and keys, as `servers.Store` has them.
        behaviour: of the proxy; it counts.
        bucket: URL of everything in the store.
        here: folder of the same collections on this disk.
        made: the set of the collection "far": name, paths, queries, rows, truth.
        setting, recall: nprobes and refine factor to ask it with, and what they find.
        partitions: of each of its buckets.
    """

    DELAY_S: ClassVar[float] = 0.02

    store: dict[str, str]
    behaviour: Any
    bucket: str
    here: Path
    made: dict[str, Any]
    sizes: Sizes
    say: Callable[[str], None]
    setting: list[int] = field(default_factory=list)
    recall: float = 0.0
    partitions: int = 0

    @property
    def small(self) -> str:
        """A small collection on this disk."""
        return str(self.here / "small" / "collection")

    @property
    def words(self) -> str:
        return "/".join(map(str, self.setting))

    def url(self, name: str) -> str:
        return f"{self.bucket}/{name}"

    def counted(self, work: Callable[..., Any], **arguments: Any) -> Figures:
        """Call a function in a fresh process; the proxy counts its requests and bytes."""
        self.behaviour.forget()
        figures: Figures = fresh(work, **arguments)
        seen = sum(self.behaviour.requests.values())
        return figures | {"seen": seen, "bytes_out": self.behaviour.bytes_out["get"]}

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Have the store answer without delay within the block."""
        self.behaviour.delay_s = 0.0
        try:
            yield
        finally:
            self.behaviour.delay_s = self.DELAY_S

    @staticmethod
    def read_json(path: Path) -> Any:
        return json.loads(path.read_text())

    @staticmethod
    def names_of_parquet(path: Path, count: int) -> list[list[str]]:
        """Read the ids that the first queries of a file of hits found."""
        import pyarrow.parquet

        found: dict[str, list[str]] = {}
        table = pyarrow.parquet.read_table(path, columns=["query_id", "id"])
        for query, name in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found.setdefault(query, []).append(name)
        return list(found.values())[:count]


@contextmanager
def opened(scratch: Path, sizes: Sizes, say: Callable[[str], None]) -> Iterator[World]:
    """Make the collections on this disk, start a store, copy them there."""
    made = _made(scratch, sizes, say)
    _build(scratch, made, sizes, say)
    with (
        servers.ceph_server(memory_bytes=STORE_BYTES) as ceph,
        servers.proxied(ceph) as (server, behaviour),
    ):
        bucket = ceph.new_bucket()
        for name in ("far", "curve", "one", "many"):
            _copy(ceph, scratch / name / "collection", bucket, name)
        _copy(ceph, scratch / "lance", bucket, "lance")
        say("collections are in the store")
        behaviour.delay_s = World.DELAY_S
        store = vars(servers.Store.of(server))
        yield World(dict(store), behaviour, bucket, scratch, made, sizes, say)


def _made(scratch: Path, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    """Write files of as many rows as a bucket of the curve has; "far" takes the first ones."""
    rows = sizes.far_buckets * sizes.far_rows
    files = max(rows // sizes.curve_rows, sizes.curve_buckets)
    say(f"making {files * sizes.curve_rows:,} clustered vectors and their true neighbours")
    made: dict[str, Any] = fresh(
        sets.write_clustered,
        folder=str(scratch),
        files=files,
        rows=files * sizes.curve_rows,
        queries=sizes.many,
    )
    made |= {
        "name": f"synthetic clusters, {rows:,} x {synthetic.DIM}",
        "rows": rows,
        "all": made["paths"],
        "paths": made["paths"][: rows // sizes.curve_rows],
        "truth": str(scratch / "truth.npz"),
    }
    fresh(
        sets.truth,
        paths=made["paths"],
        queries=made["queries"],
        k=standing.DEPTH,
        answer=made["truth"],
        most=sizes.judged,
    )
    return made


def _build(scratch: Path, made: dict[str, Any], sizes: Sizes, say: Callable[[str], None]) -> None:
    some = str(scratch / "some")
    Path(some).mkdir()
    (few,) = synthetic.write_files(some, 1, sizes.many_buckets * sizes.many_rows)
    for name, paths, bucket_rows in (
        ("far", made["paths"], sizes.far_rows),
        ("curve", made["all"][: sizes.curve_buckets], sizes.curve_rows),
        ("one", made["all"][:1], sizes.curve_rows),
        ("many", [few], sizes.many_rows),
        ("small", [few], sizes.many_buckets * sizes.many_rows),
    ):
        buckets = fresh(
            create,
            uri=str(scratch / name / "collection"),
            paths=paths,
            bucket_rows=bucket_rows,
            calibrate=name == "far",
        )
        say(f"{name}: {buckets} buckets of {bucket_rows:,} rows")
    first = made["paths"][: max(1, sizes.far_rows // sizes.curve_rows)]
    fresh(snippet.index, uri=str(scratch / "lance"), paths=first, by_snippet=False)
    say(f"the post's table of {sizes.far_rows:,} rows is indexed")


def create(uri: str, paths: list[str], bucket_rows: int, calibrate: bool) -> int:
    """Build a collection, stored as float16; returns how many buckets it has."""
    import atoll

    made = atoll.create(uri, paths, dtype="float16", bucket_rows=bucket_rows, calibrate=calibrate)
    return len(made.buckets)


def _copy(server: Any, folder: Path, bucket: str, name: str) -> None:
    client, container = server.client(), bucket.removeprefix("s3://")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        client.upload_file(str(path), container, f"{name}/{path.relative_to(folder).as_posix()}")
