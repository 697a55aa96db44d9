from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atoll.core.errors import Forbidden, InvalidInput, NotFound
from atoll.storage import open_storage
from atoll.vectors.model import Embedder
from atoll.vectors.queries import read_whole
from atoll.vectors.sources import common_schema, open_sources, with_columns

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ["a", "bb", "Ünï", ""]


def write_h5(path, values=VALUES, ids=IDS, names=("embedding", "id"), attrs=(), **columns):
    with h5py.File(path, "w") as h5:
        h5[names[0]] = values
        h5.create_dataset(names[1], data=ids)
        for name, column in columns.items():
            h5.create_dataset(name, data=column)
        h5.attrs.update(attrs)
    return path


def write_parquet(path, vectors=None, ids=IDS, **columns):
    if vectors is None:
        vectors = pa.array(VALUES.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": vectors, "id": ids, **columns}), path, row_group_size=3)
    return path


def write_vecs(path, rows):
    path.write_bytes(b"".join(np.int32(len(row)).tobytes() + row.tobytes() for row in rows))
    return path


def read(source, *args, **options):
    table = pa.Table.from_batches(source.read(*args, **options))
    return table["vector"].to_pylist(), table["id"].to_pylist()


def only(path, **options):
    (source,) = open_sources([path], **options)
    return source


def refused(*paths, words, kind=InvalidInput, **options):
    """Opening or reading must fail, naming the file and the words."""
    with pytest.raises(kind, match=words) as caught:
        read_whole(open_sources(list(paths), **options))
    assert str(paths[-1]) in str(caught.value)
    return caught.value


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("embedding", "id"), ("embeddings", "ids")])
def test_hdf5_written_by_others_is_read(tmp_path, names):
    source = only(write_h5(tmp_path / "x.h5", names=names))
    assert (source.rows, source.dim, source.embedder) == (4, 3, None)
    assert source.uri == str(tmp_path / "x.h5")
    assert read(source) == (VALUES.tolist(), IDS)


def test_named_columns_win_over_the_usual_names(tmp_path):
    path = write_h5(tmp_path / "x.h5", names=("v", "acc"), embedding=np.ones((4, 2)))
    source = only(path, vector_column="v", id_column="acc")
    assert read(source) == (VALUES.tolist(), IDS)
    assert (source.vector_name, source.id_name) == ("v", "acc")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([b"abc", b"a", b"", b"a\0c"]), ["abc", "a", "", "a\0c"]),
        (np.array([b"aa", b"bb", b"cc", b"dd"]), ["aa", "bb", "cc", "dd"]),
        (np.array([3, -1, 2**40, 0]), ["3", "-1", str(2**40), "0"]),
        (np.array([1, 2, 3, 4], ">u2"), ["1", "2", "3", "4"]),
    ],
)
def test_ids_of_every_kind_become_strings(tmp_path, ids, expected):
    source = only(write_h5(tmp_path / "x.h5", ids=ids))
    assert [name for part in source.ids(batch_rows=3) for name in part.to_pylist()] == expected
    assert read(source)[1] == expected


@pytest.mark.parametrize("dtype", ["f2", "f8", "i1", "u1", "i4", ">f4"])
@pytest.mark.parametrize("kind", ["h5", "npy"])
def test_numbers_of_every_kind_become_float32(tmp_path, dtype, kind):
    path = tmp_path / f"x.{kind}"
    write_h5(path, VALUES.astype(dtype)) if kind == "h5" else np.save(path, VALUES.astype(dtype))
    (batch,) = only(path).read()
    assert batch.schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert batch["vector"].to_pylist() == VALUES.tolist()


def test_float16_widens_exactly_and_nan_passes(tmp_path):
    halves = np.frombuffer(np.arange(1 << 16, dtype=np.uint16).tobytes(), np.float16).reshape(-1, 4)
    np.save(tmp_path / "x.npy", halves)
    np.testing.assert_array_equal(read_whole([only(tmp_path / "x.npy")]).vectors, halves)


