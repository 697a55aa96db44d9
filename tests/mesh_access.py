"""Two projects for tests: Bob's gives data away, Cy's asks for them."""

from dataclasses import replace

from mesh_catalog import kept, parquet_table, project_of, storage
from mesh_world import STAMP

from atoll.mesh.audit.access import who
from atoll.mesh.audit.chain import extend
from atoll.mesh.audit.keys import Key
from atoll.mesh.audit.model import GENESIS
from atoll.mesh.filters.views import asset_filter, to_json
from atoll.mesh.harvest.arrowtypes import arrow_schema
from atoll.mesh.harvest.model import Column
from atoll.mesh.model.access import Subscription, SubscriptionGrant
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
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Designation
from atoll.mesh.operations.jobs import HANDLERS
from atoll.mesh.service.access import reads
from atoll.mesh.service.requests import WantedListing

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
        owner = project_of(mesh, "bob", "press shop")
        self.owner, self.reader = owner.id, project_of(mesh, "cy", "forecasts").id
        join(mesh, self.reader, "dee", Designation.CONSUMER, by="cy")
        self.storage = storage(owner, location=folder.as_uri())
        self.keep(self.storage)
        self.public = self.table("public", Classification.PUBLIC)
        self.internal = self.table("internal", Classification.INTERNAL)
        self.secret = self.table("secret", Classification.CONFIDENTIAL)
        self.product = self.kit("kit", "internal", "secret")

    def keep(self, *records):
        kept(self.mesh, *records)

    def find(self, kind, id_):
        with self.mesh.store.reading() as reader:
            return reader.find(kind, id_)

    def every(self, kind, /, **keys):
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
        ids = tuple(one.asset_id for one in items)
        return self.listing(f"product-{name}", EntityType.DATA_PRODUCT, secret, asset_ids=ids)

    def listing(self, entity_id, entity_type, classification, **values):
        made = Listing(
            id=f"listing-{entity_id}",
            name=entity_id,
            entity_type=entity_type,
            entity_id=entity_id,
            entity_revision=1,
            owning_project_id=self.owner,
            classification=classification,
            **values,
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

    def wanted(self, *listings, **terms):
        return tuple(WantedListing(listing_id=one, **terms) for one in listings)

    def ask(self, *listings, **given):
        """Ask for listings on the same terms; returns the first request."""
        return self.basket(*listings, **given).requests[0]

    def basket(self, *listings, by="cy", reason="to forecast", forms=(), **terms):
        given = {"request_reason": reason, "forms": forms, "project_id": self.reader}
        wanted = self.wanted(*listings, **terms)
        return self.mesh.ask(by, "CreateSubscriptionRequests", listings=wanted, **given)

    def refusal(self, *listings, by="cy", **terms):
        """Return the error that asking for listings ends in."""
        given = {"request_reason": "to forecast", "project_id": self.reader}
        wanted = self.wanted(*listings, **terms)
        return self.mesh.refusal(by, "CreateSubscriptionRequests", listings=wanted, **given)

    def act(self, kind, id_, work, *more):
        """Have the mesh itself do something to a record."""

        def done(call):
            return work(call, call.find(kind, id=id_), *more)

        return self.mesh.attendant.act("Test", "test", done)

    def change(self, record, **values):
        """Change a record behind everybody's back."""
        changed = replace(record, version=record.version + 1, **values)
        return self.mesh.store.write(lambda changes: changes.put(changed))

    def do_now(self, kind):
        """Do the jobs of a kind that wait for their time, as if it had come."""
        for one in self.every(Job, kind=kind):
            HANDLERS[kind].run(self.mesh.attendant, one)

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
        [found] = self.every(Subscription, request_id=request.id)
        return found

    def reads(self, table, project_id=""):
        """Through which subscription a table is read now."""
        with self.mesh.store.reading() as reader:
            return reads(reader, project_id or self.reader, f"asset-{table}")

    def grant(self, subscription):
        [found] = self.every(SubscriptionGrant, subscription_id=subscription.id)
        return found

    def has_access(self, at=1):
        """Who has access to what, as the audit tells it, all events being of moment 1."""
        sealed, _ = extend(GENESIS, self.mesh.notes, 1, Key(b"k" * 32))
        return who(sealed, at)


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
    typed = [Column(name, dtype, nullable=True) for name, dtype in columns.items()]
    return parquet_table(location, typed)
