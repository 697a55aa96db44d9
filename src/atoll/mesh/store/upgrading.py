"""Brings a database's tables to what this version of Atoll wants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from atoll.core.errors import Conflict
from atoll.mesh.store.database import reaching, writing_to


def upgrade(engine: sa.Engine) -> None:
    """Run the steps that are missing, all or none; two processes wait for each other.

    Raises:
        Conflict: a newer version of Atoll made the tables.
        Unavailable: the database does not answer.
    """
    config = configuration()
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    with reaching(), writing_to(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in known:
            raise Conflict(
                f"the database is of a newer Atoll (revision {found}); run that version, or "
                "restore the backup from before its first start"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def configuration() -> Config:
    """Tell Alembic where its folder is."""
    config = Config()
    config.set_main_option("script_location", "atoll.mesh.store:migrations")
    return config
