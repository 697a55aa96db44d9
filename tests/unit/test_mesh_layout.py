"""Which files make which asset: values only."""

import pytest

from atoll.mesh.harvest.layout import plan
from atoll.mesh.harvest.listing import Listing
from atoll.storage import Storage, StoredObject


def units(*paths, url="s3://lake/plant", size=9, **given):
    objects = tuple(StoredObject(path, size) for path in sorted(paths))
    return {unit.path: unit for unit in plan(Listing(Storage(url), objects, **given))}


def formats(*paths, **given):
    return {path: unit.format for path, unit in units(*paths, **given).items()}


def test_a_folder_with_atoll_in_it_is_a_collection_and_nothing_below_is_looked_at():
    inside = ["c/_atoll/hint", "c/b_0.lance/data/x.lance", "c/notes.csv", "c/sub/t.parquet"]
    assert formats(*inside, "d.csv") == {"c": "atoll", "d.csv": "csv"}
    assert formats("_atoll/hint", "b_0.lance/data/x") == {"": "atoll"}


def test_lance_folders_are_tables_wherever_they_are():
    assert formats("a/x.lance/_versions/1.manifest", "y.lance/data/f") == {
        "a/x.lance": "lance",
        "y.lance": "lance",
    }
    assert formats("data/f", "_versions/1", url="s3://lake/x.lance") == {"": "lance"}


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("t/_delta_log/0.json", "Delta Lake"),
        ("t/.hoodie/hoodie.properties", "Hudi"),
        ("t/metadata/v1.metadata.json", "Iceberg"),
    ],
)
def test_tables_that_keep_deleted_rows_in_their_files_are_not_taken_for_parquet(path, whose):
    (unit,) = units("t/part-0.parquet", "t/data/part-1.parquet", path).values()
    assert (unit.path, unit.format, unit.note) == ("t", "foreign", whose)


def test_a_folder_called_metadata_is_a_folder_like_others():
    assert formats("metadata/a.csv") == {"metadata/a.csv": "csv"}


def test_hidden_names_are_passed_over():
    assert formats(".git/a.csv", "_tmp/b.parquet", "t/_SUCCESS", "t/.x.csv", "t/a.pq") == {
        "t": "parquet"
    }


def test_parquet_files_go_by_folder_and_csv_files_by_themselves():
    found = units("a/1.parquet", "a/2.PARQUET", "b/1.csv", "b/2.tsv")
    assert sorted(found) == ["a", "b/1.csv", "b/2.tsv"]
    assert not found["a"].is_loose


def test_a_folder_with_other_assets_in_or_below_it_is_no_table():
    for other in ("a/x.csv", "a/sub/1.parquet", "a/x.lance/data/f", "a/c/_atoll/hint"):
        assert units("a/1.parquet", "a/2.parquet", other)["a"].is_loose
    assert not units("a/1.parquet", "a-b/x.csv", "ab/x.csv")["a"].is_loose


def test_one_file_at_the_location_itself_is_a_table_by_itself():
    assert units("1.parquet")[""].is_loose
    assert not units("1.parquet", "2.parquet")[""].is_loose
    assert not units("year=1/1.parquet")[""].is_loose


def test_partitions_make_one_table_of_the_folder_that_they_begin_in():
    found = units("s/year=1/m=2/a.parquet", "s/year=1/m=3/x/b.parquet", "s/year=1/note.txt")
    assert list(found) == ["s"]
    assert found["s"].is_partitioned
    assert not found["s"].is_loose
    assert units("s/y=1/a.parquet", "s/y=1/b.csv")["s"].is_loose


def test_a_folder_of_other_files_is_a_file_set_as_high_up_as_there_is_no_table():
    found = units("img/a/1.png", "img/b/2.png", "t/1.parquet", "t/readme.md", "note.txt")
    assert {path: unit.format for path, unit in found.items()} == {"img": "files", "t": "parquet"}
    assert len(found["img"].objects) == 2
    assert formats("a.png", "b/c.png") == {"": "files"}


def test_empty_objects_that_stand_for_folders_are_nothing():
    assert formats("t", "t/sub", size=0) == {}
    assert formats("t.csv", size=0) == {"t.csv": "csv"}


def test_what_others_have_lies_in_no_asset_of_ones_own():
    paths = ["notes.txt", "t/a.parquet", "t/b.parquet", "docs/x.pdf"]
    assert sorted(units(*paths)) == ["docs", "t"]
    found = units(*paths, apart=("t/theirs", "docs/deep/theirs"))
    assert sorted(found) == ["t"]
    assert found["t"].is_loose
