"""What the command says of input it cannot use: the message, the exit code, nothing written."""

import csv
import json
import re

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from commandline import atoll, must
from vectordata import distances, gaussian, names, nearest, objects_of, write_h5, write_parquet

DIM = 16


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that the command runs in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(folder):
    """Hold a command to its refusal: exit code, one message on stderr, no file changed."""

    def check(pattern, *words, code=1):
        before = objects_of(folder)
        done = atoll(*words)
        assert (done.code, done.out) == (code, ""), done.err
        assert re.search(pattern, done.err, re.DOTALL), done.err
        if code == 1:
            assert done.err.startswith("atoll: ")
            assert done.err.count("\n") == 1
        assert objects_of(folder) == before

    return check


@pytest.fixture
def collection(folder):
    """A collection `c` of three buckets, its source `base.parquet`, and queries `q.npy`."""
    np.save(folder / "q.npy", gaussian(2, DIM, seed=5))
    write_parquet(folder / "base.parquet", gaussian(300, DIM), length=list(range(300)))
    must("create", "c", "base.parquet", "--bucket-rows", 100, "--workers", 1, "-q")
    return folder / "c"


def search(*words):
    return json.loads(must("search", *words, "--json", "-q"))


# -- files ----------------------------------------------------------------------------------------


def test_file_without_vectors_or_ids_is_named(refused, folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["embedding"] = gaussian(5, DIM)
        file["label"] = names(5)
    refused(r"a\.h5 has no column 'id'.*--id-column", "create", "c", "a.h5")
    refused(r"a\.h5 has no column 'vec'.*--vector-column", "create", "c", "a.h5",
            "--vector-column", "vec")  # fmt: skip


def test_ids_that_do_not_match_the_rows_are_counted(refused, folder):
    write_h5(folder / "a.h5", gaussian(50, DIM), names(49))
    refused(r"a\.h5: 'embedding' has 50 rows but 'id' has 49", "create", "c", "a.h5")
    np.save(folder / "b.npy", gaussian(50, DIM))
    (folder / "b.ids.txt").write_text("x\ny\n")
    refused(r"b\.npy has 50 rows but .*b\.ids\.txt has 2 lines", "create", "c", "b.npy")


def test_an_id_file_goes_with_one_file_of_vectors_alone(refused, folder):
    np.save(folder / "a.npy", gaussian(5, DIM))
    np.save(folder / "b.npy", gaussian(5, DIM))
    write_h5(folder / "c.h5", gaussian(5, DIM))
    (folder / "ids").write_text("a\nb\nc\nd\ne\n")
    refused("not with 2 files", "create", "c", "a.npy", "b.npy", "--ids", "ids")
    refused(r"c\.h5 holds its own ids", "create", "c", "c.h5", "--ids", "ids")
    refused("gone does not exist", "create", "c", "a.npy", "--ids", "gone")


def test_places_that_take_no_files_are_named(refused, folder):
    (folder / "in.fasta").write_text(">a\nMKV\n")
    refused(
        "/proc/demo cannot be written: nothing can be made there", "demo", "--out", "/proc/demo"
    )
    refused("/proc/x.h5 cannot be written", "embed", "in.fasta", "-o", "/proc/x.h5")
    refused(r"gone\.fasta does not exist", "embed", "gone.fasta", "-o", "x.h5")


def test_column_that_cannot_be_kept_is_told_in_a_warning(folder):
    write_h5(folder / "a.h5", gaussian(5, DIM), wave=np.zeros(5, complex))
    done = atoll("create", "c", "a.h5", "--workers", 1)
    assert done.code == 0
    assert re.fullmatch(r"atoll: warning: column left out .*a\.h5 column=wave .*\n", done.err)


@pytest.mark.parametrize("name", ["a.h5", "a.parquet", "a.npy", "a.fvecs"])
@pytest.mark.parametrize("share", [0, 0.71])
def test_truncated_and_empty_files_are_named(refused, folder, name, share):
    path, vectors = folder / name, gaussian(50, DIM)
    if name == "a.h5":
        write_h5(path, vectors)
    elif name == "a.parquet":
        write_parquet(path, vectors)
    elif name == "a.npy":
        np.save(path, vectors)
    else:
        dims = np.full((50, 1), DIM, "<i4").view("<f4")
        path.write_bytes(np.hstack([dims, vectors]).tobytes())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    why = "0 rows" if (name, share) == ("a.fvecs", 0) else "truncated"
    refused(rf"{re.escape(name)}.*{why}", "create", "c", name)
    np.save(folder / "base.npy", vectors)
    must("create", "c", "base.npy", "-q")
    refused(rf"{re.escape(name)}.*{why}", "search", "c", name)


def test_dims_that_differ_are_named_with_both(refused, collection, folder):
    write_h5(folder / "a.h5", gaussian(5, DIM))
    write_h5(folder / "b.h5", gaussian(5, 8), names(5, 5))
    refused(r"a\.h5 holds vectors of 16 but .*b\.h5 of 8", "create", "d", "a.h5", "b.h5")
    refused(
        r"b\.h5: vectors of 8 values, but the collection holds vectors of 16", "add", "c", "b.h5"
    )
    refused(
        "the queries: vectors of 8 values, but the collection holds vectors of 16",
        "search",
        "c",
        "b.h5",
    )


def test_vectors_without_numbers_are_refused(refused, folder):
    write_h5(folder / "a.h5", np.zeros((5, 0), "f4"))
    refused(r"a\.h5 holds vectors of dim 0", "create", "c", "a.h5")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.h5", r"gone\.h5 does not exist"),
        ("gone*.h5", r"gone\*\.h5 does not exist or holds no vector files"),
        ("empty", "empty does not exist or holds no vector files"),
        ("what.xyz", r"what\.xyz is no kind of file.*FASTA files go through 'atoll embed' first"),
        ("half", "part 2 of 2 is missing"),
    ],
)
def test_sources_that_are_none_are_named(refused, folder, source, message):
    (folder / "empty").mkdir()
    (folder / "what.xyz").write_text("hello")
    (folder / "in.fasta").write_text(">a\nMKV\n>b\nMKL\n")
    must("embed", "in.fasta", "-o", "half", "--part", "1/2", "-q")
    refused(message, "create", "c", source)


