"""`atoll mesh who-am-i`: what somebody is here, and what waits for them."""

from __future__ import annotations

from typing import Any

import click

from atoll.core.config import Settings
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.cli.commands import client_of
from atoll.mesh.cli.showing import show
from atoll.mesh.model.notices import NotificationStatus, NotificationType
from atoll.mesh.service import OPERATIONS


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def who_am_i(settings: Settings, as_json: bool) -> None:
    """Show who you are here, as what, and what waits for you to do."""
    client = client_of(settings)
    found = client.perform(OPERATIONS["WhoAmI"], {})
    profile = found["profile"]
    places = _places(client, found["roles"])
    tasks = {
        "user_profile_id": profile["id"],
        "type": NotificationType.TASK,
        "status": NotificationStatus.ACTIVE,
    }
    waiting = [
        {"since": one["created_at"], "what": one["title"], "about": one["subject_id"]}
        for one in client.perform(OPERATIONS["ListNotifications"], tasks)
    ]
    if as_json:
        show({**found, "places": places, "waiting": waiting}, as_json=True)
        return
    told = {key: profile[key] for key in ("name", "id", "type", "email")}
    show({**told, "scopes": found["scopes"], "places": places, "waiting": waiting}, as_json=False)


def _places(client: MeshClient, roles: list[str]) -> list[dict[str, Any]]:
    """Tell what somebody is in which project or domain unit."""
    names = {
        one["id"]: one["name"]
        for list_name in ("ListProjects", "ListDomainUnits")
        for one in client.perform(OPERATIONS[list_name], {})
    }
    found = (role.partition(":") for role in sorted(roles))
    return [
        {"in": names.get(id_, id_), "as": role, "id": id_} for id_, colon, role in found if colon
    ]
