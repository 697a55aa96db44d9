"""The audit as owners and administrators read it: events, access at any date, verification."""

import base64
import io
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mesh_samples import samples
from mesh_world import KEY, ROOT, world

from atoll.core.config import Settings
from atoll.core.errors import Corrupt, Forbidden, InvalidInput, NotFound
from atoll.mesh.audit.access import AccessChange, change_details
from atoll.mesh.audit.anchors import Anchor, read_anchors
from atoll.mesh.audit.export import verify_export
from atoll.mesh.audit.model import Head, new_event
from atoll.mesh.cli import mesh as commands
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.organisation import Designation
from atoll.mesh.operations.jobs import HANDLERS
from atoll.mesh.service import audit
from atoll.mesh.service.telling import tell
from atoll.mesh.store.events import EVENTS


@pytest.fixture
def mesh(database):
    with world(database) as made:
        yield made


@pytest.fixture
def asset(mesh):
    """An asset of Bob's project, in which Cy contributes."""
    project = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press shop")
    for who, designation in (("bob", Designation.OWNER), ("cy", Designation.CONTRIBUTOR)):
        given = {"member_id": f"user-{who}", "designation": designation}
        mesh.ask("ann", "CreateProjectMembership", project_id=project.id, **given)
    [made] = [one for one in samples(project.id, ROOT, "user-bob") if isinstance(one, Asset)]
    return mesh.store.write(lambda changes: changes.add(made))


def note(mesh, asset, kind, project="project-reader", **more):
    """Have the audit say that access to an asset changed; return when."""
    change = AccessChange(kind, asset.id, "subscription-1", project=project, **more)
    event = new_event(
        "Change",
        "ALLOWED",
        principal="user-bob",
        via="test",
        resource_kind="subscription",
        resource_id="subscription-1",
        project=project,
        asset_id=asset.id,
        details=change_details(change),
    )
    mesh.store.write(lambda changes: changes.notes.append(event))
    with mesh.store.reading() as reader:
        return reader.event_head().at


def changed(mesh, seq, **values):
    """Change a row of the audit behind its back."""
    with mesh.store.engine.begin() as connection:
        connection.execute(EVENTS.update().where(EVENTS.c.seq == seq).values(**values))


def test_45_who_has_access_since_when_by_whom_and_for_what_is_told_for_any_past_date(mesh, asset):
    granted = note(mesh, asset, "GRANTED", why="to predict failures")
    revoked = note(mesh, asset, "REVOKED")
    assert mesh.ask("bob", "ListAssetAccess", asset_id=asset.id).access == []
    [then] = mesh.ask("bob", "ListAssetAccess", asset_id=asset.id, at=revoked - 1).access
    assert (then.project_id, then.since, then.why) == (
        "project-reader",
        granted,
        "to predict failures",
    )
    assert (then.granted_by, then.asset) == ("bob", asset.name)
    assert mesh.ask("bob", "ListAssetAccess", asset_id=asset.id, at=granted - 1).access == []


def test_45_administrators_ask_for_what_is_no_more_and_others_do_not(mesh, asset):
    note(mesh, asset, "GRANTED")
    mesh.store.write(lambda changes: changes.remove(asset))
    [found] = mesh.ask("ann", "ListAccess", asset_id=asset.id).access
    assert found.asset == asset.name
    [found] = mesh.ask("ann", "ListAccess", project_id="project-reader").access
    assert found.asset_id == asset.id
    assert isinstance(mesh.refusal("bob", "ListAccess", asset_id=asset.id), Forbidden)
    assert isinstance(mesh.refusal("ann", "ListAccess"), InvalidInput)


def test_45_contributors_and_strangers_are_not_told_who_has_access(mesh, asset):
    for who in ("cy", "dee"):
        assert isinstance(
            mesh.refusal(who, "ListAssetAccess", asset_id=asset.id), Forbidden | NotFound
        )