def test_vectors_of_two_models_never_meet(refused, folder):
    for name in "ab":
        made_by = {"model": name, "revision": "1", "pooling": "mean", "dim": DIM}
        write_h5(folder / f"{name}.h5", gaussian(9, DIM), [f"{name}{i}" for i in range(9)], made_by)
    refused(r"a\.h5 was embedded by a 1.*b\.h5 by b 1", "create", "c", "a.h5", "b.h5")
    must("create", "c", "a.h5", "-q")
    refused(r"b\.h5: embedded with b 1.*the collection with a 1", "add", "c", "b.h5")
    refused("the queries: embedded with b 1.*the collection with a 1", "search", "c", "b.h5")


def test_column_that_is_new_or_reserved_is_refused(refused, collection, folder):
    for name in ("colour", "_code", "_distance", "query_id"):
        more = {name: np.arange(9)}
        write_h5(folder / f"{name}.h5", gaussian(9, DIM), names(9, 1000), **more)
    refused("have a column 'colour' that collection .*/c does not have", "add", "c", "colour.h5")
    for name in ("_code", "_distance", "query_id"):
        refused(rf"{name}\.h5: column '{name}' cannot be kept.*rename", "create", "d", f"{name}.h5")


# -- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["rabitq", "flat"])
@pytest.mark.parametrize(
    ("value", "why"), [(np.nan, "NaN or infinity"), (-np.inf, "NaN or infinity"), (0, "zero")]
)
def test_rows_that_cannot_be_searched_are_counted_and_named(refused, folder, value, why, index):
    vectors = gaussian(300, DIM)
    vectors[[7, 150, *range(280, 290)]] = value
    write_h5(folder / "a.h5", vectors)
    first = rf"^atoll: 12 rows .*a\.h5 row 7 \(id 'p00007'\): {why}.*a\.h5 row 150 .* and 7 more"
    command = ("create", "c", "a.h5", "--index", index, "--workers", 1)
    refused(first + ".*--on-invalid skip", *command)
    refused(first, *command, "--bucket-rows", 100)
    refused("c is no collection", "info", "c")


def test_refused_rows_leave_other_builds_and_live_buckets_alone(refused, collection, folder):
    bad = gaussian(30, DIM)
    bad[3] = np.nan
    write_h5(folder / "bad.h5", bad, names(30, 500))
    write_h5(folder / "good.h5", gaussian(30, DIM), names(30, 600))
    refused("1 row cannot be searched", "add", "c", "good.h5", "bad.h5")
    must("add", "c", "good.h5", "-q")
    must("verify", "c")


