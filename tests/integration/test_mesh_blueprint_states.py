"""A mesh in all the states that a file knows: applied, exported, applied to an empty mesh."""

import pytest
from mesh_server import mesh_server

from atoll.core.errors import Conflict


@pytest.fixture
def write(tmp_path):
    def written(text, name="plant.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mesh_server(tmp_path_factory.mktemp("mesh") / "home") as made:
        yield made


OFFER = """
atoll: 1
projects: {shop: {domain_unit: /}}
associations: {%s: {project: shop, kind: WORKGROUP%s}}
"""


@pytest.mark.parametrize(("name", "status"), [("one", ""), ("two", ", status: PENDING")])
@pytest.mark.parametrize("is_accepted", [True, False])
def test_58_what_was_decided_on_an_offer_stays(server, write, name, status, is_accepted):
    decision = "AcceptAssociation" if is_accepted else "RemoveAssociation"
    name = f"{name} {decision}"
    file = write(OFFER % (name, status))
    server.told("apply", file)
    exported = write(server.told("export"), "exported.yaml")
    [offer] = server.do("ListAssociations", name=name)
    assert offer["status"] == "PENDING"
    decided = server.do(decision, association_id=offer["id"])
    for one in (file, exported):
        assert server.told("apply", one) == "no change\n"
    assert server.do("ListAssociations", name=name) == [decided]


def test_58_what_is_removed_is_removed_once_and_for_good(server, write):
    def file(status):
        return write(OFFER % ("old", f", status: {status}"))

    assert "+" not in server.told("apply", file("REMOVED")).replace("+ project", "")
    assert server.do("ListAssociations", name="old") == []
    server.told("apply", file("ACCEPTED"))
    assert '    status: "ACCEPTED" -> "REMOVED"\n' in server.told("apply", file("REMOVED"))
    assert server.told("apply", file("REMOVED")) == "no change\n"
    assert "old:" not in server.told("export")
    refused = server.invoke("apply", file("ACCEPTED")).exception
    assert isinstance(refused, Conflict)
    assert "association 'old': it was removed for good" in refused.message
