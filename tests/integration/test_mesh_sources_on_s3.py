"""A data source on a real object store, by keys that an association names."""

import json

import pytest
from mesh_catalog import publish
from mesh_databases import database_of
from mesh_files import lake, plant_table, write_parquet
from mesh_lakes import activities, equipped, project_with, ran
from mesh_world import world
from vectordata import settings, small_collection

from atoll.app.assets import Collections
from atoll.core.errors import NotFound
from atoll.mesh.model.catalog import AssetRunStatus, Classification, DataSourceRunStatus
from atoll.storage import open_storage

pytestmark = pytest.mark.ceph
CREATED, UPDATED = AssetRunStatus.SUCCEEDED_CREATED, AssetRunStatus.SUCCEEDED_UPDATED
UNCHANGED, PUBLIC = AssetRunStatus.UNCHANGED, Classification.PUBLIC


def filled(url, options, folder):
    storage = open_storage(url, options)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return storage


def test_14_a_run_looks_a_bucket_through_and_nothing_beside_it(ceph, tmp_path):
    bucket = ceph.new_bucket()
    url, options = f"{bucket}/plant", ceph.options()
    storage = filled(url, options, lake(tmp_path / "lake"))
    storage.put("%2e%2e/x.csv", b"a\n1\n")
    filled(
        f"{bucket}/other", options, write_parquet(tmp_path / "o/t.parquet", plant_table()).parent
    )
    deny(ceph, bucket, "plant/loose/b.csv")
    with world(database_of(tmp_path)) as mesh:
        equipped(mesh, credentials={"lake": options})
        project, _ = project_with(mesh, "bob", url, credentials="lake")
        given = {"project_id": project.id, "name": "all", "location": url}
        run = ran(mesh, mesh.ask("bob", "CreateDataSource", **given))
        told = activities(mesh, run)
        assert run.status is DataSourceRunStatus.PARTIALLY_SUCCEEDED
        assert told["b.csv"].status is AssetRunStatus.SKIPPED_NO_ACCESS
        assert run.statistics == {"SUCCEEDED_CREATED": 9, "SKIPPED_NO_ACCESS": 1}
        for path in ("../other/t.parquet", "%2e%2e/other/t.parquet", "../plant-more"):
            asked = {"project_id": project.id, "location": f"{url}/{path}"}
            assert isinstance(mesh.refusal("bob", "CreateAsset", **asked), NotFound)
        asked = {"project_id": project.id, "location": f"{bucket}/other/t.parquet"}
        assert isinstance(mesh.refusal("bob", "CreateAsset", **asked), NotFound)
        asset = mesh.ask("bob", "GetAsset", asset_id=told["parts"].asset_id)
        assert mesh.ask("bob", "RefreshAsset", asset_id=asset.id) == asset


def test_62_a_collection_in_a_bucket_is_registered_found_by_a_run_and_read(ceph, tmp_path):
    url, options = f"{ceph.new_bucket()}/plant", ceph.options()
    small_collection(f"{url}/proteins", tmp_path, storage=options)
    small_collection(f"{url}/more", tmp_path, storage=options)
    with world(database_of(tmp_path)) as mesh:
        # The keys are the association's: the server has none of its own.
        reader = Collections(settings(tmp_path))
        equipped(mesh, credentials={"lake": options}, collections=reader)
        project, _ = project_with(mesh, "bob", url, credentials="lake")
        given = {"project_id": project.id, "location": f"{url}/proteins"}
        asset = mesh.ask("bob", "CreateAsset", classification=PUBLIC, **given).asset
        assert (asset.asset_type, asset.technical.rows) == ("VectorCollection", 100)
        given = {"project_id": project.id, "name": "all", "location": url}
        source = mesh.ask("bob", "CreateDataSource", **given)
        assert statuses(mesh, source) == {"proteins": UPDATED, "more": CREATED}
        assert statuses(mesh, source) == dict.fromkeys(["proteins", "more"], UNCHANGED)
        listing = publish(mesh, "bob", asset)
        found = mesh.ask("dee", "ReadRows", listing_id=listing.id, columns=("id",), limit=2)
        assert [one[0] for one in found.rows] == ["p00000", "p00001"]


def statuses(mesh, source):
    """What the next run makes of each asset; one that was there joins the source."""
    return {name: one.status for name, one in activities(mesh, ran(mesh, source)).items()}


def deny(ceph, bucket, key):
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket[5:]}/{key}"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ceph.client().put_bucket_policy(Bucket=bucket[5:], Policy=policy)
