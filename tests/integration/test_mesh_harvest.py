"""Harvests of real folders: what a plant keeps, what an attacker or a tired user leaves there.

Features 13, 14 and 17 of the mesh.
"""

import os
import shutil
import socket

import lance
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from mesh_files import found, harvested, lake, plant_table, refused, write_parquet
from vectordata import clustered, settings, write_h5

import atoll
from atoll.app.assets import Collections
from atoll.compute.inline import InlineExecutor
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import StorageOptions
from atoll.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from atoll.core.records import decoded
from atoll.mesh.harvest import (
    Technical,
    Unreadable,
    lancetables,
    listing,
    readers,
    sampling,
    service,
    table_files,
)
from atoll.storage import count_usage

TABLE = plant_table()


def names(outcomes, kind):
    return [path for path, one in outcomes.items() if isinstance(one, kind)]


def test_a_lake_yields_its_assets(tmp_path):
    outcomes = harvested(lake(tmp_path))
    assert {path: (one.kind, one.format, one.rows) for path, one in outcomes.items()} == {
        "hive": ("table", "parquet", 120),
        "img": ("file set", "files", None),
        "loose/a.csv": ("table", "csv", 60),
        "loose/b.csv": ("table", "csv", 60),
        "mixed/a.parquet": ("table", "parquet", 60),
        "mixed/b.parquet": ("table", "parquet", 60),
        "parts": ("table", "parquet", 60),
        "single": ("table", "parquet", 60),
        "welds.lance": ("table", "lance", 60),
    }
    assert [(one.name, one.type) for one in outcomes["hive"].partitions] == [
        ("year", "int64"),
        ("line", "string"),
    ]


def test_all_copies_of_a_table_have_one_fingerprint(tmp_path):
    outcomes = harvested(lake(tmp_path), exclude=["hive", "img", "mixed/b.parquet"])
    assert len(outcomes) == 6
    assert len({one.fingerprint for one in outcomes.values()}) == 1


def test_patterns_take_whole_assets(tmp_path):
    lake(tmp_path)
    assert list(harvested(tmp_path, include=["*.csv", "parts"], exclude=["loose/b*"])) == [
        "loose/a.csv",
        "parts",
    ]
    assert list(harvested(tmp_path / "parts", include=["parts"])) == [""]
    assert list(harvested(tmp_path, include=["hive/year=2026/*"])) == []


def test_one_file_may_be_the_source(tmp_path):
    lake(tmp_path)
    assert found(tmp_path / "loose" / "b.csv").rows == 60
    assert found(tmp_path / "parts" / "1.parquet").rows == 20
    assert found(tmp_path / "welds.lance").version == "1"


def test_a_version_changes_with_the_files_and_only_then(tmp_path):
    lake(tmp_path)
    before, again = harvested(tmp_path), harvested(tmp_path)
    assert before == again
    write_parquet(tmp_path / "parts" / "3.parquet", TABLE.slice(0, 1))
    lance.write_dataset(TABLE, str(tmp_path / "welds.lance"), mode="append")
    after = harvested(tmp_path)
    changed = {path for path in before if before[path].version != after[path].version}
    assert changed == {"parts", "welds.lance"}
    assert (after["parts"].rows, after["welds.lance"].rows) == (61, 120)


def test_missing_places_are_errors_and_empty_ones_are_empty(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path / "nowhere.csv"):
        with pytest.raises(NotFound, match="does not exist"):
            harvested(path)
    assert harvested(tmp_path) == {}


def test_files_of_a_table_are_those_that_were_harvested(tmp_path):
    lake(tmp_path)
    write_parquet(tmp_path / "parts" / "_old.parquet", TABLE)
    storage, files = table_files(str(tmp_path / "parts"), StorageOptions())
    assert [one.path for one in files] == ["0.parquet", "1.parquet", "2.parquet"]
    assert storage.get("0.parquet")[:4] == b"PAR1"
    _, files = table_files((tmp_path / "loose" / "a.csv").as_uri(), StorageOptions())
    assert [one.path for one in files] == ["a.csv"]
    for other in ("loose", "img", "welds.lance", "."):
        with pytest.raises(Conflict, match="harvest it again"):
            table_files(str(tmp_path / other), StorageOptions())
    (tmp_path / "parts" / "l.parquet").symlink_to(tmp_path / "single" / "ai.parquet")
    with pytest.raises(Conflict):
        table_files(str(tmp_path / "parts"), StorageOptions())


