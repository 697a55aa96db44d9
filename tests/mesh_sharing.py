"""Two projects of a small mesh: Bob's press shop lists a table, Cy's analysis reads it."""

from dataclasses import replace

from mesh_world import ROOT, STAMP

from atoll.mesh.harvest.model import Column, Fingerprint, Technical
from atoll.mesh.model.access import Subscription, SubscriptionRequest, Terms
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    ColumnMetadata,
    EntityType,
    Listing,
    PiiFlag,
    PiiStatus,
)
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    AssociationStatus,
    Designation,
)

COLUMNS = (
    Column("line", "string", True),
    Column("worker", "string", True),
    Column("torque", "double", True),
)
AS_IS = {"columnConfiguration": {"includedColumnNames": ["line", "torque"]}}
LINE_A = {
    "rowConfiguration": {
        "rowFilter": {"expression": {"equalTo": {"columnName": "line", "value": "A"}}}
    }
}


class Shop:
    """What there is to share.

    Attributes:
        producer, consumer: projects.
        asset, listing: the press shop's.
    """

    def __init__(self, mesh, classification=Classification.INTERNAL):
        self.mesh, self.classification = mesh, classification
        self.producer = self._project("press shop", "bob")
        self.consumer = self._project("analysis", "cy")
        self.storage = Association(
            id="association-lake",
            name="lake",
            kind=AssociationKind.STORAGE,
            project_id=self.producer.id,
            status=AssociationStatus.ACCEPTED,
            location="s3://plant/press",
            **STAMP,
        )
        self.keep(self.storage)
        self.asset, self.listing = self.listed("torque")

    def _project(self, name, owner):
        made = self.mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name=name)
        given = {"member_id": f"user-{owner}", "designation": Designation.OWNER}
        self.mesh.ask("ann", "CreateProjectMembership", project_id=made.id, **given)
        given["member_id"] = "user-ann"
        self.mesh.ask(owner, "DeleteProjectMembership", project_id=made.id, member_id="user-ann")
        return made

    def keep(self, *records):
        self.mesh.store.write(lambda changes: [changes.add(one) for one in records])
        return records

    def put(self, record, **values):
        """Change a record past all operations."""
        changed = replace(record, version=record.version + 1, **values)
        return self.mesh.store.write(lambda changes: changes.put(changed))

    def listed(self, name):
        """A table of the press shop, and its listing."""
        own = {"owning_project_id": self.producer.id, "name": name, **STAMP}
        asset = Asset(
            id=f"asset-{name}",
            asset_type="Table",
            external_identifier=f"s3://plant/press/{name}",
            association_id=self.storage.id,
            classification=self.classification,
            technical=technical(name),
            columns=(ColumnMetadata("worker", pii=PiiFlag("name", PiiStatus.CONFIRMED)),),
            **own,
        )
        listing = Listing(
            id=f"listing-{name}",
            entity_type=EntityType.ASSET,
            entity_id=asset.id,
            entity_revision=1,
            classification=self.classification,
            **own,
        )
        return self.keep(asset, listing)

    def subscribed(self, name="given", of="torque", *, created_at=1, **terms):
        """The analysis' subscription to a listed table, as if somebody had let them."""
        both = {
            "listing_id": f"listing-{of}",
            "entity_id": f"asset-{of}",
            "project_id": self.consumer.id,
            "owning_project_id": self.producer.id,
            **STAMP,
            "created_at": created_at,
        }
        held = Subscription(
            id=f"subscription-{name}",
            request_id=f"request-{name}",
            columns={f"asset-{of}": ("line", "worker", "torque")},
            approved_by="user-bob",
            terms=Terms(**terms),
            **both,
        )
        return self.keep(held)[0]

    def asked(self, name="asked", *, of="torque", expires_at=1 << 60, **more):
        """The analysis' open request for a listed table."""
        made = SubscriptionRequest(
            id=f"request-{name}",
            basket="basket",
            listing_id=f"listing-{of}",
            listing_version=1,
            entity_id=f"asset-{of}",
            project_id=self.consumer.id,
            owning_project_id=self.producer.id,
            classification=self.classification,
            request_reason="to see",
            expires_at=expires_at,
            **{**STAMP, "created_by": "user-cy"},
            **more,
        )
        return self.keep(made)[0]

    def seen(self, record):
        """A record as it stands now."""
        with self.mesh.store.reading() as reader:
            return reader.find(type(record), record.id)

    def noted(self, operation):
        """What the audit says of an operation, in order."""
        return [one for one in self.mesh.notes if one.operation == operation]


def technical(name, columns=COLUMNS):
    return Technical(
        kind="table",
        format="parquet",
        location=f"s3://plant/press/{name}",
        columns=columns,
        partitions=(),
        rows=3,
        rows_estimate=None,
        size_bytes=100,
        files=1,
        version="1",
        fingerprint=Fingerprint(None, None),
    )
