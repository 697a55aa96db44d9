"""Requests made up from the OpenAPI document: none is a fault of ours, and answers are as told."""

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_doors import PORTAL, browser_at, opened
from mesh_hidden import renamed
from mesh_samples import samples, shared
from mesh_world import STAMP
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from atoll.core.errors import Conflict
from atoll.mesh.hosting import FIRST_NAME
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    AssociationStatus,
    Designation,
    Domain,
    DomainUnit,
    Environment,
    PolicyGrant,
    PolicyType,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import AccessToken, GroupProfile, UserProfile, UserType
from atoll.mesh.service import OPERATIONS

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
FEW, MANY = 2, 50  # requests of each operation


class Asked:
    """A mesh with one of everything, its administrator's token, and its document."""

    def __init__(self, home):
        self.mesh = opened(home)
        self.client = browser_at(self.mesh.application).__enter__()
        password = self.mesh.first.read_text().splitlines()[1]
        told = {"name": FIRST_NAME, "password": password}
        session = self.client.post("/v1/sign-in", json=told).json()
        with self.mesh.store.reading() as reader:
            [self.domain] = reader.all(Domain)
            [self.admin] = reader.all(UserProfile)
        path = f"/v1/user-profiles/{self.admin.id}/access-tokens"
        headers = {"X-CSRF-Token": session["csrf"]}
        body = {"name": "all", "scopes": ["admin"]}
        text = self.client.post(path, json=body, headers=headers).json()["text"]
        self.client.cookies.clear()
        self.client.headers["Authorization"] = f"Bearer {text}"
        document = self.client.get("/v1/openapi.json").json()
        found = schemathesis.openapi.from_dict(document).get_all_operations()
        self.documented = {one.ok().definition.raw["operationId"]: one.ok() for one in found}

    def close(self):
        self.client.__exit__()
        self.mesh.close()

    def send(self, case, *unwanted):
        """Make a request, without some headers."""
        sent = case.as_transport_kwargs(base_url=PORTAL)
        body = {key: sent[key] for key in ("json", "data") if sent.get(key) is not None}
        if isinstance(body.get("data"), bytes):
            body["content"] = body.pop("data")
        # What a header may hold, a client of ours would not send. Tokens are tried elsewhere.
        headers = [
            (key, value.encode("latin-1"))
            for key, value in sent["headers"].items()
            if key.lower() not in ("authorization", *unwanted)
        ]
        return self.client.request(
            sent["method"], sent["url"], params=sent.get("params"), headers=headers, **body
        )

    def ids(self):
        """Put back what was removed; return an id of each kind."""
        made = list(self._records())
        for one in made:
            with suppress(Conflict):
                self.mesh.store.write(lambda changes, one=one: changes.add(one))
        return {type(one).__name__: one.id for one in made} | {"Domain": self.domain.id}

    def _records(self):
        unit = DomainUnit(
            id="unit-hidden",
            name="unit",
            parent_domain_unit_id=self.domain.root_domain_unit_id,
            owners=(self.admin.id,),
            **STAMP,
        )
        project = Project(id="project-hidden", name="hidden", domain_unit_id=unit.id, **STAMP)
        own = {"project_id": project.id, **STAMP}
        yield unit
        yield project
        user = UserProfile(id="user-robot", name="robot", type=UserType.SERVICE, **STAMP)
        yield user
        yield GroupProfile(id="group-hidden", name="group", **STAMP)
        yield AccessToken(
            id="token-hidden",
            name="token",
            principal_id=user.id,
            scopes=("read",),
            expires_at=1 << 60,
            **STAMP,
        )
        yield PolicyGrant(
            id="policygrant-hidden",
            domain_unit_id=unit.id,
            policy_type=PolicyType.CREATE_PROJECT,
            principal_id=user.id,
            **STAMP,
        )
        owner = {"member_id": self.admin.id, "designation": Designation.OWNER}
        yield ProjectMembership(id="membership-hidden", **owner, **own)
        yield Association(
            id="association-hidden",
            name="place",
            kind=AssociationKind.STORAGE,
            status=AssociationStatus.ACCEPTED,
            location="file:///nowhere",
            **own,
        )
        yield Environment(
            id="environment-hidden",
            name="environment",
            storage_id="association-hidden",
            workgroup_id="association-hidden",
            prefix="file:///nowhere/x",
            **own,
        )
        yield from map(renamed, samples(project.id, unit.id, self.admin.id))
        yield from shared(project.id, project.id, "hidden")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    made = Asked(tmp_path_factory.mktemp("openapi") / "home")
    yield made
    made.close()


def ask(asked, name, most):
    """Make requests of an operation, good and bad ones, about what is there and what is not."""
    operation, ids = OPERATIONS[name], asked.ids()
    found = asked.documented[name]
    cases = st.one_of(*(found.as_strategy(generation_mode=one) for one in GenerationMode))

    @settings(
        max_examples=most,
        deadline=None,
        database=None,
        derandomize=most == FEW,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_there=st.integers(0, 3))
    def made(case, is_there):
        if is_there and operation.about:
            case.path_parameters[operation.about] = ids[operation.on.__name__]
        # Most of those made up say that the request is none, and no more is looked at.
        unwanted = ("if-match", "idempotency-key") if is_there > 1 else ()
        case.validate_response(asked.send(case, *unwanted), checks=list(CHECKS))

    made()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_request_is_a_fault_of_ours_and_answers_are_as_the_document_says(asked, name):
    ask(asked, name, FEW)


@pytest.mark.nightly
@pytest.mark.parametrize("name", OPERATIONS)
def test_many_requests_are_no_fault_of_ours(asked, name):
    ask(asked, name, MANY)
