"""`atoll mesh demo`: a made-up plant in a running mesh, with data, people and open requests."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import click
import msgspec

from atoll.core.config import Settings
from atoll.core.errors import NotFound, Unavailable
from atoll.core.files import reading, whole_file, writing
from atoll.core.terminal import progress_bars
from atoll.core.text import counted
from atoll.mesh.cli.blueprint.applying import close, differences
from atoll.mesh.cli.blueprint.document import Blueprint, read_blueprint
from atoll.mesh.cli.blueprint.remote import Remote
from atoll.mesh.cli.blueprint.sections import SECTIONS
from atoll.mesh.cli.blueprint.specs import AssetSpec, ColumnSpec, PiiSpec
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.cli.commands import client_of
from atoll.mesh.model.catalog import PiiStatus
from atoll.mesh.model.record import microseconds
from atoll.mesh.service import OPERATIONS
from atoll.storage import Storage, open_storage

if TYPE_CHECKING:
    from atoll.mesh.plant import Manifest, Table

PEOPLE = {
    "ada": "administrator",
    "paula": "data source owner",
    "ulrich": "use case owner",
    "diego": "data engineer",
    "sara": "data scientist",
    "marek": "ML engineer",
    "bea": "business user",
}
# Measured on these days of the plant's calendar, better each time, by so much.
FIRST_MEASURED = datetime(2026, 3, 20, 6, tzinfo=UTC)
MEASURED_WORSE = (2.5, 0.0)
FORM = {"form_type": "UseOfData", "content": {"purpose": "the yearly report of the plant"}}
SIGNED_IN_SECONDS = 600
GRANT_SECONDS = 30.0


@dataclass(frozen=True)
class Wish:
    """What somebody asks for.

    Attributes:
        listings: names of what is listed.
        accepts: who accepts it; empty: a policy does, or it waits.
    """

    who: str
    project: str
    listings: tuple[str, ...]
    reason: str
    forms: tuple[dict[str, Any], ...] = ()
    accepts: str = ""


WISHES = (
    Wish(
        "sara", "predictive maintenance", ("Sensor readings", "Alarms", "Machines"), "to forecast"
    ),
    Wish("marek", "predictive maintenance", ("Welds",), "to learn from torque curves"),
    Wish("sara", "predictive maintenance", ("Workers",), "to know who was at the machine"),
    Wish("ulrich", "plant report", ("machine kit",), "to show what machines cost"),
    Wish("bea", "plant report", ("Cost centres",), "to report", (FORM,), accepts="paula"),
    Wish("bea", "plant report", ("Invoices",), "to report what was paid", (FORM,)),
)


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("mesh-demo"),
    show_default=True,
    help="Folder for passwords, the blueprint and, unless --lake is given, the data.",
)
@click.option("--lake", metavar="URL", help="Where the data go; the mesh must be able to read it.")
@click.option("--credentials", metavar="NAME", default="", help="Of the mesh's, to read the lake.")
@click.option(
    "--scale",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=0.1,
    show_default=True,
    help="1 is a plant of 5,000 vehicles.",
)
@click.pass_context
def mesh_demo(
    context: click.Context, out: Path, lake: str | None, credentials: str, scale: float
) -> None:
    """Fill the mesh with a made-up plant: tables, people, metadata, requests; again: no change.

    The mesh is the one of ATOLL_MESH_URL, and ATOLL_MESH_TOKEN an administrator's with the scope
    admin.
    """
    # Every command of the mesh loads this module; only the demo needs what makes data.
    from atoll.app.meshdata import write_data

    settings: Settings = context.obj
    began = time.monotonic()
    client = client_of(settings)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    place = open_storage(lake or out / "lake", settings.storage)

    def say(text: str) -> None:
        if not settings.quiet:
            click.echo(text)

    with progress_bars(settings.quiet) as on_progress:
        say(f"1. write the plant's tables to {place}")
        manifest = write_data(place, scale, settings, on_progress)
    mesh = Remote(client)
    say("2. let people in")
    changes = _let_in(mesh, out / "people.txt")
    say("3. apply the blueprint: domain units, projects, glossaries, rules, data sources and runs")
    blueprint = _blueprint(mesh, out / "plant.yaml", place, credentials)
    changes += _applied(msgspec.structs.replace(blueprint, assets={}, data_products={}), mesh)
    say("4. describe the assets, decide what is personal, publish")
    changes += _applied(_with_columns(blueprint, manifest, mesh), mesh)
    say("5. tell how good the data are")
    changes += _measured(mesh, manifest)
    say("6. ask for data")
    changes += _asked(settings, mesh, out / "people.txt")
    if not changes:
        click.echo("no change")
    _print_next(out, time.monotonic() - began)


# -- people ---------------------------------------------------------------------------------------


def _let_in(mesh: Remote, place: Path) -> int:
    """Make the people who are not there; their passwords are in the file before they are."""
    passwords = _passwords(place)
    known = {one["name"] for one in mesh.listed("ListUserProfiles")}
    new = [name for name in PEOPLE if name not in known]
    if new:
        passwords |= {name: secrets.token_urlsafe(12) for name in new if name not in passwords}
        lines = [f"{name:<8} {text}  {PEOPLE[name]}\n" for name, text in passwords.items()]
        with whole_file(place) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("".join(lines).encode())
    for name in new:
        given = {"email": f"{name}@plant.example", "password": passwords[name]}
        mesh.do("CreateUserProfile", name=name, **given)
    mesh.forget()
    return len(new)


def _passwords(place: Path) -> dict[str, str]:
    if not place.exists():
        return {}
    with reading(place):
        lines = place.read_text().splitlines()
    return {words[0]: words[1] for line in lines if (words := line.split()) and words[0] in PEOPLE}


# -- the blueprint --------------------------------------------------------------------------------


def _blueprint(mesh: Remote, copy: Path, place: Storage, credentials: str) -> Blueprint:
    """Write the blueprint down as it is for this mesh, and read it."""
    text = (resources.files("atoll.app") / "data" / "plant.yaml").read_text()
    me = mesh.get("WhoAmI")["profile"]["name"]
    with whole_file(copy) as file:
        # Text of JSON is text of YAML, whatever is in it.
        file.write(Template(text).substitute(LAKE=place.url, ME=json.dumps(me)).encode())
    found = read_blueprint(copy)
    reached = {
        name: msgspec.structs.replace(one, credentials=credentials) if one.location else one
        for name, one in found.associations.items()
    }
    return msgspec.structs.replace(found, associations=reached)


def _applied(blueprint: Blueprint, mesh: Remote) -> int:
    """Make a mesh as a blueprint says; returns how many things changed."""
    changes = 0
    for section in SECTIONS:
        wanted = getattr(blueprint, section.name)
        if found := differences(section, wanted, mesh):
            changes += len(found)
            close(section, wanted, mesh)
    return changes


def _with_columns(blueprint: Blueprint, manifest: Manifest, mesh: Remote) -> Blueprint:
    """Say of each column what the plant's manifest says; whether it is personal, too."""
    tables = {table.path: table for table in manifest.tables}
    flagged = {
        mesh.place(one["external_identifier"]): {
            column["name"] for column in one["columns"] if column["pii"]
        }
        for project in mesh.listed("ListProjects")
        for one in mesh.listed("ListAssets", project_id=project["id"])
    }
    assets = {
        path: _described(spec, tables[path], flagged.get(path, set())) if path in tables else spec
        for path, spec in blueprint.assets.items()
    }
    return Blueprint(atoll=1, assets=assets, data_products=blueprint.data_products)


