"""Class archives of real daemons: made once, and used by the JVM they are meant for."""

import os
import subprocess
from pathlib import Path

import pytest

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.fleet.engine.archives import archives_folder, make_archives, with_archive
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import master_daemon
from atoll.fleet.engine.zookeeper import Peer, zookeeper_daemon

ADDRESS = "127.66.21.1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def java():
    return find_java(os.environ)


@pytest.fixture(scope="module")
def folder(java):
    # They take long to make; all tests of this machine use the same.
    cache = Path.home() / ".cache" / "atoll" / "fleet"
    folder = archives_folder(cache, java=java, home=spark_home())
    make_archives(folder, address=ADDRESS, java=java, home=spark_home())
    return folder


@pytest.mark.parametrize("make", ["zookeeper", "master"])
def test_a_daemon_loads_its_own_classes_from_its_archive(make, folder, java, tmp_path):
    peers, place = [Peer(1, ADDRESS)], Place(ADDRESS, tmp_path)
    daemon = master_daemon(place, java=java, home=spark_home())
    if make == "zookeeper":
        daemon = zookeeper_daemon(1, peers, place, java=java, home=spark_home())
    daemon.prepare()
    main = daemon.argv[daemon.argv.index("-cp") + 2]
    # With an argument that nobody knows, the program loads its main class and ends.
    argv = with_archive(daemon, folder).argv
    options = argv[: argv.index(main)]
    done = subprocess.run(
        [*options, "-Xlog:class+load", main, "--nonsense"],
        env=dict(daemon.env),
        capture_output=True,
    )
    [line] = [line for line in done.stdout.decode().splitlines() if f"] {main} source" in line]
    assert "shared objects file (top)" in line


def test_archives_are_made_once(folder, java):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    make_archives(folder, address=ADDRESS, java=java, home=spark_home())
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert len(before) == 3