# -- folders that are not what they seem ----------------------------------------------------------


def test_links_are_never_followed_wherever_they_lead(tmp_path):
    secret = write_parquet(tmp_path / "secret" / "pay.parquet", pa.table({"pay": [1]}))
    (tmp_path / "lake" / "sub").mkdir(parents=True)
    write_parquet(tmp_path / "lake" / "ok.parquet", TABLE)
    (tmp_path / "lake" / "out.parquet").symlink_to(secret)
    (tmp_path / "lake" / "in.parquet").symlink_to(tmp_path / "lake" / "ok.parquet")
    (tmp_path / "lake" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "lake" / "sub" / "loop").symlink_to(tmp_path / "lake")
    (tmp_path / "lake" / "broken.csv").symlink_to("nothing")
    outcomes = harvested(tmp_path / "lake")
    assert names(outcomes, Technical) == ["ok.parquet"]
    assert {
        one.reason.split(" is a ")[1][:13]
        for one in outcomes.values()
        if isinstance(one, Unreadable)
    } == {"symbolic link"}


@pytest.mark.parametrize("inside", ["t.lance/data", "t", "c/_atoll", "h/k=1"])
def test_an_asset_with_a_link_in_it_is_not_read_at_all(tmp_path, inside):
    lance.write_dataset(TABLE, str(tmp_path / "t.lance"))
    for path in ("t/1.parquet", "t/2.parquet", "h/k=1/1.parquet"):
        write_parquet(tmp_path / path, TABLE)
    (tmp_path / "c" / "_atoll").mkdir(parents=True)
    (tmp_path / "c" / "_atoll" / "hint").write_text("1")
    (tmp_path / inside / "x").symlink_to("/etc/hostname")
    one = harvested(tmp_path)[inside.split("/")[0]]
    assert "not all of it may be read: x is a symbolic link" in one.reason


def test_a_source_that_is_a_link_is_what_it_leads_to(tmp_path):
    write_parquet(tmp_path / "real" / "a.parquet", TABLE)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (one,) = harvested(tmp_path / "link").values()
    assert one.location == (tmp_path / "real" / "a.parquet").as_uri()


def test_pipes_and_sockets_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "b.parquet"))
        outcomes = harvested(tmp_path)
    assert [one.reason.split(" ", 1)[1] for one in outcomes.values()] == [
        "is no regular file; remove it"
    ] * 2


def test_odd_names_are_names_like_others(tmp_path):
    for name in ("new\nline.csv", "100% ü?#.csv", "-rf.csv", "'; drop.csv", "a=b.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    (tmp_path / os.fsdecode(b"\xff.csv")).write_text("a\n")
    outcomes = harvested(tmp_path)
    assert len(names(outcomes, Technical)) == 5
    assert outcomes["%FF.csv"].reason == "its name is not UTF-8; rename it"
    assert all(one.location.isprintable() for one in outcomes.values())
    for one in outcomes.values():
        if isinstance(one, Technical):
            assert found(one.location).rows == 1


def test_partition_folders_that_disagree_are_no_table(tmp_path):
    write_parquet(tmp_path / "t" / "y=1" / "a.parquet", TABLE)
    write_parquet(tmp_path / "t" / "y=1" / "m=2" / "b.parquet", TABLE)
    assert "is in other partitions than" in refused(tmp_path).reason


def test_partitioned_files_that_disagree_are_said_to_in_words(tmp_path):
    write_parquet(tmp_path / "t" / "y=1" / "a.parquet", TABLE)
    write_parquet(tmp_path / "t" / "y=2" / "b.parquet", TABLE.drop_columns(["at"]))
    assert "removed 'at' timestamp[ms]" in refused(tmp_path).reason


def test_a_partition_that_is_a_column_as_well_is_refused(tmp_path):
    write_parquet(tmp_path / "t" / "udi=1" / "a.parquet", TABLE)
    assert "occur twice ('udi')" in refused(tmp_path).reason


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", "007"], "int64"),
        (["2026-01-31", "2026-02-01"], "date32[day]"),
        (["2026-01-31", "2026-02-30"], "string"),
        (["1", "x", "__HIVE_DEFAULT_PARTITION__"], "string"),
        (["9" * 19], "string"),
        (["__HIVE_DEFAULT_PARTITION__"], "string"),
    ],
)
def test_types_of_partitions_are_those_of_all_their_values(tmp_path, values, kind):
    for value in values:
        write_parquet(tmp_path / "t" / f"k={value}" / "a.parquet", TABLE)
    (partition,) = found(tmp_path).partitions
    assert (partition.type, partition.nullable) == (kind, "__HIVE" in values[-1])