@pytest.mark.parametrize("number", ["9" * 100, "\u00b2", "x"])
def test_48_a_page_after_no_event_is_no_fault_of_ours(mesh, number):
    cursor = base64.urlsafe_b64encode(number.encode()).decode()
    assert "items" in mesh.ask("ann", "ListAuditEvents", cursor=cursor)


def test_48_events_are_listed_page_by_page_and_narrowed(mesh, asset):
    note(mesh, asset, "GRANTED")
    page = mesh.ask("ann", "ListAuditEvents", limit=2)
    seen = page["items"]
    while page["next"]:
        page = mesh.ask("ann", "ListAuditEvents", limit=2, cursor=page["next"])
        seen += page["items"]
    assert [int(one.id) for one in seen] == list(range(1, len(mesh.notes) + 1))
    found = mesh.ask("ann", "ListAuditEvents", operation="CreateProject")["items"]
    assert [one.operation for one in found] == ["CreateProject"]
    [found] = mesh.ask("bob", "ListAssetEvents", asset_id=asset.id)["items"]
    assert found.details["access"]["kind"] == "GRANTED"
    assert isinstance(mesh.refusal("bob", "ListAuditEvents"), Forbidden)


def test_48_a_whole_audit_verifies_and_agrees_with_its_anchors(mesh, asset):
    HANDLERS["anchor"].run(mesh.attendant, None)
    note(mesh, asset, "GRANTED")
    found = mesh.ask("ann", "VerifyAudit")
    assert (found.is_whole, found.events, found.anchors) == (True, len(mesh.notes), 1)
    assert mesh.ask("ann", "VerifyAudit", after=2).events == len(mesh.notes) - 2
    assert isinstance(mesh.refusal("ann", "VerifyAudit", after=99), InvalidInput)


@pytest.mark.parametrize(
    ("values", "seq"),
    [({"principal": "user-eve"}, 2), ({"is_access": False}, 4), ({"is_access": True}, 2)],
    ids=["edited", "hidden from who", "shown to who"],
)
def test_48_what_was_changed_behind_the_audits_back_is_found(mesh, asset, values, seq):
    note(mesh, asset, "GRANTED")
    changed(mesh, seq, **values)
    found = mesh.ask("ann", "VerifyAudit")
    assert (found.is_whole, found.seq) == (False, seq)


def test_48_a_tail_that_was_cut_off_is_found_by_the_anchor(mesh, asset):
    HANDLERS["anchor"].run(mesh.attendant, None)
    last = len(mesh.notes)
    with mesh.store.engine.begin() as connection:
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.seq == last))
    found = mesh.ask("ann", "VerifyAudit")
    assert (found.is_whole, found.fault) == (False, "truncated")


def cut(mesh, last):
    """Cut the audit off after an event, behind its back."""
    with mesh.store.engine.begin() as connection:
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.seq > last))


def notices(mesh, who):
    """Tell what there is to tell, and return what somebody was told of the audit."""
    position = 0
    while (reached := tell(mesh.attendant, position)) != position:
        position = reached
    given = {"user_profile_id": f"user-{who}", "topic": "AUDIT_CONTRADICTED"}
    return mesh.ask(who, "ListNotifications", **given)["items"]


@pytest.mark.parametrize("more", [0, 9], ids=["a shorter chain", "a longer one"])
def test_48_a_tail_that_was_cut_off_is_told_once_and_anchoring_goes_on(mesh, asset, more, caplog):
    for _ in range(5):
        note(mesh, asset, "GRANTED")
    notices(mesh, "ann")
    HANDLERS["anchor"].run(mesh.attendant, None)
    anchored = len(mesh.notes)
    cut(mesh, anchored - 4)
    for _ in range(more):
        note(mesh, asset, "REVOKED")
    for _ in range(3):
        HANDLERS["anchor"].run(mesh.attendant, None)
    assert "the audit contradicts its last anchor" in caplog.text
    [told] = notices(mesh, "ann")
    assert told.title == "The audit of 'plant' is not the one that was anchored"
    assert f"audit event {anchored} is" in told.message
    assert notices(mesh, "bob") == []
    operations = [one.operation for one in mesh.notes]
    assert operations.count("ContradictAnchor") == 1
    numbers = [one.head.seq for one in read_anchors(mesh.sealing.anchors)]
    with mesh.store.reading() as reader:
        assert {anchored, reader.event_head().seq} <= {*numbers}
    assert not mesh.ask("ann", "VerifyAudit").is_whole


