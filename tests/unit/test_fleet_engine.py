"""Commands, configuration and answers of ZooKeeper and Spark, as values."""

import socket
import threading
from pathlib import Path

import pytest

from atoll.compute.asking import ask
from atoll.compute.java import Java, find_java
from atoll.compute.sparkmaster import MasterHealth, parse
from atoll.core.errors import Conflict, Corrupt, InvalidInput, Unavailable
from atoll.fleet.engine import latch
from atoll.fleet.engine.archives import with_archive
from atoll.fleet.engine.ensemble import Ensemble, admit_empty, is_empty, write_marker
from atoll.fleet.engine.latch import parse_cons, sessions_of
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import Capacity, master_daemon, worker_daemon
from atoll.fleet.engine.spark_probe import WorkerHealth
from atoll.fleet.engine.zookeeper import Peer, data_folder, zookeeper_daemon
from atoll.fleet.engine.zookeeper_probe import Mode, parse_srvr

PEERS = [Peer(1, "10.0.0.4"), Peer(2, "10.0.0.5"), Peer(3, "10.0.0.6")]
JAVA = Java(Path("/java/bin/java"), 17, "17.0.1")
SRVR = "Zookeeper version: 3.9.5\nOutstanding: 2\nZxid: 0x10000001f\nMode: leader\nNode count: 5\n"
STANDBY = b'{"status":"STANDBY","workers":[],"activeapps":[],"url":"spark://10.0.0.4:7077"}'


@pytest.fixture
def home(tmp_path):
    for name in ("slf4j-api-2.jar", "spark-core_2.13-4.3.0.jar", "zookeeper-3.9.5.jar"):
        jar = tmp_path / "home/jars" / name
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.touch()
    return tmp_path / "home"


@pytest.fixture
def place(tmp_path):
    return Place("10.0.0.4", tmp_path / "disk")


def fake_java(folder, version):
    program = folder / "bin/java"
    program.parent.mkdir(parents=True)
    settings = f"    java.specification.version = {version}\n    java.vm.version = {version}.0+1"
    program.write_text(f"#!/bin/sh\necho '{settings}' >&2\n")
    program.chmod(0o755)
    return program


def options(daemon):
    return dict(
        line.split(" ", 1)
        for path, text in daemon.files.items()
        if path.name == f"{daemon.name}.conf"
        for line in text.splitlines()
    )


def test_java_home_is_asked_first(tmp_path):
    chosen = fake_java(tmp_path / "chosen", "21")
    other = fake_java(tmp_path / "other", "17")
    found = find_java({"JAVA_HOME": str(tmp_path / "chosen"), "PATH": str(other.parent)})
    assert found == Java(chosen, 21, "21.0+1")


def test_java_of_debian_is_found_where_path_has_an_old_one(tmp_path):
    old = fake_java(tmp_path / "old", "1.8")
    fake_java(tmp_path / "jvm/java-17-openjdk-amd64", "17")
    assert find_java({"PATH": str(old.parent)}, debian=tmp_path / "jvm").version == 17


def test_old_java_in_java_home_is_refused_with_what_to_install(tmp_path):
    fake_java(tmp_path / "old", "1.8")
    with pytest.raises(Unavailable, match=r"version 8.*openjdk-17-jre-headless"):
        find_java({"JAVA_HOME": str(tmp_path / "old")})


def test_missing_java_is_refused_with_what_to_install(tmp_path):
    with pytest.raises(Unavailable, match=r"no java in PATH.*openjdk-17-jre-headless"):
        find_java({"PATH": str(tmp_path)}, debian=tmp_path)


def test_java_that_does_not_run_is_named(tmp_path):
    with pytest.raises(Unavailable, match=r"bin/java.*does not run") as raised:
        find_java({"JAVA_HOME": str(tmp_path)})
    assert raised.value.details["found"]


