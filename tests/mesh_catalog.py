"""Assets of a project, for tests: put into the store as a data source would."""

from mesh_world import ROOT, STAMP, now

from atoll.mesh.harvest.model import Column, Fingerprint, Technical
from atoll.mesh.model.catalog import Asset, AssetType, Classification
from atoll.mesh.model.organisation import Association, AssociationKind, AssociationStatus
from atoll.mesh.service.listings import ListingAction

COLUMNS = (
    Column("order", "int64", False),
    Column("worker", "string", True),
    Column("torque", "double", True),
)
PARTITIONS = (Column("year", "int32", False),)


def parquet_table(location, columns, **values):
    """What the files of a small table say, but for what `values` say."""
    given = {
        "partitions": (),
        "rows": 3,
        "rows_estimate": None,
        "size_bytes": 4,
        "files": 1,
        "version": "1",
        "fingerprint": Fingerprint(None, None),
        **values,
    }
    return Technical("table", "parquet", location, tuple(columns), **given)


def technical(columns=COLUMNS, *, content="content", version="v1", name="welds"):
    """A table with a partition, and with something to hide."""
    return parquet_table(
        f"s3://plant/{name}",
        columns,
        partitions=PARTITIONS,
        rows=1000,
        size_bytes=4096,
        files=2,
        version=version,
        fingerprint=Fingerprint(schema=f"schema-{len(columns)}", content=content),
        details={"encoding": "utf-8"},
        remarks=("secret-folder/part.parquet was not read",),
    )


def kept(mesh, *records):
    """Put records into the store."""
    return mesh.store.write(lambda changes: [changes.add(one) for one in records])


def storage(project, name="lake", status=AssociationStatus.ACCEPTED, location=""):
    """A storage association of a project."""
    return Association(
        id=f"association-{name}",
        name=name,
        kind=AssociationKind.STORAGE,
        project_id=project.id,
        status=status,
        location=location or f"s3://plant/{name}",
        **STAMP,
    )


def table(project, name="welds", **values):
    """An asset, ready to be published but for what `values` say."""
    given = {
        "name": name,
        "asset_type": "Plain",
        "external_identifier": f"s3://plant/{name}",
        "owning_project_id": project.id,
        "association_id": "association-lake",
        "classification": Classification.INTERNAL,
        "technical": technical(content=name, name=name),
        **values,
    }
    return Asset(id=f"asset-{name}", **given, **STAMP)


def plain_type():
    """A type of assets that has no forms, and is everybody's."""
    return AssetType(id="assettype-plain", name="Plain", **STAMP)


def project_of(mesh, who, name, unit_id=ROOT):
    """A project owned by somebody but Ann."""
    made = mesh.ask("ann", "CreateProject", domain_unit_id=unit_id, name=name)
    given = {"member_id": f"user-{who}", "designation": "PROJECT_OWNER"}
    mesh.ask("ann", "CreateProjectMembership", project_id=made.id, **given)
    mesh.ask("ann", "DeleteProjectMembership", project_id=made.id, member_id="user-ann")
    return made


def publish(mesh, who, asset, **more):
    """Publish an asset."""
    given = {"asset_id": asset.id, "action": ListingAction.PUBLISH, **more}
    return mesh.ask(who, "CreateListingChangeSet", **given)


def unpublish(mesh, who, asset):
    """Show an asset to others no longer."""
    given = {"asset_id": asset.id, "action": ListingAction.UNPUBLISH}
    return mesh.ask(who, "CreateListingChangeSet", **given)


def scored(mesh, asset_id, score, *, by="bob", at=0, **more):
    """Post a score of an asset's quality; `at` microseconds before or after now."""
    given = {"asset_id": asset_id, "timestamp": now() + at, "score": score, **more}
    return mesh.ask(by, "PostTimeSeriesDataPoints", **given)
