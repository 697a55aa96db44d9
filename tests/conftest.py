"""Servers that tests share, and a loud word about tests that could not run."""

import atexit
import gc
from pathlib import Path

import hypothesis
import mesh_databases
import pytest
from aws_servers import ministack_server, moto_aws_server
from postgres_server import postgres_server
from s3_proxy import proxied
from s3_servers import CEPH_PACKAGES, ceph_server, missing_ceph_programs, moto_server
from xdist.scheduler import LoadFileScheduling

pytest.register_assert_rewrite("atoll.testing")

# As the program does at its end: see `atoll.app.main`.
atexit.register(gc.freeze)

_not_run = []

# No test asserts a time: a busy machine is not a fault.
hypothesis.settings.register_profile("atoll", deadline=None)
hypothesis.settings.load_profile("atoll")


def pytest_addoption(parser):
    parser.addoption(
        "--kills", type=int, default=1, help="at how many random points each command is killed"
    )
    parser.addoption(
        "--database",
        choices=["postgresql"],
        help="keep every mesh there; without it, most are kept in SQLite files",
    )
    parser.addoption("--nightly", action="store_true", help="run the tests marked nightly, too")


def pytest_generate_tests(metafunc):
    if "database" in metafunc.fixturenames:
        only = metafunc.config.getoption("--database")
        metafunc.parametrize(
            "database", [only] if only else ["sqlite", "postgresql"], indirect=True
        )
    if "kill_seed" in metafunc.fixturenames:
        metafunc.parametrize("kill_seed", range(metafunc.config.getoption("--kills")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _ByFile(config, log)


class _ByFile(LoadFileScheduling):
    """Each file's tests share what it has started; clusters would only wait for each other."""

    CLUSTERS = ("life", "disasters", "steps", "resizing", "beginnings")

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "clusters" if Path(file).stem.removeprefix("test_fleet_") in self.CLUSTERS else file


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--nightly") and "nightly" not in config.getoption("-m"):
        _leave_out(config, items, "nightly")
    if config.getoption("--database"):
        _leave_out(config, items, "sqlite")
    missing = missing_ceph_programs()
    if not missing:
        return
    for item in items:
        if item.get_closest_marker("ceph"):
            item.add_marker(pytest.mark.skip(reason=f"{', '.join(missing)} not installed"))
            _not_run.append(item.nodeid)


def _leave_out(config, items, marker):
    marked = [item for item in items if item.get_closest_marker(marker)]
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]


def pytest_terminal_summary(terminalreporter):
    if _not_run:
        terminalreporter.section("NOT TESTED: a real object store (Ceph)", red=True, bold=True)
        terminalreporter.line("\n".join(_not_run))
        terminalreporter.line(
            f"{len(_not_run)} tests were skipped; to run them, on Debian or Ubuntu as root:\n"
            f"    apt-get install --no-install-recommends {' '.join(CEPH_PACKAGES)}"
        )


@pytest.fixture(scope="session")
def ceph():
    """A real S3 server; tests that use it carry the marker `ceph`."""
    with ceph_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(request, tmp_path):
    """The URL of a mesh's database without records, of both kinds one after the other."""
    if request.param == "sqlite":
        return mesh_databases.database_of(tmp_path)
    template = request.getfixturevalue("postgres_template")
    return request.getfixturevalue("postgres").new_database(template)


@pytest.fixture
def mesh(tmp_path):
    """A small mesh, without doors."""
    from mesh_world import world

    with world(mesh_databases.database_of(tmp_path)) as made:
        yield made


@pytest.fixture
def shop(mesh):
    """Two projects of it, of which one may read what the other lists."""
    from mesh_sharing import Shop

    return Shop(mesh)


@pytest.fixture(scope="session")
def postgres_template(postgres):
    """The name of a database with all tables: to make them takes longer than most tests."""
    from atoll.mesh.store.database import opened
    from atoll.mesh.store.upgrading import upgrade

    url = postgres.new_database()
    engine = opened(url)
    upgrade(engine)
    engine.dispose()
    return url.rpartition("/")[2]


@pytest.fixture(scope="session", autouse=True)
def _chosen_database(request):
    """Where the run asks for it, keep every mesh on a server."""
    if request.config.getoption("--database"):
        server, template = map(request.getfixturevalue, ("postgres", "postgres_template"))
        mesh_databases.use(server, template)


@pytest.fixture(autouse=True)
def _cleared_databases(_chosen_database):
    """Laws try hundreds of meshes, and a database is 10 MB."""
    there = mesh_databases.cleared(None)
    yield
    mesh_databases.cleared(there)


@pytest.fixture(scope="session")
def store(ceph):
    """That server behind a proxy, and how the proxy behaves: (server, `Behaviour`)."""
    with proxied(ceph) as found:
        yield found


@pytest.fixture
def behaviour(store):
    """The proxy's, as it should be, with nothing counted yet."""
    store[1].reset()
    yield store[1]
    store[1].reset()


@pytest.fixture(scope="session")
def moto_s3():
    """An S3 emulator: quick, but no proof of what a real store does under a race."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def ministack():
    """An emulator of AWS in a process of its own; the first interpreter of state machines."""
    with ministack_server() as server:
        yield server


@pytest.fixture(scope="session")
def moto_aws():
    """The second interpreter of state machines."""
    with moto_aws_server() as server:
        yield server