def test_zookeeper_never_votes_while_empty_and_listens_on_one_address(home, place):
    daemon = zookeeper_daemon(1, PEERS, place, java=JAVA, home=home)
    assert "-Dzookeeper.db.autocreate=false" in daemon.argv
    lines = daemon.files[place.conf / "zoo.cfg"].splitlines()
    assert {"clientPortAddress=10.0.0.4", "quorumListenOnAllIPs=false"} <= set(lines)
    assert {"admin.enableServer=false", "maxSessionTimeout=4000"} <= set(lines)
    assert "server.3=10.0.0.6:2888:3888" in lines
    assert daemon.files[data_folder(place) / "myid"] == "1\n"


def test_zookeeper_at_another_address_than_its_peers_is_refused(home, place):
    with pytest.raises(InvalidInput, match=r"server 2 at 10\.0\.0\.4"):
        zookeeper_daemon(2, PEERS, place, java=JAVA, home=home)


def test_master_recovers_through_zookeeper(home, place):
    daemon = master_daemon(place, java=JAVA, home=home)
    assert options(daemon)["spark.deploy.recoveryMode"] == "ZOOKEEPER"
    assert options(daemon)["spark.deploy.zookeeper.url"] == "10.0.0.4:2181"
    assert daemon.env["SPARK_LOCAL_IP"] == "10.0.0.4"


def test_worker_knows_all_primaries_and_drains(home, place):
    daemon = worker_daemon(PEERS, place, Capacity(2, 4096), java=JAVA, home=home)
    assert daemon.argv[-1] == "spark://10.0.0.4:7077,10.0.0.5:7077,10.0.0.6:7077"
    assert options(daemon)["spark.decommission.enabled"] == "true"
    assert options(daemon)["spark.worker.decommission.signal"] == "PWR"
    assert daemon.env["SPARK_SCALA_VERSION"] == "2.13"


def test_incomplete_pyspark_is_named(home, place):
    (home / "jars/zookeeper-3.9.5.jar").unlink()
    with pytest.raises(Unavailable, match="holds no ZooKeeper"):
        zookeeper_daemon(1, PEERS, place, java=JAVA, home=home)


def test_daemon_files_are_for_the_owner_only(home, place):
    daemon = master_daemon(place, java=JAVA, home=home)
    daemon.prepare()
    daemon.prepare()
    assert (place.conf / "master.conf").stat().st_mode & 0o077 == 0


def test_archive_is_used_where_there_is_one(home, place, tmp_path):
    daemon = master_daemon(place, java=JAVA, home=home)
    assert with_archive(daemon, tmp_path) == daemon
    (tmp_path / "master.jsa").touch()
    assert f"-XX:SharedArchiveFile={tmp_path}/master.jsa" in with_archive(daemon, tmp_path).argv


def test_leader_is_read_from_srvr():
    assert parse_srvr(SRVR) is Mode.LEADER


def test_server_without_quorum_serves_nobody():
    told = "This ZooKeeper instance is not currently serving requests\n"
    assert not parse_srvr(told).is_serving


@pytest.mark.parametrize("cut", [0, 10, SRVR.index("Mode"), SRVR.index("der\n")])
def test_srvr_cut_short_is_corrupt(cut):
    with pytest.raises(Corrupt, match="not ZooKeeper's"):
        parse_srvr(SRVR[:cut])


def test_standby_is_read_from_its_page():
    health = parse(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" + STANDBY, MasterHealth)
    assert not health.is_active
    assert not health.is_elected


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 500 Error\r\n\r\n" + STANDBY,
        b"HTTP/1.1 200 OK\r\n\r\n" + STANDBY[:-5],
        b"HTTP/1.1 200 OK\r\n\r\n" + STANDBY.replace(b"STANDBY", b"FINE"),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
    ],
)
def test_page_of_something_else_is_corrupt(answer):
    with pytest.raises(Corrupt, match="no Spark daemon"):
        parse(answer, MasterHealth)