def _described(spec: AssetSpec, table: Table, flagged: set[str]) -> AssetSpec:
    columns = {}
    for column in table.columns:
        pii = None
        if column.personal:
            kind = None if column.name in flagged else column.personal
            pii = PiiSpec(kind=kind, status=PiiStatus.CONFIRMED)
        elif column.name in flagged:
            pii = PiiSpec(status=PiiStatus.REFUSED)
        columns[column.name] = ColumnSpec(description=column.description, pii=pii)
    return msgspec.structs.replace(spec, description=table.description, columns=columns)


# -- quality and requests -------------------------------------------------------------------------


def _measured(mesh: Remote, manifest: Manifest) -> int:
    """Tell of each table which share of its rows is right; some are wrong on purpose."""
    assets = {
        mesh.place(one["external_identifier"]): one["id"]
        for project in mesh.listed("ListProjects")
        for one in mesh.listed("ListAssets", project_id=project["id"])
    }
    changes = 0
    for table in manifest.tables:
        about = {"asset_id": assets[table.path]}
        there = {one["timestamp"] for one in mesh.listed("ListTimeSeriesDataPoints", **about)}
        for at, point in _points(table):
            if at not in there:
                mesh.do("PostTimeSeriesDataPoints", timestamp=at, **about, **point)
                changes += 1
    return changes