def test_a_delta_table_is_named_and_not_read(tmp_path):
    write_parquet(tmp_path / "t" / "part-0.parquet", TABLE)
    (tmp_path / "t" / "_delta_log").mkdir()
    (tmp_path / "t" / "_delta_log" / "0.json").write_text("{}")
    assert "it is a table of Delta Lake" in refused(tmp_path).reason


def test_files_that_vanish_meanwhile_end_no_run(tmp_path, monkeypatch):
    lake(tmp_path)

    def list_and_lose(*args):
        seen = listing.list_location(*args)
        (tmp_path / "loose" / "a.csv").unlink()
        (tmp_path / "parts" / "1.parquet").unlink()
        return seen

    monkeypatch.setattr(service, "list_location", list_and_lose)
    outcomes = harvested(tmp_path)
    assert names(outcomes, Unreadable) == ["loose/a.csv", "parts"]
    assert {outcomes[path].code for path in ("loose/a.csv", "parts")} == {"not_found"}
    assert "1 of its 3 files cannot be read; 'parts/1.parquet'" in outcomes["parts"].reason


def test_a_store_that_fails_time_after_time_ends_the_run(tmp_path, monkeypatch):
    for number in range(100):
        (tmp_path / f"{number}.csv").write_text("a\n1\n")
    asked = []

    def fail(_, stored):
        asked.append(stored)
        raise Unavailable("the store did not answer")

    monkeypatch.setattr(readers, "read_csv", fail)
    with pytest.raises(Unavailable, match="did not answer"):
        harvested(tmp_path)
    assert 16 <= len(asked) < 20


def test_files_that_are_cut_meanwhile_are_corrupt(tmp_path, monkeypatch):
    write_parquet(tmp_path / "a.parquet", TABLE)

    def list_and_cut(*args):
        seen = listing.list_location(*args)
        os.truncate(tmp_path / "a.parquet", 100)
        return seen

    monkeypatch.setattr(service, "list_location", list_and_cut)
    assert refused(tmp_path).code == "corrupt"


def test_too_many_files_are_refused_as_a_whole(tmp_path, monkeypatch):
    lake(tmp_path)
    monkeypatch.setattr(listing, "MAX_FILES", 5)
    with pytest.raises(InvalidInput, match="more than 5 files; make a source of each folder"):
        harvested(tmp_path)


@pytest.mark.slow
def test_a_sample_of_wide_rows_has_few_of_them_and_no_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_MOST_BYTES", 50_000)
    texts = pa.table({"picture": [b"x" * 1000] * 500, "note": ["y" * 400] * 500})
    for name, table in (("wide", texts), ("bytes", texts.select(["picture"]))):
        write_parquet(tmp_path / name / "a.parquet", table)
    outcomes = harvested(tmp_path)
    wide, only_bytes = (
        sampling.sample_of(outcomes[n], StorageOptions()) for n in ("wide", "bytes")
    )
    assert (wide.column_names, len(wide)) == (["note"], 200)
    assert only_bytes.column_names == []


def test_ten_thousand_files_are_one_table(tmp_path):
    content = write_parquet(tmp_path / "t" / "0.parquet", TABLE).read_bytes()
    for number in range(1, 10_000):
        (tmp_path / "t" / f"{number}.parquet").write_bytes(content)
    with count_usage() as usage:
        one = found(tmp_path)
    assert (one.files, one.rows, usage.gets) == (10_000, 600_000, 10_000)