@pytest.mark.parametrize("layout", [{}, {"chunks": (3, 2)}, {"chunks": (2, 3), "compression": 4}])
def test_hdf5_layouts_give_the_same_rows_in_any_range(tmp_path, layout):
    values = np.random.default_rng(1).standard_normal((20, 3)).astype(np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5.create_dataset("embedding", data=values, **layout)
        h5["id"] = [f"i{n}" for n in range(20)]
    source = only(tmp_path / "x.h5")
    sizes = [len(batch) for batch in source.read(1, 18, 4)]
    assert sum(sizes) == 17
    assert max(sizes) <= 4
    assert read(source, 1, 18, 4) == (values[1:18].tolist(), [f"i{n}" for n in range(1, 18)])


def test_a_file_of_our_embedder_says_what_made_it(tmp_path):
    attrs = {"model": "randconv", "revision": "1", "pooling": "max", "dim": 3}
    description = ["one", "two", "three", "four"]
    source = only(write_h5(tmp_path / "x.h5", attrs=attrs, description=description))
    assert source.embedder == Embedder("randconv", "1", "max", 3, "float32")
    assert source.extra == pa.schema([("description", pa.string())])
    assert next(source.read())["description"].to_pylist() == description


def test_further_hdf5_columns_keep_their_types_and_can_be_chosen(tmp_path):
    path = write_h5(
        tmp_path / "x.h5", length=np.arange(4, dtype=">i4"), score=np.ones(4), other=np.ones(3)
    )
    source = only(path)
    assert source.extra == pa.schema([("length", pa.int32()), ("score", pa.float64())])
    (batch,) = source.read(columns=["length"])
    assert batch.schema.names == ["vector", "id", "length"]
    assert batch["length"].to_pylist() == [0, 1, 2, 3]
    with pytest.raises(InvalidInput, match="no column 'nope'"):
        list(source.read(columns=["nope"]))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float16(), 3),
        pa.list_(pa.int8()),
    ],
)
def test_parquet_lists_of_every_kind_are_read_in_any_range(tmp_path, kind):
    vectors = pa.array(VALUES.astype(np.float16).tolist(), kind)
    source = only(write_parquet(tmp_path / "x.parquet", vectors, organism=list("wxyz")))
    assert source.extra == pa.schema([("organism", pa.string())])
    assert read(source) == (VALUES.tolist(), IDS)
    assert read(source, 2, 4, 1) == (VALUES[2:].tolist(), IDS[2:])
    assert [part.to_pylist() for part in source.ids(1, 3, 1)] == [["bb"], ["Ünï"]]


def test_the_only_list_of_a_parquet_file_is_its_vectors(tmp_path):
    table = {"emb": VALUES.tolist(), "id": pa.array([1, 2, 3, 4]).dictionary_encode(), "n": IDS}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    assert read(only(tmp_path / "x.parquet")) == (VALUES.tolist(), ["1", "2", "3", "4"])