def test_rows_left_out_are_reported_and_counted(folder):
    vectors = gaussian(300, DIM)
    vectors[7], vectors[250] = np.nan, 0
    write_h5(folder / "a.h5", vectors)
    out = must("create", "c", "a.h5", "--on-invalid", "skip", "--bucket-rows", 100)
    assert "298 rows" in out
    counts = [line.split()[1:] for line in out.splitlines() if line.startswith("bucket_")]
    assert counts == [["99", "1"], ["100", "0"], ["99", "1"]]
    reports = sorted((folder / "c" / "_atoll" / "reports").iterdir())
    rows = [row for path in reports for row in csv.DictReader(path.read_text().splitlines())]
    assert [(row["row"], row["id"]) for row in rows] == [("7", "p00007"), ("250", "p00250")]


@pytest.mark.parametrize("index", ["rabitq", "flat"])
def test_nothing_but_invalid_rows_is_refused_even_with_skip(refused, folder, index):
    write_h5(folder / "a.h5", np.full((50, DIM), np.nan, "f4"))
    write_h5(folder / "b.h5", gaussian(50, DIM), names(50, 50))
    options = ("--index", index, "--on-invalid", "skip", "--workers", 1)
    refused("can be searched", "create", "c", "a.h5", *options)
    must("create", "c", "b.h5", *options, "-q")
    refused(r"no row of .*a\.h5 can be searched", "add", "c", "a.h5", "--on-invalid", "skip")


def test_values_beyond_float16_are_refused_where_it_is_asked_for(refused, folder):
    write_h5(folder / "a.h5", gaussian(50, DIM) * 1e6)
    refused("50 vectors have values beyond 65504 .*'p00000'.*--dtype float32", "create", "c",
            "a.h5", "--dtype", "float16")  # fmt: skip


def test_duplicate_ids_are_named_with_both_places(refused, folder):
    ids = names(50)
    ids[7] = ids[9] = ids[3]
    write_h5(folder / "a.h5", gaussian(50, DIM), ids)
    write_h5(folder / "b.h5", gaussian(50, DIM), names(50, 40))
    within = r"2 duplicate ids: 'p00003' at .*a\.h5 row 3 and .*a\.h5 row 7; .* row 3 and .* row 9;"
    refused(within + ".*--on-duplicate skip", "create", "c", "a.h5")
    across = r"12 duplicate ids.*'p00040' at .*a\.h5 row 40 and .*b\.h5 row 0;.* and 7 more"
    refused(across, "create", "c", "a.h5", "b.h5")
    assert "88 rows" in must("create", "c", "a.h5", "b.h5", "--on-duplicate", "skip")


def test_ids_that_live_buckets_hold_are_named_or_skipped(refused, collection, folder):
    write_h5(folder / "a.h5", gaussian(50, DIM, seed=1), names(50, 280))
    refused(r"20 duplicate ids: 'p00280' \(.*a\.h5 row 0\) is in bucket_00002_\w+ already.* and 15",
            "add", "c", "a.h5")  # fmt: skip
    must("add", "c", "a.h5", "--on-duplicate", "skip", "-q")
    assert json.loads(must("info", "c", "--json"))["rows"] == 330
    rows = search("c", "--id", "p00280", "-k", 1, "--with-vectors")
    assert rows[0]["embedding"] == gaussian(300, DIM)[280].tolist()


# -- search ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", 0], "k is 0; give a whole number of at least 1"),
        (["--nprobes", 0], "nprobes is 0"),
        (["--refine-factor", 0], "refine_factor is 0"),
        (["--columns", "length,nme"], "no column 'nme'; it has embedding, id, length"),
        (["--columns", "_code"], "no column '_code'"),
        (["--group-by", "nme"], "no column 'nme'"),
        (["--group-by", "embedding"], "--group-by embedding: cannot group by a"),
        (["--where", "length >"], "where: .*length > .*sql parser error"),
        (["--where", ""], "where: .*sql parser error"),
        (["--where", "nothere > 3"], "where: .*No field named nothere.*embedding, id, length"),
        (["--where", "length > 'x'"], "where: .*could not convert"),
        (["--where", "length"], "where: .*does not return a boolean"),
        (["--where", "length > 5 garbage"], "where: .*found: garbage"),
        (["--where", "length > 5; select 1"], "where: .*found: ;"),
        (["--where", "length > 5) garbage"], "where: the parentheses of .* do not match"),
        (["--where", "id = 'x"], "where: .*Unterminated string"),
        (["-o", "hits.txt"], r"hits\.txt is none of \.csv, \.parquet, \.json"),
        (["-o", "none/hits.csv"], "none/hits.csv cannot be written.*make the folder first"),
        (["-o", "base.parquet"], r"base\.parquet exists.*--force"),
    ],
)
def test_search_options_without_sense_are_refused(refused, collection, words, message):
    refused(message, "search", "c", "q.npy", *words)


