"""Harvests of a real object store."""

import json

import pyarrow as pa
import pytest
from mesh_files import harvested, lake

from atoll.core.errors import Forbidden, InvalidInput, NotFound, Unavailable
from atoll.mesh.harvest import Technical, Unreadable, table_files
from atoll.mesh.harvest.listing import check_location
from atoll.storage import count_usage, open_storage

pytestmark = pytest.mark.ceph


@pytest.fixture(scope="module")
def plant(ceph, tmp_path_factory):
    """The same lake in a folder and in a bucket."""
    folder = lake(tmp_path_factory.mktemp("lake"))
    url = f"{ceph.new_bucket()}/plant"
    storage = open_storage(url, ceph.options())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return folder, url, ceph.options()


def test_a_lake_on_a_store_yields_what_it_yields_in_a_folder(plant):
    folder, url, options = plant
    here, there = harvested(folder), harvested(url, options=options)
    assert list(there) == list(here)
    for path, one in there.items():
        assert one.location == f"{url}/{path}"
        for fact in ("kind", "format", "columns", "partitions", "rows", "size_bytes", "files"):
            assert getattr(one, fact) == getattr(here[path], fact)
        assert one.fingerprint == here[path].fingerprint
    assert there == harvested(f"{url}/", options=options)


def test_of_parquet_only_footers_travel(plant):
    _, url, options = plant
    with count_usage() as usage:
        harvested(f"{url}/parts", options=options)
    assert (usage.gets, usage.lists) == (3, 1)


def test_files_of_a_table_are_found_there_too(plant):
    _, url, options = plant
    storage, files = table_files(f"{url}/hive", options)
    assert [one.path for one in files] == [
        "year=2026/line=A/x.parquet",
        "year=2026/line=B%3D1/x.parquet",
    ]
    assert pa.BufferReader(storage.get(files[1].path)).size() == files[1].size_bytes


def test_one_object_may_be_the_source(plant):
    _, url, options = plant
    (one,) = harvested(f"{url}/loose/a.csv", options=options).values()
    assert (one.location, one.rows) == (f"{url}/loose/a.csv", 60)


def test_missing_places_are_errors_by_name(plant):
    _, url, options = plant
    with pytest.raises(NotFound, match="nothing does not exist or is empty"):
        harvested(f"{url}/nothing", options=options)
    with pytest.raises(NotFound, match="no such bucket"):
        harvested("s3://nobody-made-this/x", options=options)


def test_that_something_lies_somewhere_is_told_without_listing_all_of_it(plant, ceph):
    _, url, options = plant
    for place in (url, f"{url}/loose/a.csv"):
        check_location(place, options)
    with pytest.raises(NotFound):
        check_location(f"{url}/nothing", options)
    with pytest.raises(Forbidden):
        check_location(url, ceph.options(secret_access_key="hunter2"))


def test_refused_access_is_told_apart_without_a_secret(plant, ceph):
    _, url, _ = plant
    with pytest.raises(Forbidden) as refusal:
        harvested(url, options=ceph.options(secret_access_key="hunter2"))
    assert "hunter2" not in str(refusal.value)
    gone = ceph.options(endpoint="http://127.0.0.1:9", retries=0)
    with pytest.raises(Unavailable):
        harvested(url, options=gone)


def test_an_object_that_may_not_be_read_is_one_outcome(plant, ceph):
    folder, _, options = plant
    url = ceph.new_bucket()
    storage = open_storage(url, options)
    for path in ("a/1.parquet", "b.csv", "secret.csv"):
        kind = "single/ai.parquet" if path.endswith("parquet") else "loose/a.csv"
        storage.put(path, (folder / kind).read_bytes())
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{url[5:]}/secret.csv"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ceph.client().put_bucket_policy(Bucket=url[5:], Policy=policy)
    outcomes = harvested(url, options=options)
    assert [type(one) for one in outcomes.values()] == [Technical, Technical, Unreadable]
    assert outcomes["secret.csv"].code == "forbidden"


def test_folders_that_a_store_keeps_as_objects_are_nothing(plant, ceph):
    url = ceph.new_bucket()
    for key in ("p/", "p/sub/", "p/a.csv"):
        ceph.client().put_object(Bucket=url[5:], Key=key, Body=b"" if key[-1] == "/" else b"a\n1\n")
    assert list(harvested(f"{url}/p", options=ceph.options())) == ["a.csv"]


def test_a_key_that_is_no_path_is_named(plant, ceph):
    url = ceph.new_bucket()
    ceph.client().put_object(Bucket=url[5:], Key="p//a.csv", Body=b"a\n1\n")
    with pytest.raises(InvalidInput, match=r"p//a\.csv.*rename or remove that object"):
        harvested(f"{url}/p", options=ceph.options())