def test_plain_arrays_take_ids_from_beside_from_a_file_or_make_them(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    assert read(only(tmp_path / "x.npy"))[1] == [f"x.npy:{n}" for n in range(4)]
    (tmp_path / "x.ids.txt").write_bytes("\ufeffa\r\nbb\nÜ ï\nlast".encode())
    assert read(only(tmp_path / "x.npy"), 1, 4, 2)[1] == ["bb", "Ü ï", "last"]
    (tmp_path / "other.txt").write_text("1\n2\n3\n4\n")
    assert read(only(tmp_path / "x.npy", ids=tmp_path / "other.txt"))[1] == list("1234")


def test_ids_in_long_text_files_are_found_by_line(tmp_path):
    rows = 200_001
    np.save(tmp_path / "x.npy", np.ones((rows, 1), np.uint8))
    (tmp_path / "x.ids.txt").write_text("\n".join(f"protein-{n}" for n in range(rows)))
    source = only(tmp_path / "x.npy")
    for first in (0, 65_535, 65_536, 131_071, rows - 3):
        (found,) = source.ids(first, first + 3)
        assert found.to_pylist() == [f"protein-{n}" for n in range(first, first + 3)]


@pytest.mark.parametrize(("suffix", "dtype"), [("fvecs", "<f4"), ("bvecs", "u1"), ("ivecs", "<i4")])
def test_vecs_files_are_read(tmp_path, suffix, dtype):
    source = only(write_vecs(tmp_path / f"x.{suffix}", VALUES.astype(dtype)))
    assert (source.rows, source.dim) == (4, 3)
    assert read(source, 1, 4, 2)[0] == VALUES[1:].tolist()


def test_sources_travel_to_other_processes(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    for path in (
        write_h5(tmp_path / "x.h5"),
        write_parquet(tmp_path / "x.parquet"),
        tmp_path / "x.npy",
    ):
        assert read(pickle.loads(pickle.dumps(only(path))))[0] == VALUES.tolist()


def test_whole_files_are_read_for_queries(tmp_path):
    write_h5(tmp_path / "a.h5")
    write_h5(tmp_path / "b.h5", VALUES + 1, ["x", "y", "z", "w"])
    batch = read_whole(open_sources([tmp_path]))
    assert batch.vectors.tolist() == [*VALUES.tolist(), *(VALUES + 1).tolist()]
    assert batch.ids == [*IDS, "x", "y", "z", "w"]


def test_ids_far_apart_and_close_together_are_read_by_row(tmp_path):
    rows = 200_001
    ids = np.array([f"p{n}".encode() for n in range(rows)])
    write_h5(tmp_path / "x.h5", np.ones((rows, 1), np.uint8), ids)
    wanted = np.array([0, 5, 6, 65_535, 65_536, 131_071, 200_000])
    assert only(tmp_path / "x.h5").ids_at(wanted) == [f"p{n}" for n in wanted]
    assert only(tmp_path / "x.h5").ids_at(wanted[:0]) == []


def test_scattered_rows_of_a_large_row_group_are_decoded_once(tmp_path, monkeypatch):
    values = np.arange(50_000, dtype=np.float32).reshape(-1, 1)
    table = pa.table({"embedding": values.tolist(), "id": pa.array(range(50_000))})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=30_000)
    decoded = []
    original = pq.ParquetFile.iter_batches

    def counting(*args, **options):
        for batch in original(*args, **options):
            decoded.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    source = only(tmp_path / "x.parquet")
    ranges = [(at, at + 16) for at in range(0, 30_000, 100)]
    found = np.concatenate(list(source.vectors_in(ranges)))
    decoded_for_vectors, decoded = sum(decoded), []
    np.testing.assert_array_equal(found[:, 0], np.concatenate([np.arange(*r) for r in ranges]))
    assert decoded_for_vectors <= 40_000
    assert source.ids_at(np.arange(7, 50_000, 1000)) == [str(n) for n in range(7, 50_000, 1000)]
    assert sum(decoded) <= 50_000


# -- which files ----------------------------------------------------------------------------------


def test_folders_globs_and_urls_stand_for_their_files(tmp_path):
    for name in ("b.h5", "a.h5", ".hidden.h5", "_partial.h5"):
        write_h5(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    expected = [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]
    for spec in (tmp_path, f"{tmp_path}/*.h5", tmp_path.as_uri(), f"{tmp_path}/[ab].h5"):
        assert [source.uri for source in open_sources([spec])] == expected


def test_a_file_named_twice_is_taken_once(tmp_path):
    write_h5(tmp_path / "a.h5")
    assert len(open_sources([tmp_path / "a.h5", tmp_path])) == 1


def test_remote_files_are_read_by_ranges(tmp_path):
    storage = open_storage("memory://sources-unit")
    np.save(tmp_path / "x.npy", VALUES)
    write_vecs(tmp_path / "x.fvecs", VALUES)
    for path in (write_h5(tmp_path / "x.h5"), write_parquet(tmp_path / "x.parquet")):
        storage.put(path.name, path.read_bytes())
    for name in ("x.npy", "x.fvecs"):
        storage.put(f"plain/{name}", (tmp_path / name).read_bytes())
    storage.put("plain/x.ids.txt", b"1\n2\n3\n4\n")
    for source in open_sources(["memory://sources-unit"]):
        assert read(source) == (VALUES.tolist(), IDS)
    plain = open_sources(["memory://sources-unit/plain/x.*"])
    assert [source.uri for source in plain] == [
        "memory://sources-unit/plain/x.fvecs",
        "memory://sources-unit/plain/x.npy",
    ]
    assert all(read(source) == (VALUES.tolist(), list("1234")) for source in plain)


def test_a_remote_file_written_again_has_another_version(tmp_path):
    storage, path = open_storage("memory://sources-version"), write_h5(tmp_path / "x.h5")
    versions = set()
    for spec in ("memory://sources-version", "memory://sources-version/x.h5"):
        storage.put("x.h5", path.read_bytes())
        versions |= {only(spec).version, only(spec).version}
    assert len(versions) == 2


def test_large_remote_files_cross_block_borders(tmp_path):
    values = np.random.default_rng(2).standard_normal((3000, 960)).astype(np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5.create_dataset("embedding", data=values, chunks=(100, 960))
        h5["id"] = [f"protein-{n}" for n in range(3000)]
    open_storage("memory://sources-large").put("x.h5", (tmp_path / "x.h5").read_bytes())
    batch = read_whole(open_sources(["memory://sources-large/x.h5"]))
    np.testing.assert_array_equal(batch.vectors, values)
    assert batch.ids[-1] == "protein-2999"


def test_a_change_of_the_file_changes_its_version(tmp_path):
    path = write_h5(tmp_path / "x.h5")
    before = only(path)
    os.utime(path, ns=(1, 1))
    assert only(path).version != before.version


def test_empty_shards_are_left_out_but_a_lone_empty_file_is_refused(tmp_path):
    empty = write_h5(tmp_path / "a.h5", np.empty((0, 3), np.float32), np.array([], "S1"))
    write_h5(tmp_path / "b.h5")
    assert [source.uri for source in open_sources([tmp_path])] == [str(tmp_path / "b.h5")]
    refused(empty, words="0 rows")
    (tmp_path / "empty.fvecs").touch()
    refused(tmp_path / "empty.fvecs", words="0 rows")


def test_columns_missing_from_a_file_are_null(tmp_path):
    write_h5(tmp_path / "a.h5", length=np.arange(4))
    write_h5(tmp_path / "b.h5", name=list("wxyz"))
    sources = open_sources([tmp_path])
    extra = common_schema(sources)
    assert extra == pa.schema([("length", pa.int64()), ("name", pa.string())])
    (batch,) = (with_columns(batch, extra) for batch in sources[1].read())
    assert batch.schema.names == ["vector", "id", "length", "name"]
    assert batch["length"].to_pylist() == [None] * 4
    assert batch["name"].to_pylist() == list("wxyz")


# -- what is refused ------------------------------------------------------------------------------


def test_missing_files_and_folders_without_vectors_are_refused(tmp_path):
    refused(tmp_path / "x.h5", words="does not exist", kind=NotFound)
    refused(tmp_path, words="holds no vector files", kind=NotFound)
    refused(tmp_path / "*.h5", words="holds no vector files", kind=NotFound)
    refused("memory://sources-none/x.h5", words="does not exist", kind=NotFound)


def test_a_file_that_may_not_be_read_is_forbidden_not_damaged(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", VALUES)

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    refused(tmp_path / "x.npy", words="permission denied", kind=Forbidden)


def test_an_unknown_extension_is_refused_with_those_known(tmp_path):
    (tmp_path / "x.fasta").write_text(">a\nMK\n")
    refused(tmp_path / "x.fasta", words=r"\.h5, .*'atoll embed' first")


def test_missing_datasets_are_refused_with_those_there(tmp_path):
    path = write_h5(tmp_path / "x.h5", names=("emb", "acc"))
    refused(path, words=r"no column 'embedding' .* it has acc \(4,\) object, emb \(4, 3\) float32")
    refused(path, words="no column 'x'.*--vector-column", vector_column="x")
    refused(path, words="no column 'id'.*--id-column", vector_column="emb")


def test_a_dataset_in_a_group_is_found_by_its_path(tmp_path):
    path = write_h5(tmp_path / "x.h5", names=("run/v", "run/acc"))
    assert read(only(path, vector_column="run/v", id_column="run/acc"))[1] == IDS


@pytest.fixture
def outside(tmp_path):
    """An HDF5 file whose datasets lie elsewhere; what lies there must not be read."""
    (tmp_path / "secret").write_bytes(bytes(48))
    write_h5(tmp_path / "other.hdf5", names=("group/embedding", "id"))
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5["id"] = IDS
        h5.create_dataset("external", (4, 3), "<f4", external=[("secret", 0, 48)])
        h5.create_dataset("extra", (4,), "<f4", external=[("secret", 0, 16)])
        layout = h5py.VirtualLayout((4, 3), "<f4")
        layout[:] = h5py.VirtualSource("other.hdf5", "group/embedding", (4, 3))
        h5.create_virtual_dataset("virtual", layout)
        h5["alias"] = h5py.SoftLink("/real")
        h5["real"] = VALUES
    return tmp_path / "x.h5"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("external", "'external' is stored in another file; .*copy the data there"),
        ("virtual", "'virtual' is a view of other datasets"),
        ("alias", "'extra' is stored in another file"),
    ],
)
def test_hdf5_data_that_lies_elsewhere_is_refused(outside, name, words):
    refused(outside, words=words, vector_column=name)


@pytest.mark.parametrize("path", ["link", "group/embedding", "through"])
def test_hdf5_links_that_leave_the_file_are_refused_unopened(tmp_path, path):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5["id"] = IDS
        h5["group" if "/" in path else "link"] = h5py.ExternalLink("other.h5", "/group")
        h5["through"] = h5py.SoftLink("link/embedding")
    os.mkfifo(tmp_path / "other.h5")
    refused(tmp_path / "x.h5", words="a link to another file", vector_column=path)


def test_hdf5_links_inside_the_file_are_followed(tmp_path):
    path = write_h5(tmp_path / "x.h5", names=("run/v", "run/acc"))
    with h5py.File(path, "a") as h5:
        h5["embedding"] = h5py.SoftLink("/run/v")
        h5["run/again"] = h5py.SoftLink("acc")
        h5["nowhere"] = h5py.SoftLink("/gone")
        h5["loop"] = h5py.SoftLink("loop")
    assert read(only(path, id_column="run/again")) == (VALUES.tolist(), IDS)
    refused(path, words="no column 'loop'", vector_column="loop")


def test_one_dataset_per_protein_is_refused_with_the_way_out(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        for n in range(1001):
            h5[f"P{n}"] = n
    refused(tmp_path / "x.h5", words="holds 1001 datasets, perhaps one per vector; write all")


def test_many_columns_are_not_all_listed(tmp_path):
    path = write_h5(tmp_path / "x.h5", names=("v", "acc"), **{f"c{n:02}": [n] for n in range(30)})
    refused(path, words=r"c18 \(1,\) int64 and 12 more: name one")


def test_a_file_that_changes_after_it_was_found_is_refused(tmp_path):
    for path in (write_h5(tmp_path / "x.h5"), write_parquet(tmp_path / "x.parquet")):
        source = only(path)
        os.utime(path, ns=(1, 1))
        with pytest.raises(InvalidInput, match="was changed since it was planned"):
            list(source.read())


def test_a_remote_file_that_changes_before_or_while_it_is_read_is_refused(tmp_path):
    storage = open_storage("memory://sources-change")
    np.save(tmp_path / "x.npy", VALUES)
    for path in (
        write_h5(tmp_path / "x.h5"), write_parquet(tmp_path / "x.parquet"), tmp_path / "x.npy"
    ):  # fmt: skip
        storage.put(path.name, path.read_bytes())
        source = only(f"memory://sources-change/{path.name}")
        assert list(source.ids()) == list(source.ids())
        reading = source.read(batch_rows=2)
        next(reading)
        storage.put(path.name, path.read_bytes())
        for rows in (reading, source.read(), source.ids(), source.vectors_in([(0, 1)])):
            with pytest.raises(InvalidInput, match=rf"{path.name} was changed since it was pl"):
                list(rows)


def test_text_ids_that_change_while_they_are_read_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    (tmp_path / "x.ids.txt").write_text("a\nb\nc\nd\n")
    reading = only(tmp_path / "x.npy").read(batch_rows=4)
    next(reading)
    (tmp_path / "x.ids.txt").write_text("a\nb\nc\nd\ne\n")
    with pytest.raises(InvalidInput, match=r"x\.ids\.txt was changed since it was planned"):
        next(reading)


def test_ids_that_do_not_match_the_rows_are_refused(tmp_path):
    refused(write_h5(tmp_path / "x.h5", ids=["a", "b"]), words="has 4 rows but 'id' has 2")
    np.save(tmp_path / "x.npy", VALUES)
    (tmp_path / "x.ids.txt").write_text("a\nb\n")
    refused(tmp_path / "x.npy", words=r"has 4 rows but .*x\.ids\.txt has 2 lines")
    (tmp_path / "x.ids.txt").write_text("a\n\nb\nc\n")
    with pytest.raises(InvalidInput, match=r"x\.ids\.txt: line 2 is empty"):
        list(only(tmp_path / "x.npy").ids())


def test_an_id_file_for_several_or_other_files_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    write_h5(tmp_path / "x.h5")
    with pytest.raises(InvalidInput, match=r"exactly one file of \.npy.* not with 2"):
        open_sources([tmp_path], ids=tmp_path / "ids.txt")
    refused(tmp_path / "x.h5", words="holds its own ids", ids=tmp_path / "ids.txt")
    with pytest.raises(NotFound, match=r"ids\.txt does not exist"):
        open_sources([tmp_path / "x.npy"], ids=tmp_path / "ids.txt")


def test_dims_that_differ_name_both_files(tmp_path):
    first = write_h5(tmp_path / "a.h5")
    second = write_h5(tmp_path / "b.h5", np.ones((4, 5)))
    error = refused(first, second, words="vectors of 3 but .* of 5")
    assert str(first) in error.message


def test_embedders_that_differ_name_both_files(tmp_path):
    attrs = {"model": "randconv", "revision": "1", "pooling": "max", "dim": 3}
    plain = write_h5(tmp_path / "a.h5")
    first = write_h5(tmp_path / "b.h5", attrs=attrs)
    second = write_h5(tmp_path / "c.h5", attrs=attrs | {"revision": "2"})
    assert len(open_sources([plain, first])) == 2
    error = refused(plain, first, second, words="was embedded by")
    assert str(first) in error.message


def test_a_dim_attribute_that_lies_is_refused(tmp_path):
    attrs = {"model": "randconv", "revision": "1", "pooling": "max", "dim": 4}
    refused(write_h5(tmp_path / "b.h5", attrs=attrs), words="says dim 4 but holds vectors of 3")


def test_columns_of_two_types_name_both_files(tmp_path):
    first = write_h5(tmp_path / "a.h5", length=np.arange(4))
    second = write_h5(tmp_path / "b.h5", length=np.ones(4))
    error = refused(first, second, words="'length' is int64 in .* but double in")
    assert str(first) in error.message


@pytest.mark.parametrize("name", ["_code", "_distance", "_rowid", "_rowaddr", "query_id", "rank"])
def test_reserved_column_names_are_refused(tmp_path, name):
    path = write_h5(tmp_path / "x.h5", **{name: np.ones(4)})
    refused(path, words=f"column '{name}' cannot be kept.*reserved; rename")


def test_a_second_id_column_is_refused(tmp_path):
    path = write_h5(tmp_path / "x.h5", accession=list("wxyz"))
    refused(path, words="column 'id' cannot be kept", id_column="accession")


@pytest.mark.parametrize("kind", ["h5", "parquet", "npy", "fvecs"])
@pytest.mark.parametrize("keep", [3, 60, -9])
def test_truncated_files_are_refused_by_name(tmp_path, kind, keep):
    path = tmp_path / f"x.{kind}"
    {
        "h5": write_h5,
        "parquet": write_parquet,
        "npy": lambda p: np.save(p, VALUES),
        "fvecs": lambda p: write_vecs(p, VALUES),
    }[kind](path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, words="truncated|whole number of rows")


def test_damage_inside_parquet_is_found_when_read(tmp_path):
    path = write_parquet(tmp_path / "x.parquet")
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    refused(path, words="cannot be read")


def test_vectors_that_are_not_tables_of_numbers_are_refused(tmp_path):
    refused(write_h5(tmp_path / "a.h5", VALUES[0]), words=r"shape \(3,\); vectors are")
    refused(write_h5(tmp_path / "b.h5", VALUES.astype("S4")), words=r"vectors are a \(rows, dim\)")
    np.save(tmp_path / "c.npy", np.array([["x", "y"]]))
    refused(tmp_path / "c.npy", words="is <U1 of shape")
    np.save(tmp_path / "d.npy", np.asfortranarray(VALUES))
    refused(tmp_path / "d.npy", words="in Fortran order")
    refused(write_parquet(tmp_path / "e.parquet", list("wxyz")), words="'embedding' is string")


def test_vectors_of_more_values_than_any_memory_holds_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as h5:
        h5.create_dataset("embedding", (4, 1 << 40), "<f4", chunks=(1, 1024))
        h5["id"] = IDS
    refused(tmp_path / "x.h5", words="vectors of 1099511627776 values")


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', (", "{'shape': (-4, -3), 'fortran_order': False, 'descr': '<f4'}"]
)
def test_npy_headers_that_are_no_shape_are_refused(tmp_path, header):
    head = header.encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + VALUES.tobytes()
    (tmp_path / "x.npy").write_bytes(data)
    refused(tmp_path / "x.npy", words="cannot be read|of shape")


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path):
    broken = pa.array([b"ok", b"fine", b"\xff\xfe", b"ok"], pa.binary())
    text = pa.StringArray.from_buffers(4, *broken.buffers()[1:])
    refused(write_parquet(tmp_path / "a.parquet", ids=text), words="cannot be read.*UTF8")
    source = only(write_parquet(tmp_path / "b.parquet", label=text))
    with pytest.raises(InvalidInput, match=r"b\.parquet cannot be read.*UTF8"):
        list(source.read())


def test_attributes_of_other_kinds_are_no_embedder(tmp_path):
    attrs = {"model": np.arange(3), "revision": "1", "pooling": h5py.Empty("f4")}
    assert only(write_h5(tmp_path / "x.h5", attrs=attrs)).embedder is None


def test_ids_that_are_no_ids_are_refused(tmp_path):
    refused(write_h5(tmp_path / "a.h5", ids=np.ones(4)), words="'id' is float64 of shape")
    refused(write_parquet(tmp_path / "b.parquet", ids=[1.5] * 4), words="'id' is double; ids are")
    broken = np.array([b"ok", b"fine", b"\xff\xfe", b"ok"])
    refused(write_h5(tmp_path / "c.h5", ids=broken), words="id in row 2 is not UTF-8")
    binary = pa.array(broken.tolist(), pa.binary())
    refused(write_parquet(tmp_path / "d.parquet", ids=binary), words="row 2 is not UTF-8")
    (tmp_path / "e.ids.txt").write_bytes(b"a\n\xff\nb\nc")
    np.save(tmp_path / "e.npy", VALUES)
    with pytest.raises(InvalidInput, match=r"e\.ids\.txt: the id in row 1 is not UTF-8"):
        list(only(tmp_path / "e.npy").ids())


def test_nulls_in_parquet_name_their_row(tmp_path):
    rows = VALUES.tolist()
    kind = pa.list_(pa.float32())
    vectors = pa.array([*rows[:3], None], kind)
    refused(write_parquet(tmp_path / "a.parquet", vectors), words="null in row 3")
    vectors = pa.array([None, *rows[1:]], kind)
    refused(write_parquet(tmp_path / "b.parquet", vectors), words="null in row 0")
    vectors = pa.array([*rows[:2], [1.0, None, 2.0], rows[3]], kind)
    refused(write_parquet(tmp_path / "c.parquet", vectors), words="null in row 2")
    ids = ["a", "b", "c", None]
    refused(write_parquet(tmp_path / "d.parquet", ids=ids), words="'id' is null in row 3")


def test_lengths_that_differ_inside_a_file_name_the_row(tmp_path):
    rows = VALUES.tolist()
    vectors = pa.array([*rows[:2], [1.0], rows[3]], pa.list_(pa.float32()))
    refused(
        write_parquet(tmp_path / "a.parquet", vectors), words="row 2 has 1 values but row 0 has 3"
    )
    path = write_vecs(tmp_path / "b.fvecs", VALUES)
    data = bytearray(path.read_bytes())
    data[32:36] = np.int32(7).tobytes()
    path.write_bytes(data)
    refused(path, words="row 2 says dim 7 but row 0 says 3")


def test_float64_beyond_float32_names_the_row_but_infinity_passes(tmp_path):
    values = VALUES.astype(np.float64)
    values[2, 1] = 1e300
    refused(write_h5(tmp_path / "a.h5", values), words="row 2 has a value beyond float32")
    values[2, 1] = np.inf
    assert read(only(write_h5(tmp_path / "b.h5", values)))[0][2][1] == np.inf


def test_rows_outside_the_file_are_refused(tmp_path):
    source = only(write_h5(tmp_path / "x.h5"))
    with pytest.raises(InvalidInput, match="has 4 rows; 2 to 5 are not among them"):
        list(source.read(2, 5))