def test_worker_page_is_no_master_page():
    with pytest.raises(Corrupt):
        parse(b"HTTP/1.1 200 OK\r\n\r\n" + STANDBY, WorkerHealth)


def test_sessions_are_those_of_the_asked_connections():
    line = " /10.0.0.4:{}[1](queued=0,recved=9,sent=9,sid=0x{},lop=PING,est=1)"
    text = "\n".join([line.format(1, "1a"), line.format(11, "1b"), " /10.0.0.4:1[0](queued=0)"])
    assert parse_cons(text, ["10.0.0.4:1"]) == {0x1A}


def test_process_that_is_gone_has_no_sessions(tmp_path):
    assert sessions_of(1, "10.0.0.4", proc=tmp_path) == frozenset()


def test_sessions_are_found_while_other_files_are_closed(tmp_path, monkeypatch):
    def answer(server):
        connection = server.accept()[0]
        connection.recv(4)
        connection.sendall(b" /10.0.0.4:4711[1](queued=0,recved=9,sent=9,sid=0x1a,lop=PING)")
        connection.close()

    fd = tmp_path / "1" / "fd"
    fd.mkdir(parents=True)
    (fd / "0").touch()  # No link: reading it fails as that of a closed one does.
    (fd / "1").symlink_to("socket:[42]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(latch, "CLIENT_PORT", port)
        row = f"0: 0400000A:1267 0100007F:{port:04X} 01 0:0 0:0 0 0 0 42"
        (tmp_path / "1" / "net").mkdir()
        (tmp_path / "1" / "net" / "tcp").write_text(f"head\n{row}\n")
        thread = threading.Thread(target=answer, args=(server,), daemon=True)
        thread.start()
        assert sessions_of(1, "127.0.0.1", proc=tmp_path) == {0x1A}
        thread.join(timeout=10)


def test_silent_daemon_is_given_up_in_time():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(Unavailable, match=r"0.1 s"),
    ):
        ask("127.0.0.1", server.getsockname()[1], b"srvr", what="ZooKeeper", timeout_s=0.1)


def test_dripping_daemon_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        with pytest.raises(Unavailable, match="did not answer"):
            ask("127.0.0.1", server.getsockname()[1], b"srvr", what="ZooKeeper", timeout_s=0.3)
        thread.join()


def drip(server):
    connection, _ = server.accept()
    with connection:
        try:
            while True:
                connection.sendall(b"x")
        except OSError:
            return


ALL = frozenset({1, 2, 3})


def test_one_replacement_may_vote_beside_two_that_hold_the_data():
    admit_empty(1, Ensemble(ALL, holding=frozenset({2, 3})))


def test_one_replacement_may_vote_beside_the_only_survivor():
    admit_empty(1, Ensemble(ALL, holding=frozenset({3})))


def test_second_replacement_waits_for_the_first():
    with pytest.raises(Conflict, match="servers 1 are empty, too"):
        admit_empty(2, Ensemble(ALL, holding=frozenset({3}), admitted=frozenset({1})))


def test_replacement_may_be_started_again_before_it_serves():
    admit_empty(1, Ensemble(ALL, holding=frozenset({2, 3}), admitted=frozenset({1})))


def test_nobody_votes_where_no_disk_is_left():
    with pytest.raises(Conflict, match="bring back a primary whose disk was kept"):
        admit_empty(1, Ensemble(ALL))


def test_lone_primary_of_a_formed_cluster_does_not_begin_anew():
    with pytest.raises(Conflict):
        admit_empty(1, Ensemble(frozenset({1})))


def test_folder_is_empty_until_a_snapshot_lies_there(tmp_path):
    write_marker(tmp_path / "zookeeper")
    assert is_empty(tmp_path / "zookeeper")
    (tmp_path / "zookeeper/version-2").mkdir()
    (tmp_path / "zookeeper/version-2/snapshot.0").touch()
    assert not is_empty(tmp_path / "zookeeper")