@pytest.mark.parametrize("index", ["ivf_pq", "flat"])
def test_predicate_is_read_to_its_end_by_every_index(refused, folder, index):
    np.save(folder / "a.npy", gaussian(50, DIM))
    must("create", "c", "a.npy", "--index", index, "-q")
    command = ("search", "c", "a.npy", "-k", 1)
    refused("where: .*found: garbage", *command, "--where", "id is not null garbage")
    refused("where: .*found: garbage", *command, "--exact", "--where", "id is not null garbage")
    quoted = "id <> 'a)b' -- (\n and (id = \"a)\" or id = 'a.npy:3')"
    assert [hit["id"] for hit in search(*command[1:], "--where", quoted)] == ["a.npy:3"] * 50


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, DIM), np.nan), r"3 of 3 queries .*'x\.npy:0'.*NaN"),
        (np.zeros((1, DIM)), "1 of 1 query .*zero vector"),
        (np.zeros((0, DIM)), r"x\.npy has 0 rows"),
    ],
)
def test_queries_that_cannot_be_searched_with_are_named(
    refused, collection, folder, values, message
):
    np.save(folder / "x.npy", values.astype("f4"))
    refused(message, "search", "c", "x.npy")


def test_two_queries_of_one_id_are_refused_with_both_places(refused, collection, folder):
    (folder / "q.fasta").write_text(">a\nMKV\n>b\nMKL\n>a some text\nMST\n")
    refused(r"'a' stands at .*q\.fasta:1 and at .*q\.fasta:5", "search", "c", "q.fasta")
    write_h5(folder / "q.h5", gaussian(3, DIM), ["x", "y", "x"])
    refused("'x' stands at query 1 and at query 3", "search", "c", "q.h5")
    refused("stands at query 1 and at query 2", "search", "c", *["--id", names(1)[0]] * 2)


def test_missing_and_foreign_queries_are_named(refused, collection, folder):
    (folder / "empty.fasta").touch()
    (folder / "what.xyz").write_text("hello")
    refused(r"gone\.npy does not exist", "search", "c", "gone.npy")
    refused(r"gone\.fasta does not exist", "search", "c", "gone.fasta")
    refused(r"empty\.fasta is empty", "search", "c", "empty.fasta")
    refused(r"what\.xyz:1: text before the first '>'", "search", "c", "what.xyz")
    refused("c has no row with the id 'nobody'", "search", "c", "--id", "p00003", "--id", "nobody")
    refused("give QUERIES or --id", "search", "c", code=2)


def test_sequences_need_a_collection_that_knows_its_model(refused, collection, folder):
    (folder / "x.fasta").write_text(">a\nMKV\n")
    refused("does not record which model made its vectors", "search", "c", "x.fasta")


def test_more_hits_than_rows_returns_all(collection):
    hits = search("c", "q.npy", "-k", 1000)
    expected = nearest(gaussian(300, DIM), names(300), gaussian(2, DIM, seed=5), "cosine", 300)
    assert [hit["id"] for hit in hits] == [*expected[0], *expected[1]]


# -- places and numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nothing", "nothing is no collection; make one with `atoll create nothing"),
        (".", "is no collection"),
        ("base.npy", r"base\.npy is a file; a collection is a folder"),
        ("memory://x", "memory://x cannot hold tables"),
        ("ftp://x/y", "scheme 'ftp' is not known"),
        ("", "'' is not a path"),
    ],
)
@pytest.mark.parametrize(
    "words", ["info {}", "verify {}", "gc {}", "drop-bucket {} x", "add {} base.npy",
              "search {} base.npy"]
)  # fmt: skip
def test_place_that_is_no_collection_is_named(refused, folder, place, message, words):
    np.save(folder / "base.npy", gaussian(5, DIM))
    refused(message, *(word.format(place) for word in words.split(" ")))


def test_create_does_not_write_over_what_is_there(refused, collection, folder):
    refused("c is a collection already .*300 rows.*atoll add", "create", "c", "q.npy")
    (folder / "d").mkdir()
    (folder / "d" / "thesis.txt").write_text("mine")
    refused(r"d is not empty \(thesis\.txt\)", "create", "d", "q.npy")
    refused("cannot hold tables", "create", "memory://x", "q.npy")
    refused(r"q\.npy is a file; a collection is a folder", "create", "q.npy", "base.parquet")


