"""Alembic's entry: runs the steps on the connection that `store.upgrading` hands in."""

from __future__ import annotations

from alembic import context

from atoll.mesh.store import events as _events  # noqa: F401  its table
from atoll.mesh.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
