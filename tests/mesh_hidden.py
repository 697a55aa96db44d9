"""A mesh with a project that most people may not know of, and every id that they may name.

Hugo owns the hidden project, which has one of everything. Bob's project gives data to Cy's; Bob
owns a unit, too. Sam is in no project.
"""

import re
from dataclasses import replace

import msgspec
from mesh_access import Plant
from mesh_samples import samples, shared
from mesh_world import ROOT, STAMP
from msgspec import inspect

from atoll.core.errors import AtollError
from atoll.core.records import decoded
from atoll.mesh.model.access import SubscriptionGrant
from atoll.mesh.model.catalog import Classification, Listing, ListingStatus
from atoll.mesh.model.notices import Notification, NotificationType
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    AssociationStatus,
    Designation,
    Environment,
    PolicyGrant,
    PolicyType,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import AccessToken
from atoll.mesh.model.record import Id
from atoll.mesh.operations.registry import Right, viewing
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.products import ItemInput
from atoll.mesh.service.requests import WantedListing

LOOKED_AT = {one.on: one.right for one in OPERATIONS.values() if one.name == viewing(one.on).name}
OPEN = {kind for kind, right in LOOKED_AT.items() if right is Right.BROWSE}
_ID = re.compile(inspect.type_info(Id).pattern).pattern
COLUMNS = {"columnConfiguration": {"includedColumnNames": ["line"]}}


