"""Two projects of a small mesh: Bob's press shop lists a table, Cy's analysis reads it."""

from dataclasses import replace

from mesh_catalog import kept, parquet_table, project_of, storage
from mesh_world import STAMP

from atoll.mesh.harvest.model import Column
from atoll.mesh.model.access import Subscription, SubscriptionRequest, Terms
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    ColumnMetadata,
    DataProduct,
    DataProductItem,
    EntityType,
    Listing,
    PiiFlag,
    PiiStatus,
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
        self.producer = project_of(mesh, "bob", "press shop")
        self.consumer = project_of(mesh, "cy", "analysis")
        self.storage = storage(self.producer, location="s3://plant/press")
        self.keep(self.storage)
        self.asset, self.listing = self.listed("torque")

    def keep(self, *records):
        return kept(self.mesh, *records)

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

    def offered_together(self, *names):
        """The listing of a data product of listed tables."""
        own = {"owning_project_id": self.producer.id, "name": "together", **STAMP}
        items = tuple(DataProductItem(f"asset-{one}", 1) for one in names)
        product = DataProduct(id="product-together", items=items, **own)
        listing = Listing(
            id="listing-together",
            entity_type=EntityType.DATA_PRODUCT,
            entity_id=product.id,
            entity_revision=1,
            asset_ids=product.asset_ids,
            classification=self.classification,
            **own,
        )
        return self.keep(product, listing)[1]

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
    return parquet_table(f"s3://plant/press/{name}", columns)
