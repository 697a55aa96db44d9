"""AWS's APIs and Prometheus' page at the address of a host that runs."""

import subprocess
import threading
import urllib.request
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError
from commandline import atoll
from fleet_clients import KEY, SECRET, boto3_of
from fleet_lab import awaited

from atoll.core.errors import InvalidInput
from atoll.fleet.codec import decode
from atoll.fleet.host.client import FleetClient
from atoll.fleet.host.home import SERVING, Serving, keys_of, token_of
from atoll.fleet.host.server import HostOptions, serve_host
from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Role
from atoll.fleet.planning.subnets import LaunchPreview
from atoll.fleet.spec.catalogue import own_catalogue


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder of a host that has a catalogue of its own, with one more type."""
    home = tmp_path_factory.mktemp("home")
    (home / "catalogue.toml").write_text(own_catalogue().replace('"m5.xlarge"', '"z9.xlarge"'))
    return home


@contextmanager
def served(home, **options):
    stopped = threading.Event()
    told = HostOptions(home=home, provider="loopback", **options)
    thread = threading.Thread(target=serve_host, args=(told, stopped))
    thread.start()
    try:
        awaited((home / SERVING).exists)
        yield decode((home / SERVING).read_bytes(), Serving, what="the server's file").url
    finally:
        stopped.set()
        thread.join()


@pytest.fixture(scope="module")
def url(home):
    with served(home, keys={KEY: SECRET}) as url:
        yield url


def refusal(url, keys):
    with pytest.raises(ClientError) as found:
        boto3_of(url, keys)("emr").list_clusters()
    return found.value.response["Error"]["Code"]


def test_all_three_apis_answer_at_one_address(url):
    client = boto3_of(url)
    assert client("emr").list_clusters()["Clusters"] == []
    assert client("cloudformation").list_stacks()["StackSummaries"] == []
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_wrong_secret_or_key_is_refused(url, home):
    assert refusal(url, (KEY, "another")) == "SignatureDoesNotMatch"
    assert refusal(url, (keys_of(home)[0], SECRET)) == "SignatureDoesNotMatch"
    assert refusal(url, ("another", SECRET)) == "InvalidClientTokenId"


def test_keys_that_the_command_prints_open_the_door(url, home, monkeypatch):
    monkeypatch.setenv("ATOLL_FLEET_HOME", str(home))
    printed = "; ".join(atoll("fleet", "keys").out.splitlines())
    show = 'echo "$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN"'
    done = subprocess.run(
        ["sh", "-c", f"{printed}; {show}"],
        capture_output=True,
        text=True,
        check=True,
        env={"AWS_SESSION_TOKEN": "left over"},
    )
    assert boto3_of(url, done.stdout.split())("emr").list_clusters()["Clusters"] == []


def test_open_host_takes_any_keys_and_warns(tmp_path, caplog):
    with served(tmp_path, is_open=True) as url:
        assert boto3_of(url, ("any", "keys"))("emr").list_clusters()["Clusters"] == []
    assert "every user of this machine" in caplog.text


def test_host_that_other_machines_reach_cannot_be_open(tmp_path):
    options = HostOptions(tmp_path, address="0.0.0.0", provider="loopback", is_open=True)
    with pytest.raises(InvalidInput, match="leave out --open"):
        serve_host(options, threading.Event())


def test_prometheus_reads_its_page_without_a_token_on_this_machine(url):
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'atoll_fleet_clusters{state="WAITING"} 0' in answer.read()


@pytest.mark.parametrize(("kind", "is_there"), [("z9.xlarge", True), ("m5.xlarge", False)])
def test_machines_are_of_the_types_in_the_hosts_own_catalogue(url, home, kind, is_there):
    client = FleetClient(url, token_of(home))
    fleets = [FleetSpec(role, role, 1, 0, (InstanceTypeConfig(kind),)) for role in list(Role)[:2]]
    spec = ClusterSpec("c", "emr-7.10.0", tuple(fleets))
    if is_there:
        assert client.call("preview", LaunchPreview, spec=spec).price_per_hour == 2 * 0.192
        return
    with pytest.raises(InvalidInput, match="not in the catalogue"):
        client.call("preview", LaunchPreview, spec=spec)


def test_a_catalogue_is_refused_on_ec2_where_clusters_would_not_know_it(tmp_path):
    (tmp_path / "catalogue.toml").write_text(own_catalogue())
    with pytest.raises(InvalidInput, match="for local machines only"):
        serve_host(HostOptions(tmp_path, provider="ec2", region="us-east-1"), threading.Event())


def test_host_refuses_whom_it_could_not_notify_before_it_serves(tmp_path):
    options = HostOptions(home=tmp_path, provider="loopback", notified=("mailto:a@b.org",))
    with pytest.raises(InvalidInput, match="no mail server"):
        serve_host(options, threading.Event())
    assert not (tmp_path / SERVING).exists()
