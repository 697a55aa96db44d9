"""What callers may ask for: checked values with the documented defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from atoll.core.errors import InvalidInput
from atoll.vectors import lanceerrors
from atoll.vectors.model import (
    DISTANCE_TYPES,
    DTYPES,
    INDEX_KINDS,
    DistanceType,
    Dtype,
    IndexKind,
)

OnBadRow = Literal["error", "skip"]
ON_BAD_ROW: tuple[OnBadRow, ...] = get_args(OnBadRow)
# What may carry a search out on AWS.
Cloud = Literal["stepfunctions", "lambda", "batch"]
CLOUDS: tuple[Cloud, ...] = get_args(Cloud)
# The other way that a search may take: from here.
LOCAL = "local"
STEPS = ("plan", "filter", "search", "fold", "measure", "refine")
# Of a create or add that many machines carry out.
BuildStep = Literal["plan", "build", "commit"]
BUILD_STEPS: tuple[BuildStep, ...] = get_args(BuildStep)
# Tells a step which bucket, part or group is its own: set by AWS Batch, or by us for one alone.
INDEX_VARIABLES = ("AWS_BATCH_JOB_ARRAY_INDEX", "ATOLL_STEP_INDEX")
CODE_BITS = (1, 2, 4, 8)
# Of partitions: as many as turn out best on a sample.
Auto = Literal["auto"]
AUTO: Auto = "auto"
DEVICES = ("cpu", "cuda")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def _check_count(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
        raise InvalidInput(f"{name} is {value!r}; give a whole number of at least 1")


def _check_partitions(value: int | Auto | None, recall: float | None = None) -> None:
    if isinstance(value, str):
        _check_choice("num_partitions", value, (AUTO,))
    else:
        _check_count("num_partitions", value)
    if recall is None:
        return
    if value != AUTO:
        raise InvalidInput(
            f'recall {recall} is what num_partitions "auto" is chosen for; a number of partitions '
            "holds what it holds: leave one of the two out"
        )
    if not 0 < recall < 1:
        raise InvalidInput(
            f"recall is {recall}; give the share to be held, between 0 and 1, e.g. 0.95"
        )


def _check_bits(bits: int | None) -> None:
    if bits not in (None, *CODE_BITS):
        raise InvalidInput(f"bits is {bits!r}; choose one of 1, 2, 4, 8")


@dataclass(frozen=True)
class BuildOptions:
    """What a create or add may be told; the defaults are the documented ones.

    Attributes:
        bucket_rows: rows a bucket holds at most.
        bucket_bytes: bytes of vectors a bucket holds at most; overrides `bucket_rows`.
        distance_type: what "near" means.
        dtype: how vectors are stored; int8 keeps their directions alone, for cosine.
        vector_column, id_column: names in the sources, and in the tables.
        ids: text file or URL of one id per line, for a single source that is .npy or .fvecs.
        batch_rows: rows handled at once.
        index: kind of index.
        num_partitions: IVF cells; None chooses max(1, rows / 500) for "rabitq" and the post's
            int(sqrt(rows)) for "ivf_pq"; "auto" tries several on a sample, "rabitq" only.
        recall: of the 10 nearest, what "auto" must hold; None is 0.95.
        num_sub_vectors: None chooses dim / 16 (the post's rule).
        bits: bits per dimension of a "rabitq" code: 1, 2, 4 or 8; None is 1.
        device: where the index is trained and rows are assigned: "cpu", or through torch "cuda".
        workers: worker processes, each with a bucket of its own, or all with one; None is as many
            as there are threads.
        on_invalid: what to do with NaN, infinity, and zero vectors under cosine.
        on_duplicate: what to do with an id met before.
        seed: picks the training sample and the rotation.
        calibrate: measure recall at the end of a create, drift at the end of an add; None does so
            with a "rabitq" index and more than 10,000 rows.
    """

    bucket_rows: int = 200_000_000
    bucket_bytes: int | None = None
    distance_type: DistanceType = "cosine"
    dtype: Dtype = "float32"
    vector_column: str | None = None
    id_column: str | None = None
    ids: str | Path | None = None
    batch_rows: int = 4096
    index: IndexKind = "rabitq"
    num_partitions: int | Auto | None = None
    recall: float | None = None
    num_sub_vectors: int | None = None
    bits: int | None = None
    device: str = "cpu"
    workers: int | None = None
    on_invalid: OnBadRow = "error"
    on_duplicate: OnBadRow = "error"
    seed: int = 0
    calibrate: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            InvalidInput: a choice that does not exist, or a number below 1.
        """
        _check_choice("distance_type", self.distance_type, DISTANCE_TYPES)
        _check_choice("dtype", self.dtype, DTYPES)
        _check_choice("index", self.index, INDEX_KINDS)
        _check_dtype(self)
        _check_choice("device", self.device, DEVICES)
        _check_bits(self.bits)
        _check_partitions(self.num_partitions, self.recall)
        _check_choice("on_invalid", self.on_invalid, ON_BAD_ROW)
        _check_choice("on_duplicate", self.on_duplicate, ON_BAD_ROW)
        for name in (
            "bucket_rows",
            "bucket_bytes",
            "batch_rows",
            "num_sub_vectors",
            "workers",
        ):
            _check_count(name, getattr(self, name))


def _check_dtype(options: BuildOptions) -> None:
    if options.dtype != "int8":
        return
    if options.distance_type != "cosine":
        raise InvalidInput(
            "--dtype int8 goes with --distance-type cosine: it keeps directions, but not the "
            f"lengths that {options.distance_type} needs; use float16"
        )
    if options.index == "ivf_pq":
        raise InvalidInput("--dtype int8 goes with --index rabitq and flat; for ivf_pq use float16")


def given_options(options: BuildOptions | None, given: dict[str, Any]) -> BuildOptions:
    """Lay keywords over build options.

    Raises:
        InvalidInput: there is no such option.
    """
    known = [option.name for option in fields(BuildOptions)]
    if unknown := [name for name in given if name not in known]:
        raise InvalidInput(f"there is no option {unknown[0]!r}; there are {', '.join(known)}")
    return replace(options or BuildOptions(), **given)


@dataclass(frozen=True)
class CompactOptions:
    """What a compaction may be told.

    Attributes:
        bucket_rows: rows a merged bucket holds at most.
        min_rows: buckets with fewer take part; None is half of `bucket_rows`.
        buckets: names of those that take part instead, whatever their size.
    """

    bucket_rows: int = BuildOptions.bucket_rows
    min_rows: int | None = None
    buckets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be merged.

        Raises:
            InvalidInput: a number below 1.
        """
        _check_count("bucket_rows", self.bucket_rows)
        _check_count("min_rows", self.min_rows)


@dataclass(frozen=True)
class RetrainOptions:
    """What a retrain may be told.

    Attributes:
        num_partitions: IVF cells; None chooses rows of the largest bucket / 500.
        bits: bits per dimension of a code: 1, 2, 4 or 8; None keeps those there are.
        seed: picks the training sample and the rotation.
    """

    num_partitions: int | None = None
    bits: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            InvalidInput: a number below 1, or bits that codes cannot have.
        """
        _check_count("num_partitions", self.num_partitions)
        _check_bits(self.bits)


@dataclass(frozen=True)
class SearchOptions:
    """What a search may be told.

    Attributes:
        k: hits wanted per query.
        nprobes: partitions read per bucket; None starts at 20 and widens until k rows can be found.
        refine_factor: k x this many rows get exact distances, over all buckets together ("ivf_pq":
            in each bucket, the post's way).
        recall: the share of the true k nearest that `nprobes` and `refine_factor` were chosen to
            find; None where they were given.
        exact: compare with every row.
        max_distance: no hit beyond it, by exact distance.
        where: SQL predicate on the stored columns; rows that fail it are never candidates.
        columns: further columns to return.
        with_vectors: return the stored vectors too.
        exclude_self: leave out the hit whose id is the query's own.
        group_by: keep only the best hit per value of this column.
        allow_partial: answer from the buckets that did answer.
    """

    k: int = 10
    nprobes: int | None = None
    refine_factor: int = 5
    recall: float | None = None
    exact: bool = False
    max_distance: float | None = None
    where: str | None = None
    columns: tuple[str, ...] = ()
    with_vectors: bool = False
    exclude_self: bool = False
    group_by: str | None = None
    allow_partial: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            InvalidInput: a number below 1, a recall that is no share, a max_distance of NaN.
        """
        for name in ("k", "nprobes", "refine_factor"):
            _check_count(name, getattr(self, name))
        if self.recall is not None and not 0 < self.recall <= 1:
            raise InvalidInput(
                f"recall is {self.recall}; give the share wanted, above 0 and up to 1, e.g. 0.95"
            )
        if self.max_distance is not None and math.isnan(self.max_distance):
            raise InvalidInput("max_distance is NaN; give a number, or leave it out")


def search_options(
    *,
    refine_factor: int | None = None,
    where: str | None = None,
    columns: Sequence[str] = (),
    **given: Any,
) -> SearchOptions:
    """Make the options of a search of what a caller gives.

    Args:
        refine_factor: None is the default.
        where: a predicate; refused here if it cannot be one.
        columns: further columns to return.
        given: the other fields of `SearchOptions`.

    Raises:
        InvalidInput: a value that makes no sense, or recall beside settings of one's own.
    """
    is_set = refine_factor is not None or given.get("nprobes") is not None or given.get("exact")
    if given.get("recall") is not None and is_set:
        raise InvalidInput(
            "recall chooses nprobes and the refine factor itself; give either recall, or "
            "nprobes and refine_factor, or exact"
        )
    if given.get("max_distance") == math.inf:
        given["max_distance"] = None
    return SearchOptions(
        refine_factor=SearchOptions.refine_factor if refine_factor is None else refine_factor,
        where=None if where is None else lanceerrors.predicate(where),
        columns=tuple(columns),
        **given,
    )