def test_48_what_shows_that_the_tail_was_cut_off_outlives_a_week(mesh, asset, monkeypatch):
    for _ in range(3):
        note(mesh, asset, "GRANTED")
    HANDLERS["anchor"].run(mesh.attendant, None)
    cut(mesh, len(mesh.notes) - 2)
    monkeypatch.setattr(audit, "ANCHORS_STAY_US", -(2**61))  # all of them are old
    for _ in range(8):
        note(mesh, asset, "REVOKED")
        HANDLERS["anchor"].run(mesh.attendant, None)
    found = mesh.ask("ann", "VerifyAudit")
    assert (found.is_whole, found.fault) == (False, "rewritten")
    assert len(read_anchors(mesh.sealing.anchors)) < 4


def test_48_an_anchor_of_a_number_that_no_event_has_is_told(mesh, asset):
    forged = Anchor(Head(10**20 - 1, 0, KEY.id, "0" * 64), "0" * 64)
    mesh.sealing.anchors.put(f"anchors/{10**20 - 1}.json", msgspec.json.encode(forged))
    HANDLERS["anchor"].run(mesh.attendant, None)
    assert "not signed by a key of this chain" in notices(mesh, "ann")[0].message


def verified(place, *arguments):
    """Run `atoll mesh audit verify --file`; return what it prints, or the error that it ends in."""
    (place / "audit.key").write_text(KEY.secret.hex())
    given = ("audit", "verify", "--key", place / "audit.key", *arguments)
    done = CliRunner().invoke(commands, [*map(str, given)], obj=Settings())
    return done.exception or done.output


def test_48_an_exported_file_is_held_against_anchors(mesh, asset, tmp_path):
    for _ in range(3):
        note(mesh, asset, "GRANTED")
    HANDLERS["anchor"].run(mesh.attendant, None)
    anchors = mesh.sealing.anchors.url
    good = mesh.ask("ann", "ExportAudit").path
    assert "1 anchors agree" in verified(tmp_path, "--file", good, "--anchors", anchors)
    elsewhere = verified(tmp_path, "--file", good, "--anchors", tmp_path / "anchor")
    assert "no anchors at the URL" in elsewhere.message
    cut(mesh, len(mesh.notes) - 4)
    for _ in range(9):
        note(mesh, asset, "REVOKED")
    bad = mesh.ask("ann", "ExportAudit").path
    assert "are whole" in verified(tmp_path, "--file", bad)
    told = verified(tmp_path, "--file", bad, "--anchors", anchors)
    assert isinstance(told, Corrupt)
    assert "is another than was anchored" in told.message


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_48_an_export_is_audited_and_verifies_by_itself(mesh, asset, kind):
    note(mesh, asset, "GRANTED")
    made = mesh.ask("ann", "ExportAudit", format=kind, after=1)
    data = Path(made.path).read_bytes()
    verdict = verify_export(io.BytesIO(data), [mesh.sealing.key])
    assert (verdict.problem, verdict.events) == (None, 3)
    assert mesh.notes[-1].operation == "ExportAudit"


def test_a_clock_that_was_set_back_does_not_turn_the_audit_back(mesh, asset, monkeypatch):
    before = note(mesh, asset, "GRANTED")
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000)
    mesh.ask("ann", "UpdateDomain", description="long ago")
    with mesh.store.reading() as reader:
        [event] = list(reader.events(after=reader.event_head().seq - 1))
    assert (event.at, event.clock_behind_us > 0) == (before, True)
    assert mesh.ask("ann", "VerifyAudit").is_whole