def test_what_is_found_can_be_kept_as_json(tmp_path):
    for one in harvested(lake(tmp_path)).values():
        assert decoded(msgspec.json.encode(one), Technical) == one


def test_progress_is_told_to_the_end(tmp_path):
    told = []
    harvested(lake(tmp_path), on_progress=told.append)
    assert [one.done for one in told] == list(range(1, told[-1].total + 1))


# -- Lance ----------------------------------------------------------------------------------------


def test_a_lance_table_that_refers_to_others_files_is_refused(tmp_path):
    secret = lance.write_dataset(TABLE, str(tmp_path / "secret.lance"))
    (tmp_path / "lake").mkdir()
    secret.shallow_clone(str(tmp_path / "lake" / "clone.lance"), secret.version)
    assert "refers to files outside its folder" in refused(tmp_path / "lake").reason


def test_a_lance_table_whose_files_lie_above_it_is_refused(tmp_path):
    secret = lance.write_dataset(TABLE, str(tmp_path / "secret.lance"))
    [one] = secret.get_fragments()
    metadata = one.metadata
    [file] = metadata.files
    file._path = f"../../../secret.lance/data/{file.path}"
    stolen = lance.LanceOperation.Overwrite(secret.schema, [metadata])
    lance.LanceDataset.commit(str(tmp_path / "lake" / "t.lance"), stolen)
    assert "refers to files outside its folder" in refused(tmp_path / "lake").reason


def test_deleted_rows_are_not_counted_and_vectors_not_measured(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(120, "f4")), 2)
    table = lance.write_dataset(TABLE.append_column("v", vectors), str(tmp_path / "t.lance"))
    table.delete("udi > 50")
    one = found(tmp_path)
    assert (one.rows, one.version) == (50, "2")
    assert one.columns[-1].type == "fixed_size_list<item: float>[2]"
    other = write_parquet(tmp_path / "p" / "t.parquet", TABLE.append_column("v", vectors)[:50])
    assert found(other).fingerprint == one.fingerprint


def test_a_large_lance_table_is_judged_by_some_rows_and_says_so(tmp_path, monkeypatch):
    lance.write_dataset(TABLE, str(tmp_path / "a.lance"))
    whole = found(tmp_path)
    monkeypatch.setattr(lancetables, "WHOLE_ROWS", 50)
    monkeypatch.setattr(lancetables, "SAMPLE_ROWS", 20)
    one = found(tmp_path)
    assert (one.rows, one.remarks) == (60, ("20 rows stand for its content",))
    assert one.fingerprint.schema == whole.fingerprint.schema
    assert one.fingerprint.content != whole.fingerprint.content
    lance.write_dataset(TABLE, str(tmp_path / "b.lance"), max_rows_per_file=7)
    assert len({each.fingerprint for each in harvested(tmp_path).values()}) == 1


def test_a_folder_that_is_only_called_lance_is_corrupt_or_not_found(tmp_path):
    (tmp_path / "t.lance").mkdir()
    (tmp_path / "t.lance" / "x").write_text("x")
    one = refused(tmp_path)
    assert one.code in ("not_found", "corrupt")
    assert "Lance cannot read it" in one.reason


@pytest.mark.slow
def test_damaged_lance_tables_end_no_run(tmp_path):
    random = np.random.default_rng(0)
    for number in range(40):
        lance.write_dataset(TABLE, str(tmp_path / f"{number}.lance")).delete("udi < 5")
        files = [one for one in sorted((tmp_path / f"{number}.lance").rglob("*")) if one.is_file()]
        victim = files[random.integers(len(files))]
        content = bytearray(victim.read_bytes())
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        victim.write_bytes(content)
    lance.write_dataset(TABLE, str(tmp_path / "sound.lance"))
    outcomes = harvested(tmp_path, executor=ProcessExecutor(1))
    assert len(outcomes) == 41
    assert outcomes["sound.lance"].rows == 60
    assert names(outcomes, Unreadable)


class Dying(InlineExecutor):
    """Loses every task."""

    def map(self, task, items, **given):
        return super().map(lose, items, **given)


def lose(item):
    raise Unavailable("lance ended its worker process 3 times (SIGABRT)")


