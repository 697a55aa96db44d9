"""The nouns of the vectors part: frozen values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from atoll.core.errors import Corrupt, InvalidInput

DistanceType = Literal["cosine", "l2", "dot"]
DISTANCE_TYPES: tuple[DistanceType, ...] = get_args(DistanceType)
IndexKind = Literal["rabitq", "ivf_pq", "flat"]
INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

FORMAT_VERSION = 2
CODE_COLUMN = "_code"


@dataclass(frozen=True)
class Embedder:
    """What made a set of vectors; recorded in every file and checked at every step.

    Attributes:
        name: "randconv", "amplify", "esm2".
        revision: which weights: a published version, or the hash of the files that were loaded.
        pooling: how residues became one vector, e.g. "max-whitened", "mean", with tiling named.
        dim: length of a vector.
        precision: arithmetic the vectors were computed in, "float32" or "bfloat16".
    """

    name: str
    revision: str
    pooling: str
    dim: int
    precision: str = "float32"

    def __str__(self) -> str:
        """Name it as people read it: "randconv 1, max-whitened, 960-d"."""
        text = f"{self.name} {self.revision}, {self.pooling}, {self.dim}-d"
        return text if self.precision == "float32" else f"{text}, {self.precision}"


@dataclass(frozen=True)
class IndexSpec:
    """How the rows of each bucket are found.

    Attributes:
        kind: "rabitq" (ours), "ivf_pq" (Lance's), "flat" (none: every row is compared).
        num_partitions: IVF cells per bucket; 0 for "flat", and in a plan that leaves them open.
        num_sub_vectors: bytes of product quantisation per row, "ivf_pq" only.
        bits: bits per dimension of a code, "rabitq" only.
    """

    kind: IndexKind
    num_partitions: int = 0
    num_sub_vectors: int | None = None
    bits: int = 1


@dataclass(frozen=True)
class CollectionSpec:
    """What holds for every bucket of a collection; fixed at create.

    Attributes:
        dim: length of a vector.
        dtype: how vectors are stored; int8 keeps their directions alone, for cosine.
        distance_type: as LanceDB spells it.
        vector_column, id_column: their names in the tables.
        columns: further columns, name to Arrow type as text, in table order.
        arrow_schema: the tables' schema, Arrow IPC, base64.
        embedder: what made the vectors; None where the sources do not say.
        index: how buckets are searched.
    """

    dim: int
    dtype: Dtype
    distance_type: DistanceType
    vector_column: str
    id_column: str
    columns: dict[str, str]
    arrow_schema: str
    embedder: Embedder | None
    index: IndexSpec

    def index_of(self, bucket: Bucket) -> IndexSpec:
        """Tell how the rows of a bucket are found."""
        return bucket.index or self.index

    def check_vectors(self, what: str, dim: int, embedder: Embedder | None) -> None:
        """Make sure that vectors can be compared with those of the collection.

        Args:
            what: the file or the queries they are in, for the message.
            dim: their length.
            embedder: what made them; None where unknown.

        Raises:
            InvalidInput: another length, or another model where both are known.
        """
        if dim != self.dim:
            raise InvalidInput(
                f"{what}: vectors of {dim} values, but the collection holds vectors of {self.dim}; "
                "embed with the model it was made for, or create another collection",
                dim=dim,
                collection_dim=self.dim,
            )
        if embedder is not None and self.embedder is not None and embedder != self.embedder:
            raise InvalidInput(
                f"{what}: embedded with {embedder}, but the collection with {self.embedder}; such "
                "vectors cannot be compared: embed with the collection's model"
            )


@dataclass(frozen=True)
class Blob:
    """An immutable object below the collection: where it is and what it must hash to.

    Raises:
        Corrupt: where it is made, also by decoding: the path leads out of the collection.
    """

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Check the path: copies of a bucket make files by it on a reader's machine."""
        if self.path[:1] in ("", "/") or ".." in self.path.split("/"):
            raise Corrupt(
                f"{self.path!r} is no path inside a collection; whoever wrote what names it is "
                "mistaken, or not to be trusted",
                path=self.path,
            )

    @property
    def key(self) -> str:
        """What manifests call it by."""
        return self.sha256[:32]


@dataclass(frozen=True)
class SourceSlice:
    """Rows [start, stop) of a source file that went into a bucket.

    Attributes:
        uri: the file.
        version: what identified its content when it was planned (modification time or ETag, size).
        start, stop: row numbers in the file.
        checksum: xxh3-128 over the vectors and ids read, in file order.
        plan: hash of the plan that brought the rows in, where the bucket has another one; empty
            once some of them are gone.
    """

    uri: str
    version: str
    start: int
    stop: int
    checksum: str = ""
    plan: str | None = None


@dataclass(frozen=True)
class Bucket:
    """One table of the collection, pinned.

    Attributes:
        name: the table's name; its folder is `<name>.lance`.
        version: the Lance version searches read.
        stored_rows: rows in its files, deleted ones included; of an adopted table, the live ones of
            its version.
        skipped: source rows left out as invalid or duplicate.
        digest: xxh3-128 per column over all stored rows in stored order.
        plan: hash of the plan that made it.
        model: hash of the index model; None for "flat".
        layout: where its rows lie: see `atoll.vectors.layout`; None of an adopted table.
        ids: the id index: see `atoll.vectors.ids`.
        names: the ids in stored order: see `atoll.vectors.names`; None of an adopted table.
        sources: where its rows came from.
        rounding_error: root-mean-square relative error of the stored vectors; 0 where exact.
        deleted: positions of deleted rows: see `blobs.put_rows`; None where there are none.
        deleted_rows: how many.
        index: how the rows of an adopted table are found, through Lance; None where the bucket is
            our own, indexed as the collection says.
        first_version: the Lance version that has all stored rows, once `version` has not.
        indexed: columns that `version` has an index of.

    Raises:
        Corrupt: where it is made, also by decoding: the name is none of a folder.
    """

    name: str
    version: int
    stored_rows: int
    skipped: int
    digest: dict[str, str]
    plan: str
    model: str | None
    layout: Blob | None
    ids: Blob
    names: Blob | None
    sources: tuple[SourceSlice, ...]
    rounding_error: float = 0.0
    deleted: Blob | None = None
    deleted_rows: int = 0
    first_version: int | None = None
    index: IndexSpec | None = None
    indexed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the name: copies of a bucket make a folder of it on a reader's machine."""
        if self.name in ("", ".", "..") or "/" in self.name:
            raise Corrupt(
                f"{self.name!r} is no name of a bucket; whoever wrote what names it is mistaken, "
                "or not to be trusted",
                bucket=self.name,
            )

    @property
    def rows(self) -> int:
        """Rows that searches see."""
        return self.stored_rows - self.deleted_rows

    @property
    def is_adopted(self) -> bool:
        """Whether somebody else wrote the table, which stays theirs."""
        return self.index is not None

    @property
    def versions(self) -> set[int]:
        """Lance versions that must stay."""
        return {self.version, self.all_rows_at}

    @property
    def all_rows_at(self) -> int:
        """The Lance version that has all stored rows."""
        return self.first_version or self.version

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Objects that belong to it."""
        all_blobs = (self.layout, self.ids, self.names, self.deleted)
        return tuple(blob for blob in all_blobs if blob is not None)


@dataclass(frozen=True)
class CalibrationPoint:
    """What one setting finds, and what a query reads for it.

    Attributes:
        k: hits wanted.
        nprobes: partitions read per bucket.
        candidates: rows that get exact distances, a query: k x refine factor.
        recall: mean share of the true k nearest that was found.
        low, high: 95 % confidence interval of `recall`.
        near_recall: the same share among true neighbours within the calibration's distance; None
            where no query has any.
        rows: rows whose codes a query compares, mean.
        requests: reads of codes and vectors that a query needs when nothing is cached, mean; where
            that was not counted, no read joined with another.
        bytes: what they read, mean.
    """

    k: int
    nprobes: int
    candidates: int
    recall: float
    low: float
    high: float
    near_recall: float | None
    rows: float
    requests: float
    bytes: float

    @property
    def refine_factor(self) -> int:
        """The refine factor that gives at least these candidates."""
        return -(-self.candidates // self.k)


# What is asked of the store, mean: requests, and the bytes that they bring.
Asked = tuple[float, float]


@dataclass(frozen=True)
class Reads:
    """What queries ask of the store when nothing is cached, joined as reads are.

    Attributes:
        rows, buckets: that were searched, deleted rows included.
        queries: how many were counted, fewer where rows are very many.
        together: how many are answered together; all else is the mean of such groups.
        nprobes: partitions read per bucket, ascending.
        codes: for each nprobes, those of all buckets read together, as one process does.
        codes_apart: the same with each bucket read by itself, as the steps of a run do; their sum.
        row_nprobes: the same, of fewer settings.
        counts: of rows, ascending.
        vectors: for each of `row_nprobes` and `counts`, those of so many candidates of each query.
        ids: for each count, those of so many hits of each query.
    """

    rows: int
    buckets: int
    queries: int
    together: int
    nprobes: tuple[int, ...]
    codes: tuple[Asked, ...]
    codes_apart: tuple[Asked, ...]
    row_nprobes: tuple[int, ...]
    counts: tuple[int, ...]
    vectors: tuple[tuple[Asked, ...], ...]
    ids: tuple[Asked, ...]


@dataclass(frozen=True)
class Drift:
    """How rows that came later fare under a model that never saw them.

    Attributes:
        bucket: the bucket they are in.
        queries: rows of it that were searched for their neighbours.
        recall, low, high: at the default settings, as in a `CalibrationPoint`.
        spread: mean squared distance to their centroids.
    """

    bucket: str
    queries: int
    recall: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True)
class Calibration:
    """Recall measured over a grid of settings, and under which conditions.

    Attributes:
        created_at: UTC, ISO 8601.
        model: hash of the index model it holds for.
        buckets: names of the buckets there were.
        rows: rows in them.
        searched_rows: rows in the buckets that were searched for it, a sample where fewer.
        queries: how many.
        source: where they came from: "stored rows", or a file.
        seed: picked the stored rows.
        within: distance up to which `near_recall` counts neighbours.
        spread: mean squared distance of stored rows to their centroids; 0 for a file.
        cpu_s: CPU time it took.
        points: one for each k, nprobes and number of candidates.
        drift: of buckets that were added since.
        reads: what its queries ask of the store, from one alone to most together; empty where that
            was not counted.
    """

    created_at: str
    model: str
    buckets: tuple[str, ...]
    rows: int
    searched_rows: int
    queries: int
    source: str
    seed: int
    within: float
    spread: float
    cpu_s: float
    points: tuple[CalibrationPoint, ...]
    drift: tuple[Drift, ...] = ()
    reads: tuple[Reads, ...] = ()


@dataclass(frozen=True)
class PartitionTrial:
    """A number of partitions, tried on a sample of the rows.

    Attributes:
        num_partitions: in each bucket of the collection.
        sample_partitions: in the sample, so that they hold as many rows as over all buckets.
        measured: recall in the sample. Its points have the requests and bytes of a query of the
            collection that has nothing cached, centroids included.
    """

    num_partitions: int
    sample_partitions: int
    measured: Calibration


@dataclass(frozen=True)
class PartitionChoice:
    """How the number of partitions was chosen.

    Attributes:
        num_partitions: the chosen one.
        why: in words.
        k, recall: what it had to hold.
        rows: rows of the sources.
        sample_rows: those that were tried.
        queries: those that were held out and searched for.
        seed: drew both.
        cpu_s: CPU time it took.
        trials: by number of partitions; empty where the rows are too few.
    """

    num_partitions: int
    why: str
    k: int
    recall: float
    rows: int
    sample_rows: int
    queries: int
    seed: int
    cpu_s: float
    trials: tuple[PartitionTrial, ...]


@dataclass(frozen=True)
class Manifest:
    """One version of a collection: what is live, whole.

    Attributes:
        version: 1, 2, ... ; the next is made by a create-only put.
        created_at: UTC, ISO 8601.
        spec: what holds for every bucket.
        models: index models by hash.
        model: the one that new buckets use; None for "flat".
        buckets: the live buckets, in the order they were added.
        plan: hash of the plan whose result this version is; empty where it is nobody's.
        calibration: measured recall; None where nobody has calibrated.
        partitions: how their number was chosen; None where it was given or is the default.
        action: what made it: "create", "add", "delete", ...
        indexed: columns that every bucket of our own has an index of, for predicates.
    """

    version: int
    created_at: str
    spec: CollectionSpec
    models: dict[str, Blob]
    model: str | None
    buckets: tuple[Bucket, ...]
    format_version: int = FORMAT_VERSION
    created_by: str = ""
    plan: str = ""
    calibration: Blob | None = None
    partitions: Blob | None = None
    action: str = ""
    indexed: tuple[str, ...] = ()

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Objects that belong to it, apart from those of its buckets."""
        own = (*self.models.values(), self.calibration, self.partitions)
        return tuple(blob for blob in own if blob is not None)

    @property
    def rows(self) -> int:
        """Rows over all live buckets."""
        return sum(bucket.rows for bucket in self.buckets)


@dataclass(frozen=True)
class Issue:
    """One fault that `verify` found, with the bucket and the object it is in."""

    bucket: str
    what: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` read and what it found.

    Attributes:
        version: the manifest that was checked.
        buckets: live buckets read.
        rows: rows read.
        issues: faults; empty where all is well.
        notes: things that are not faults but worth knowing (a newer version by another writer).
    """

    version: int
    buckets: int
    rows: int
    issues: tuple[Issue, ...] = ()
    notes: tuple[Issue, ...] = field(default=())

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.issues