@pytest.mark.parametrize(
    "words",
    ["--num-partitions 0", "--bucket-rows 0", "--batch-rows 0", "--workers 0", "--threads 0",
     "--distance-type euclid", "--num-sub-vectors 0", "--scratch a.npy", "--on-invalid drop"],
)  # fmt: skip
def test_numbers_out_of_range_are_a_usage_error(refused, folder, words):
    np.save(folder / "a.npy", gaussian(5, DIM))
    refused(f"Invalid value for '{words.split()[0]}'", "create", "c", "a.npy", *words.split(),
            code=2)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--index ivf_pq --num-sub-vectors 5", "16 do not divide into 5 sub-vectors"),
        ("--bucket-bytes 1", "a bucket of 1 bytes holds no row"),
        ("--bucket-rows 99999999999", "--bucket-rows 99,999,999,999 is above"),
        ("--memory lots", "'lots' is not a value for memory"),
        ("--vector-column id", "column 'id' is string; vectors are lists of numbers"),
        ("--id-column embedding", "column 'embedding' is .*; ids are strings or integers"),
    ],
)
def test_numbers_and_names_that_do_not_fit_are_refused(refused, folder, words, message):
    write_parquet(folder / "a.parquet", gaussian(5, DIM))
    refused(message, "create", "c", "a.parquet", *words.split())


def test_dim_without_a_default_for_sub_vectors_is_refused(refused, folder):
    np.save(folder / "a.npy", gaussian(5, 20))
    refused("20 do not divide into sub-vectors of 16.*--num-sub-vectors", "create", "c", "a.npy",
            "--index", "ivf_pq")  # fmt: skip


def test_bucket_that_is_not_live_cannot_be_dropped(refused, collection):
    refused("has no live bucket 'x'; `atoll info` lists them", "drop-bucket", "c", "x")


# -- odd, but fine --------------------------------------------------------------------------------

INDEXES = {"rabitq": [], "ivf_pq": ["--num-sub-vectors", 1], "flat": []}


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("distance_type", ["cosine", "l2"])
@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param(np.ones((600, DIM), "f4"), id="all rows equal"),
        pytest.param(gaussian(1, DIM), id="one row"),
        pytest.param(gaussian(7, DIM), id="fewer rows than partitions and codewords"),
        pytest.param(np.abs(gaussian(60, 1)) + 1, id="dim 1"),
        pytest.param(1 + gaussian(600, DIM) / 1e4, id="one giant cluster"),
    ],
)
def test_odd_shapes_are_built_and_searched(folder, vectors, index, distance_type):
    np.save(folder / "a.npy", vectors)
    options = [] if index == "flat" else ["--num-partitions", 16]
    must("create", "c", "a.npy", "--index", index, "--distance-type", distance_type, "-q",
         *options, *INDEXES[index])  # fmt: skip
    must("verify", "c")
    hits = search("c", "--id", "a.npy:0", "-k", 5, "--nprobes", 16, "--refine-factor", 200)
    ids = [f"a.npy:{row}" for row in range(len(vectors))]
    true = np.sort(distances(vectors[:1], vectors, distance_type)[0])[:5]
    assert [hit["_distance"] for hit in hits] == pytest.approx(true.tolist(), abs=1e-6)
    if index != "ivf_pq":  # Lance leaves open which of equal rows it returns.
        assert [hit["id"] for hit in hits] == nearest(vectors, ids, vectors[:1], distance_type, 5)[
            0
        ]


ODD_IDS = ["é中😀", "x" * 10240, "new\nline", 'quo"te', "com,ma'; drop", " lead", "tab\t", "",
           "null", "../../etc", "\r\n", "%s{}"]  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_odd_ids_come_back_whole(folder, suffix):
    write_h5(folder / "a.h5", gaussian(len(ODD_IDS), DIM), ODD_IDS)
    must("create", "c", "a.h5", "-q")
    words = [word for name in ODD_IDS for word in ("--id", name)]
    must("search", "c", *words, "-k", 1, "-o", f"hits.{suffix}")
    path = folder / f"hits.{suffix}"
    if suffix == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif suffix == "json":
        rows = json.loads(path.read_text())
    else:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    assert [(row["query_id"], row["id"]) for row in rows] == [(name, name) for name in ODD_IDS]
