"""Two projects for tests: Bob's gives data away, Cy's asks for them."""

from mesh_world import ROOT, STAMP

from atoll.mesh.audit.access import who
from atoll.mesh.audit.chain import extend
from atoll.mesh.audit.keys import Key
from atoll.mesh.audit.model import GENESIS
from atoll.mesh.filters.views import asset_filter, to_json
from atoll.mesh.harvest.arrowtypes import arrow_schema
from atoll.mesh.harvest.model import Column, Fingerprint, Technical
from atoll.mesh.model.access import SubscriptionGrant
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    Classification,
    ColumnMetadata,
    DataProduct,
    DataProductItem,
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
from atoll.mesh.service.requests import WantedListing

FOREVER = 1 << 60
COLUMNS = {"line": "string", "torque": "double", "worker": "string"}


class Plant:
    """What is there to ask for.

    Attributes:
        owner, reader: ids of the projects.
        folder: where data are.
        public, internal, secret: ids of listings of tables whose column "worker" is personal.
        product: id of the listing of a data product of "internal" and "secret".
    """

    def __init__(self, mesh, folder):
        self.mesh, self.folder = mesh, folder
        self.owner = project(mesh, "bob", "press shop").id
        self.reader = project(mesh, "cy", "forecasts").id
        join(mesh, self.reader, "dee", Designation.CONSUMER, by="cy")
        self.storage = Association(
            id="association-lake",
            name="lake",
            kind=AssociationKind.STORAGE,
            project_id=self.owner,
            status=AssociationStatus.ACCEPTED,
            location=folder.as_uri(),
            **STAMP,
        )
        self.keep(self.storage)
        self.public = self.table("public", Classification.PUBLIC)
        self.internal = self.table("internal", Classification.INTERNAL)
        self.secret = self.table("secret", Classification.CONFIDENTIAL)
        self.product = self.kit("kit", "internal", "secret")

    def keep(self, *records):
        self.mesh.store.write(lambda changes: [changes.add(one) for one in records])

    def find(self, kind, id_):
        with self.mesh.store.reading() as reader:
            return reader.find(kind, id_)

    def every(self, kind, **keys):
        with self.mesh.store.reading() as reader:
            return list(reader.all(kind, **keys))

    def table(self, name, classification):
        """List a table."""
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "part.parquet").write_bytes(b"PAR1")
        self.keep(asset(self.owner, name, place.as_uri(), classification))
        return self.listing(f"asset-{name}", EntityType.ASSET, classification)

    def kit(self, name, *tables):
        """List a data product."""
        items = tuple(DataProductItem(f"asset-{one}", 1) for one in tables)
        own = {"owning_project_id": self.owner, **STAMP}
        self.keep(DataProduct(id=f"product-{name}", name=name, items=items, **own))
        secret = Classification.CONFIDENTIAL
        return self.listing(f"product-{name}", EntityType.DATA_PRODUCT, secret)

    def listing(self, entity_id, entity_type, classification):
        made = Listing(
            id=f"listing-{entity_id}",
            name=entity_id,
            entity_type=entity_type,
            entity_id=entity_id,
            entity_revision=1,
            owning_project_id=self.owner,
            classification=classification,
            **STAMP,
        )
        self.keep(made)
        return made.id

    def filter(self, name, table, configuration):
        """Make a filter of a table; returns its id."""
        asset = self.find(Asset, f"asset-{table}")
        made = asset_filter(name, configuration, arrow_schema(asset.technical))
        id_ = f"filter-{table}-{name}"
        own = {"asset_id": asset.id, "owning_project_id": self.owner, **STAMP}
        self.keep(AssetFilter(id=id_, name=name, definition=to_json(made), **own))
        return id_

    def ask(self, *listings, by="cy", reason="to forecast", forms=(), **terms):
        """Ask for listings on the same terms; returns the first request."""
        return self.basket(*listings, by=by, reason=reason, forms=forms, **terms).requests[0]

    def basket(self, *listings, by="cy", reason="to forecast", forms=(), **terms):
        wanted = tuple(WantedListing(listing_id=one, **terms) for one in listings)
        given = {"listings": wanted}
        given |= {"request_reason": reason, "forms": forms, "project_id": self.reader}
        return self.mesh.ask(by, "CreateSubscriptionRequests", **given)

    def accept(self, request, by="bob", **given):
        given |= {"subscription_request_id": request.id}
        return self.mesh.ask(by, "AcceptSubscriptionRequest", **given)

    def subscribe(self, listing, **terms):
        """Ask, accept where that takes somebody, and have it granted."""
        request = self.ask(listing, **terms)
        if request.status == "PENDING":
            self.accept(request, unmasked=request.wanted.unmasked)
        self.mesh.work()
        return self.subscription(request)

    def subscription(self, request):
        [found] = self.mesh.ask("ann", "ListSubscriptions", listing_id=request.listing_id)["items"][
            -1:
        ]
        return found

    def grant(self, subscription):
        [found] = self.every(SubscriptionGrant, subscription_id=subscription.id)
        return found

    def has_access(self, at=FOREVER):
        """Who has access to what, as the audit tells it: (project, asset, filters, by whom)."""
        sealed, _ = extend(GENESIS, self.mesh.notes, 1, Key(b"k" * 32))
        return [(one.project, one.asset_id, one.filters, one.granted_by) for one in who(sealed, at)]


def project(mesh, owner, name):
    made = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name=name)
    join(mesh, made.id, owner, Designation.OWNER, by="ann")
    mesh.ask("ann", "DeleteProjectMembership", project_id=made.id, member_id="user-ann")
    return made


def join(mesh, project_id, who, designation, by):
    given = {"member_id": f"user-{who}", "designation": designation}
    mesh.ask(by, "CreateProjectMembership", project_id=project_id, **given)


def asset(owner, name, location, classification):
    return Asset(
        id=f"asset-{name}",
        name=name,
        asset_type="Table",
        external_identifier=location,
        owning_project_id=owner,
        association_id="association-lake",
        classification=classification,
        technical=technical(location),
        columns=(ColumnMetadata("worker", pii=PiiFlag("person", PiiStatus.CONFIRMED)),),
        **STAMP,
    )


def technical(location, columns=COLUMNS):
    return Technical(
        kind="table",
        format="parquet",
        location=location,
        columns=tuple(Column(name, dtype, nullable=True) for name, dtype in columns.items()),
        partitions=(),
        rows=3,
        rows_estimate=None,
        size_bytes=4,
        files=1,
        version="1",
        fingerprint=Fingerprint(None, None),
    )