def test_a_lance_table_that_kills_its_reader_is_named_and_the_rest_is_found(tmp_path):
    outcomes = harvested(lake(tmp_path), executor=Dying())
    assert names(outcomes, Unreadable) == ["welds.lance"]
    assert outcomes["welds.lance"].code == "unavailable"
    assert len(names(outcomes, Technical)) == 8


# -- vector collections ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A collection, a copy of it, one of other vectors; and settings."""
    folder = tmp_path_factory.mktemp("collections")
    reach = settings(folder)
    write_h5(folder / "x.h5", clustered(200, 16))
    write_h5(folder / "y.h5", clustered(200, 16, seed=1))
    for name, source in (("one", "x"), ("three", "y")):
        options = {"settings": reach, "workers": 1, "bucket_rows": 100, "calibrate": False}
        atoll.create(folder / "lake" / name, folder / f"{source}.h5", **options)
    shutil.copytree(folder / "lake" / "one", folder / "lake" / "two")
    return folder / "lake", reach


def test_a_collection_is_one_asset_with_what_it_says_of_itself(plant):
    lake, reach = plant
    outcomes = harvested(lake, collections=Collections(reach))
    assert list(outcomes) == ["one", "three", "two"]
    one = outcomes["one"]
    assert (one.kind, one.format, one.rows, one.version) == ("vector collection", "atoll", 200, "1")
    assert one.columns[0].type == "fixed_size_list<item: float>[16]"
    assert one.details["dim"] == 16
    assert one.details["distance_type"] == "cosine"


def test_collections_of_the_same_rows_are_found(plant):
    lake, reach = plant
    outcomes = harvested(lake, collections=Collections(reach))
    assert outcomes["one"].fingerprint == outcomes["two"].fingerprint
    assert outcomes["one"].fingerprint.schema == outcomes["three"].fingerprint.schema
    assert outcomes["one"].fingerprint.content != outcomes["three"].fingerprint.content


def test_without_a_reader_collections_are_named_and_not_read(plant):
    reasons = {one.reason for one in harvested(plant[0]).values()}
    assert reasons == {"it is a vector collection, which nobody here can open"}


def test_what_only_looks_like_a_collection_is_refused(tmp_path):
    (tmp_path / "c" / "_atoll" / "manifests").mkdir(parents=True)
    (tmp_path / "c" / "_atoll" / "hint").write_text("garbage")
    one = refused(tmp_path, collections=Collections(settings(tmp_path)))
    assert one.code in ("not_found", "corrupt")


@pytest.mark.parametrize("name", ["hint", "manifests/00000000000000000001.json"])
def test_a_collection_that_says_too_much_of_itself_is_refused_unread(tmp_path, plant, name):
    lake, reach = plant
    shutil.copytree(lake / "one", tmp_path / "lake" / "one")
    with (tmp_path / "lake" / "one" / "_atoll" / name).open("r+b") as file:
        file.truncate(readers.MANIFEST_BYTES + 1)
    with count_usage() as usage:
        one = refused(tmp_path / "lake", collections=Collections(reach))
    assert f"{name} takes 64.0 MiB; 64.0 MiB are the most" in one.reason
    assert usage.gets == 0


def test_a_collection_is_described_where_it_kills_nobody(plant):
    lake, reach = plant
    outcomes = harvested(lake, executor=Dying(), collections=Collections(reach))
    assert {one.code for one in outcomes.values()} == {"unavailable"}


@pytest.mark.slow
def test_a_collection_that_takes_all_memory_is_named_and_the_rest_is_found(plant, tmp_path):
    lake, reach = plant
    shutil.copytree(lake / "one", tmp_path / "lake" / "one")
    place = tmp_path / "lake" / "two" / "_atoll" / "manifests"
    place.mkdir(parents=True)
    # A list takes 64 bytes, and three of JSON.
    text = b'{"format_version": 1, "x": [' + b"[]," * (20 << 20) + b"[]]}"
    (place / f"{1:020}.json").write_bytes(text)
    executor = ProcessExecutor(1, memory_bytes=1 << 30)
    outcomes = harvested(tmp_path / "lake", executor=executor, collections=Collections(reach))
    assert [type(one) for one in outcomes.values()] == [Technical, Unreadable]