class Hidden:
    """The hidden things, and a plant of which others know.

    Attributes:
        ids: of all that is hidden, by kind.
    """

    def __init__(self, mesh, folder):
        self.mesh = mesh
        for name in ("hugo", "sam"):
            mesh.person(name)
        self.plant = Plant(mesh, folder)
        self.unit = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="bobs").id
        owners = ("user-bob",)
        mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=self.unit, owners=owners)
        given = {"policy_type": PolicyType.CREATE_ENVIRONMENT, "principal_id": "all-users"}
        mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, includes_children=True, **given)
        self.ids = {}
        for one in self._records():
            self.plant.keep(one)
            if type(one) in LOOKED_AT.keys() - OPEN:
                self.ids.setdefault(type(one), []).append(one.id)

    def _records(self):
        project = Project(id="project-hidden", name="hidden", domain_unit_id=ROOT, **STAMP)
        own = {"project_id": project.id, **STAMP}
        yield project
        for kind in AssociationKind:
            yield Association(
                id=f"association-{kind.lower()}",
                name=f"hidden {kind}",
                kind=kind,
                status=AssociationStatus.ACCEPTED,
                location=f"s3://hidden/{kind}",
                **own,
            )
        yield Environment(
            id="environment-hidden",
            name="hidden",
            storage_id="association-storage",
            workgroup_id="association-workgroup",
            prefix="s3://hidden/here",
            **own,
        )
        owner = {"member_id": "user-hugo", "designation": Designation.OWNER}
        yield ProjectMembership(id="membership-hidden", **owner, **own)
        yield PolicyGrant(
            id="policygrant-hidden",
            domain_unit_id=ROOT,
            policy_type=PolicyType.CREATE_PROJECT,
            principal_id="user-hugo",
            **STAMP,
        )
        yield AccessToken(
            id="token-hidden",
            name="hidden",
            principal_id="user-hugo",
            scopes=("read",),
            expires_at=1 << 60,
            **STAMP,
        )
        for one in samples(project.id, ROOT, "user-hugo"):
            made = renamed(one)
            is_listing = isinstance(made, Listing)
            yield replace(made, status=ListingStatus.INACTIVE) if is_listing else made
        # So that of the hidden users' own, others have one, too.
        yield from shared(project.id, "project-third", "hidden")
        yield from shared("project-third", project.id, "hidden-given")

    def askers(self):
        """By operation and field that takes an id: who may ask, an id that does, and the rest."""
        mesh, plant = self.mesh, self.plant
        held = plant.subscribe(plant.public)
        waits, given = plant.ask(plant.secret), plant.ask(plant.product)
        environment, target, workgroup = self._places()
        campaign = mesh.ask(
            "ann", "CreateReviewCampaign", domain_unit_id=ROOT, name="review", due_at=1 << 52
        )
        told = Notification(
            id="notification-bobs",
            recipient_id="user-bob",
            type=NotificationType.EVENT,
            topic="SAMPLE",
            subject_kind="asset",
            subject_id="asset-public",
            event=1,
            title="told",
            **STAMP,
        )
        plant.keep(told)
        proposals = [self._proposal(text) for text in ("one", "two")]
        owner, reader = plant.owner, plant.reader
        of_public = plant.filter("lines", "public", COLUMNS)
        of_secret = plant.filter("lines", "secret", COLUMNS)
        grant = plant.every(SubscriptionGrant, target_id=target)[0]
        asset = {"asset_id": "asset-secret"}
        product = mesh.ask("bob", "CreateDataProduct", project_id=owner, name="new")
        places = {"storage_id": plant.storage.id, "workgroup_id": workgroup}
        wanted = {"listing_id": plant.table("extra", Classification.INTERNAL)}
        return {
            ("ListSubscriptionGrants", "project_id"): ("cy", reader, {}),
            ("ListSubscriptionGrants", "owning_project_id"): ("bob", owner, {}),
            ("ListSubscriptionGrants", "subscription_id"): ("cy", held.id, {}),
            ("ListSubscriptionGrants", "target_id"): ("cy", target, {}),
            ("UpdateSubscriptionGrantStatus", "asset_id"): (
                "cy",
                "asset-public",
                {"subscription_grant_id": grant.id, "status": "GRANT_IN_PROGRESS"},
            ),
            ("CreateSubscriptionTarget", "environment_id"): (
                "cy",
                environment,
                {"project_id": reader, "name": "new"},
            ),
            ("ReadRows", "project_id"): ("cy", reader, {"listing_id": plant.public}),
            ("ListSubscriptions", "project_id"): ("cy", reader, {}),
            ("ListSubscriptions", "owning_project_id"): ("bob", owner, {}),
            ("ListSubscriptions", "listing_id"): ("cy", plant.public, {}),
            ("UpdateSubscriptionTerms", "filter_ids"): (
                "bob",
                (of_public,),
                {"subscription_id": held.id},
            ),
            ("CreateSubscriptionRequests", "listings.listing_id"): (
                "cy",
                lambda id_: {"listings": (WantedListing(listing_id=id_),)},
                {"project_id": reader, "request_reason": "to see"},
                plant.internal,
            ),
            ("CreateSubscriptionRequests", "listings.filter_ids"): (
                "cy",
                lambda id_: {"listings": (WantedListing(**wanted, filter_ids=(id_,)),)},
                {"project_id": reader, "request_reason": "to see"},
                plant.filter("lines", "extra", COLUMNS),
            ),
            ("ListSubscriptionRequests", "project_id"): ("cy", reader, {}),
            ("ListSubscriptionRequests", "owning_project_id"): ("bob", owner, {}),
            ("ListSubscriptionRequests", "listing_id"): ("cy", plant.secret, {}),
            ("UpdateSubscriptionRequest", "filter_ids"): (
                "cy",
                (of_secret,),
                {"subscription_request_id": waits.id},
            ),
            ("AcceptSubscriptionRequest", "filter_ids"): (
                "bob",
                (of_secret,),
                {"subscription_request_id": given.id},
            ),
            ("ListListings", "entity_id"): ("cy", "asset-public", {}),
            ("ListListings", "owning_project_id"): ("cy", owner, {}),
            ("UpdateAsset", "upstream"): ("bob", ("asset-public",), asset),
            ("MarkNotificationsRead", "ids"): (
                "bob",
                (told.id,),
                {"user_profile_id": "user-bob"},
            ),
            ("AddPolicyGrant", "principal_id"): (
                "bob",
                owner,
                {"domain_unit_id": self.unit, "policy_type": PolicyType.CREATE_GLOSSARY},
            ),
            ("ListAssociations", "project_id"): ("bob", owner, {}),
            ("CreateEnvironment", "storage_id"): (
                "bob",
                plant.storage.id,
                {**places, "project_id": owner, "name": "other"},
            ),
            ("CreateEnvironment", "workgroup_id"): (
                "bob",
                workgroup,
                {**places, "project_id": owner, "name": "another"},
            ),
            ("Explain", "resource_id"): ("bob", owner, {"operation": "GetProject"}),
            ("Explain", "principal_id"): ("bob", "user-bob", {"operation": "GetDomain"}),
            ("CreateDataProduct", "items.asset_id"): (
                "bob",
                lambda id_: {"items": (ItemInput(asset_id=id_),)},
                {"project_id": owner, "name": "kit of one"},
                "asset-public",
            ),
            ("SetDataProductItems", "items.asset_id"): (
                "bob",
                lambda id_: {"items": (ItemInput(asset_id=id_),)},
                {"data_product_id": product.id},
                "asset-public",
            ),
            ("CreateProposal", "subject_id"): (
                "cy",
                "asset-public",
                {"path": "description", "after": "other"},
            ),
            ("ListProposals", "subject_id"): ("bob", "asset-secret", {}),
            ("ListProposals", "owning_project_id"): ("bob", owner, {}),
            ("AcceptProposals", "proposal_ids"): (
                "bob",
                (proposals[0],),
                {"project_id": owner},
            ),
            ("RejectProposals", "proposal_ids"): (
                "bob",
                (proposals[1],),
                {"project_id": owner},
            ),
            ("ListReviewItems", "campaign_id"): ("bob", campaign.id, {}),
            ("ListReviewItems", "owning_project_id"): ("bob", owner, {}),
        }

    def _places(self):
        mesh, plant = self.mesh, self.plant
        made = {
            kind: Association(
                id=f"association-cys-{kind.lower()}",
                name=f"cy's {kind}",
                kind=kind,
                status=AssociationStatus.ACCEPTED,
                project_id=project_id,
                location=f"s3://cy/{kind}",
                **STAMP,
            )
            for kind, project_id in (
                (AssociationKind.STORAGE, plant.reader),
                (AssociationKind.WORKGROUP, plant.owner),
            )
        }
        plant.keep(*made.values())
        environment = Environment(
            id="environment-cys",
            name="cy's",
            project_id=plant.reader,
            storage_id=made[AssociationKind.STORAGE].id,
            workgroup_id=made[AssociationKind.WORKGROUP].id,
            prefix="s3://cy/here",
            **STAMP,
        )
        plant.keep(environment)
        given = {"environment_id": environment.id, "name": "warehouse"}
        target = mesh.ask("cy", "CreateSubscriptionTarget", project_id=plant.reader, **given)
        return environment.id, target.id, made[AssociationKind.WORKGROUP].id

    def _proposal(self, text):
        given = {"subject_id": "asset-secret", "path": "description", "after": text}
        return self.mesh.ask("cy", "CreateProposal", **given).id


def renamed(record):
    """A sample under ids and names of its own."""
    return decoded(msgspec.json.encode(record).replace(b"sample", b"hidden"), type(record))


def outcome(do, *ids):
    """What somebody is told, whatever the id that they named."""
    try:
        told = do()
    except AtollError as error:
        told = [type(error).__name__, error.code, error.status, error.message, error.details]
    text = msgspec.json.encode(told).decode()
    for one in ids:
        text = text.replace(one, "ID")
    return text


def fields_with_ids():
    """Yield the operations and the fields in what they are told that name something."""
    for name, operation in OPERATIONS.items():
        for path, kind in _texts(inspect.type_info(operation.ask), ""):
            last = path.rpartition(".")[2]
            if kind.pattern == _ID or last.endswith(("_id", "_ids")):
                yield name, path


def _texts(kind, path):
    match kind:
        case inspect.UnionType(types=types):
            for one in types:
                yield from _texts(one, path)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield from _texts(item, path)
        case inspect.DictType(value_type=value):
            yield from _texts(value, path)
        case inspect.StructType(fields=fields):
            for one in fields:
                yield from _texts(one.type, f"{path}.{one.name}".strip("."))
        case inspect.StrType():
            yield path, kind