def _points(table: Table) -> Iterator[tuple[int, dict[str, Any]]]:
    wrong = sum(one.rows for one in table.dirt)
    score = 100 * (1 - wrong / table.rows)
    rules = [{"rule": one.what, "rows": one.rows} for one in table.dirt]
    for day, worse in enumerate(MEASURED_WORSE):
        at = microseconds(FIRST_MEASURED + timedelta(days=day))
        content = {"rows": table.rows, "wrong": rules}
        yield at, {"score": round(max(0.0, score - worse), 2), "content": content}


def _asked(settings: Settings, mesh: Remote, people: Path) -> int:
    """Let people ask for what nobody has asked for on behalf of their project."""
    listings = {one["name"]: one["id"] for one in mesh.listed("ListListings")}
    requests = mesh.listed("ListSubscriptionRequests")
    asked = {(one["project_id"], one["listing_id"]) for one in requests}
    changes = 0
    with ExitStack() as signed_in:
        crowd = _Crowd(settings, people, signed_in)
        for wish in WISHES:
            project_id = mesh.id_of("ListProjects", wish.project)
            ids = [listings[name] for name in wish.listings]
            wanted = [{"listing_id": one} for one in ids if (project_id, one) not in asked]
            if not wanted:
                continue
            made = crowd.do(
                wish.who,
                "CreateSubscriptionRequests",
                project_id=project_id,
                listings=wanted,
                request_reason=wish.reason,
                forms=list(wish.forms),
            )
            for one in made["requests"] if wish.accepts else []:
                crowd.do(
                    wish.accepts,
                    "AcceptSubscriptionRequest",
                    subscription_request_id=one["id"],
                    comment="You need it for the report.",
                )
            changes += len(wanted)
    if changes:
        _wait_for_grants(mesh)
    return changes


class _Crowd:
    """The people, each signed in as soon as they do something."""

    def __init__(self, settings: Settings, people: Path, signed_in: ExitStack) -> None:
        self._people, self._signed_in = people, signed_in
        self._url = settings.mesh_url or ""
        self._clients: dict[str, MeshClient] = {}

    def do(self, who: str, operation: str, /, **given: Any) -> Any:
        """Do something as one of them."""
        if who not in self._clients:
            client = MeshClient(self._url, self._token(who))
            self._clients[who] = self._signed_in.enter_context(closing(client))
        return self._clients[who].perform(OPERATIONS[operation], given)

    def _token(self, who: str) -> str:
        password = _passwords(self._people).get(who)
        if password is None:
            raise NotFound(
                f"{self._people} does not say {who}'s password; give the first demo's folder: --out"
            )
        with closing(MeshClient(self._url, "")) as client:
            return client.sign_in(who, password, scopes=["write"], ttl_s=SIGNED_IN_SECONDS)


def _wait_for_grants(mesh: Remote) -> None:
    """Wait until what was given holds, so that whoever reads next may."""
    until = time.monotonic() + GRANT_SECONDS
    while True:
        mesh.forget()
        grants = mesh.listed("ListSubscriptionGrants")
        if not any(one["status"] in ("PENDING", "IN_PROGRESS") for one in grants):
            return
        if time.monotonic() > until:
            raise Unavailable("access was given and does not hold yet; see the server's log")
        time.sleep(0.1)


def _print_next(out: Path, seconds: float) -> None:
    people = [f"  {name:<8} {role}" for name, role in PEOPLE.items()]
    click.echo(
        f"\nDone in {counted(round(seconds), 'second')}. In {out}/:\n"
        "  people.txt     the people and their passwords\n"
        "  plant.yaml     the blueprint; change it and `atoll mesh apply` it\n"
        "\nPeople:\n" + "\n".join(people) + "\n\n"
        "Next:\n"
        "  atoll mesh search-listings --text vibration --filters classification=INTERNAL\n"
        "  atoll mesh get-listed-asset 'Sensor readings'\n"
        "  atoll mesh read-rows 'Milling machine' --limit 5\n"
        "  atoll mesh list-subscription-requests --status PENDING\n"
        "  export ATOLL_MESH_TOKEN=$(atoll mesh login sara)\n"
        "  atoll mesh read-rows 'Sensor readings' --project-id 'predictive maintenance' --limit 5\n"
        "  atoll mesh list-my-data 'predictive maintenance'"
    )
