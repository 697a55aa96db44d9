"""A project with a storage of its own, for tests that register what lies in it."""

from dataclasses import replace

import pyarrow as pa
from mesh_files import csv_bytes, plant_table, write_parquet
from mesh_world import ROOT

from atoll.compute.inline import InlineExecutor
from atoll.mesh.model.organisation import AssociationKind, PolicyType
from atoll.mesh.operations.calls import Performer
from atoll.mesh.operations.jobs import Attendant

FIRST = ("Anna", "Jürgen", "Maria", "João", "Carmen")
LAST = ("Schmidt", "Müller", "Silva", "Santos", "García", "Weber", "Ferreira")


def equipped(mesh, **tools):
    """Give a mesh other tools; by default it reads files in this process, which is quicker."""
    mesh.tools = replace(mesh.tools, **({"executor": InlineExecutor()} | tools))
    mesh.attendant = Attendant(mesh.store, mesh.authorizer, mesh.tools)
    mesh.performer = Performer(mesh.store, mesh.authorizer, mesh.tools)
    return mesh


def project_with(mesh, who, location, name="press", credentials=""):
    """Somebody's project, and its accepted storage."""
    given = {"policy_type": PolicyType.CREATE_PROJECT, "principal_id": f"user-{who}"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **given)
    project = mesh.ask(who, "CreateProject", domain_unit_id=ROOT, name=name)
    given = {"kind": AssociationKind.STORAGE, "location": location, "credentials": credentials}
    storage = mesh.ask(who, "Associate", project_id=project.id, name=f"{name}'s", **given)
    mesh.ask("ann", "AcceptAssociation", association_id=storage.id)
    return project, storage


def write_tables(folder, count, rows=5):
    """Write CSV files, each another table."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        table = plant_table(rows, seed=number).rename_columns(
            [f"{name}{number}" for name in plant_table(1).column_names]
        )
        (folder / f"t{number:03}.csv").write_bytes(csv_bytes(table))


def workers(rows=40):
    """A table of persons."""
    return pa.table(
        {
            "worker_name": [f"{FIRST[at % 5]} {LAST[at % 7]}" for at in range(rows)],
            "email": [f"anna.schmidt{number}@example.com" for number in range(rows)],
            "shift": [number % 3 for number in range(rows)],
        }
    )


def write_workers(folder, table=None):
    return write_parquet(folder / "workers" / "1.parquet", workers() if table is None else table)


def activities(mesh, run, who="bob"):
    """What a run did, by the last part of each location."""
    page = mesh.ask(who, "ListDataSourceRunActivities", data_source_run_id=run.id, limit=1000)
    return {one.location.rsplit("/", 1)[-1]: one for one in page["items"]}


def ran(mesh, source, who="bob"):
    """Run a data source to its end."""
    run = mesh.ask(who, "StartDataSourceRun", data_source_id=source.id)
    mesh.work("run-data-source")
    return mesh.ask(who, "GetDataSourceRun", data_source_run_id=run.id)
