"""A mesh in a process of its own, which somebody kills.

    python mesh_teller.py HOME DATABASE PORT URL

The first time it sets up Bob, whom a mail and a webhook shall tell that he is in a project now.
"""

import sys
import threading
from ipaddress import ip_network
from pathlib import Path

from atoll.core.config import MailServer
from atoll.mesh.hosting import Mesh
from atoll.mesh.model.notices import Channel
from atoll.mesh.model.organisation import Designation, Domain
from atoll.mesh.model.people import UserProfile, UserType
from atoll.mesh.operations.calls import Caller
from atoll.mesh.service import OPERATIONS

ALL = frozenset({"admin"})


def main():
    home, database, port, url = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    server = MailServer("127.0.0.1", "atoll@example.org", port, starttls=False)
    networks = (ip_network("127.0.0.0/8"),)
    tools = {"mail": server, "webhook_networks": networks}
    mesh = Mesh(home, database=database, portal_url="https://mesh", **tools)
    with mesh.store.reading() as reader:
        [domain] = reader.all(Domain)
        is_new = reader.one(UserProfile, name="bob") is None
        admin = next(reader.all(UserProfile)).id
    if is_new:
        set_up(mesh, domain, admin, url)
    print("ready", flush=True)
    threading.Event().wait()


def set_up(mesh, domain, admin, url):
    def ask(who, name, /, **given):
        operation = OPERATIONS[name]
        ids = {operation.about: given.pop(operation.about)} if operation.about else {}
        asked = operation.ask(**given)
        return mesh.performer.perform(operation, Caller(who, "test", ALL), ids, asked)

    given = {"email": "bob@example.org", "type": UserType.SERVICE}
    bob = ask(admin, "CreateUserProfile", name="bob", **given).id
    given = {"channels": {"": tuple(Channel)}, "webhook_url": url}
    ask(bob, "UpdateNotificationSettings", user_profile_id=bob, **given)
    root = domain.root_domain_unit_id
    project = ask(admin, "CreateProject", domain_unit_id=root, name="press shop")
    given = {"member_id": bob, "designation": Designation.VIEWER}
    ask(admin, "CreateProjectMembership", project_id=project.id, **given)


if __name__ == "__main__":
    main()
