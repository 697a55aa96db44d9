"""Whatever is done in whatever order: no listing is less sensitive than what it shows."""

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from mesh_catalog import COLUMNS, kept, plain_type, project_of, storage, table, technical
from mesh_databases import database_of
from mesh_world import world

from atoll.core.errors import AtollError
from atoll.mesh.model.catalog import Asset, Classification, DataProduct, Listing, ListingStatus
from atoll.mesh.service.assets import changed_asset
from atoll.mesh.service.listings import ListingAction
from atoll.mesh.service.products import ItemInput

ORDER = list(Classification)
NAMES = [one.name for one in COLUMNS]
NUMBERS = count()
REVISIONS = st.sampled_from([0, 0, 0, 1, 2])  # most often the newest
RARELY = st.sampled_from([False, False, False, True])


class Publishing(RuleBasedStateMachine):
    """An asset, and a data product that it is in or not, in one mesh for all examples."""

    @initialize()
    def begin(self):
        [self.asset] = kept(self.mesh, table(self.project, f"asset{next(NUMBERS)}"))
        given = {"project_id": self.project.id, "name": "product"}
        self.product = self.mesh.ask("bob", "CreateDataProduct", **given)
        self.floor = {}  # per listing: how sensitive it was when it was last looked at
        self.has_published = False

    def ask(self, name, **given):
        """Ask, and change nothing where that is refused."""
        before = self.state()
        try:
            self.mesh.ask("bob", name, **given)
        except AtollError:
            assert self.state() == before

    def state(self):
        with self.mesh.store.reading() as reader:
            ids = {"entity_id": [self.asset.id, self.product.id]}
            return (
                reader.get(Asset, self.asset.id),
                reader.get(DataProduct, self.product.id),
                list(reader.all(Listing, **ids)),
            )

    @rule(classification=st.sampled_from(ORDER), raises=st.booleans())
    def classify(self, classification, raises):
        name = "ClassifyAsset" if raises else "DeclassifyAsset"
        self.ask(name, asset_id=self.asset.id, classification=classification)

    @rule(column=st.sampled_from(NAMES))
    def flag(self, column):
        self.ask("FlagPii", asset_id=self.asset.id, columns=(column,), kind="email")

    @rule(column=st.sampled_from(NAMES), is_personal=st.booleans())
    def decide(self, column, is_personal):
        given = {"columns": (column,), "is_personal": is_personal}
        self.ask("DecidePii", asset_id=self.asset.id, **given)

    @rule(columns=st.lists(st.sampled_from(COLUMNS), unique=True))
    def refresh(self, columns):
        def work(call):
            now = call.find(Asset, id=self.asset.id)
            return None if now.is_archived else changed_asset(call, now, technical=found)

        found = technical(columns, name=self.asset.name)
        self.mesh.attendant.act("RefreshAsset", "test", work)

    @rule(revision=REVISIONS, unpublishes=RARELY)
    def list_asset(self, revision, unpublishes):
        self.publish("CreateListingChangeSet", unpublishes, revision, asset_id=self.asset.id)

    @rule(revision=REVISIONS, unpublishes=RARELY)
    def list_product(self, revision, unpublishes):
        given = {"data_product_id": self.product.id}
        self.publish("CreateDataProductListingChangeSet", unpublishes, revision, **given)

    def publish(self, name, unpublishes, revision, **given):
        action = ListingAction.UNPUBLISH if unpublishes else ListingAction.PUBLISH
        self.has_published = not unpublishes
        self.ask(name, action=action, revision=revision, **given)

    @rule(revision=REVISIONS, is_out=RARELY)
    def fill(self, revision, is_out):
        items = () if is_out else (ItemInput(asset_id=self.asset.id, revision=revision),)
        self.ask("SetDataProductItems", data_product_id=self.product.id, items=items)

    @rule(archives=RARELY)
    def archive(self, archives):
        self.ask("ArchiveAsset" if archives else "RestoreAsset", asset_id=self.asset.id)

    @invariant()
    def no_listing_is_less_sensitive_than_what_it_shows(self):
        now, _, listings = self.state()
        with self.mesh.store.reading() as reader:
            for listing in listings:
                shown = self.assets_shown(reader, listing)
                for one in (*shown, *([now] if shown else [])):
                    assert rank(listing) >= ORDER.index(one.classification)
                    assert listing.has_pii or not one.personal
                assert listing.status is not ListingStatus.CREATING

    def assets_shown(self, reader, listing):
        if listing.entity_id == self.asset.id:
            return [reader.past(Asset, self.asset.id, listing.entity_revision)]
        product = reader.past(DataProduct, self.product.id, listing.entity_revision)
        return [reader.past(Asset, one.asset_id, one.revision) for one in product.items]

    @invariant()
    def a_listing_is_less_strict_only_by_publication(self):
        for listing in self.state()[2]:
            before = self.floor.get(listing.id, (0, False))
            if not self.has_published:
                assert rank(listing) >= before[0]
                assert listing.has_pii >= before[1]
            self.floor[listing.id] = (rank(listing), listing.has_pii)
        self.has_published = False

    @invariant()
    def what_is_shown_is_not_archived(self):
        now, _, listings = self.state()
        assert not (now.is_archived and any(self.is_active(one) for one in listings))

    def is_active(self, listing):
        return listing.status is ListingStatus.ACTIVE and listing.entity_id == self.asset.id


def rank(listing):
    return ORDER.index(listing.classification)


def test_39_no_listing_is_less_sensitive_than_what_it_shows(tmp_path):
    some = settings(max_examples=30, stateful_step_count=20)
    with world(database_of(tmp_path)) as Publishing.mesh:
        Publishing.project = project_of(Publishing.mesh, "bob", "welding")
        kept(Publishing.mesh, plain_type(), storage(Publishing.project))
        run_state_machine_as_test(Publishing, settings=some)
