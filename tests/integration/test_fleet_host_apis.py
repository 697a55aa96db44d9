"""AWS's APIs and Prometheus' page at the address of a host that runs."""

import threading
import urllib.request

import pytest
from botocore.exceptions import ClientError
from fleet_clients import KEY, SECRET, boto3_of
from fleet_lab import awaited

from atoll.core.errors import InvalidInput
from atoll.fleet.codec import decode
from atoll.fleet.control.home import SERVING, Serving
from atoll.fleet.control.host import HostOptions, serve_host


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    home, stopped = tmp_path_factory.mktemp("home"), threading.Event()
    options = HostOptions(home=home, provider="loopback", keys={KEY: SECRET})
    thread = threading.Thread(target=serve_host, args=(options, stopped))
    thread.start()
    awaited((home / SERVING).exists)
    yield decode((home / SERVING).read_bytes(), Serving, what="the server's file").url
    stopped.set()
    thread.join()


def test_all_three_apis_answer_at_one_address(url):
    client = boto3_of(url)
    assert client("emr").list_clusters()["Clusters"] == []
    assert client("cloudformation").list_stacks()["StackSummaries"] == []
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_wrong_secret_is_refused(url, monkeypatch):
    monkeypatch.setattr("fleet_clients.SECRET", "another")
    with pytest.raises(ClientError) as found:
        boto3_of(url)("emr").list_clusters()
    assert found.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_prometheus_reads_its_page_without_a_token_on_this_machine(url):
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'atoll_fleet_clusters{state="WAITING"} 0' in answer.read()


def test_host_refuses_whom_it_could_not_notify_before_it_serves(tmp_path):
    options = HostOptions(home=tmp_path, provider="loopback", notified=("mailto:a@b.org",))
    with pytest.raises(InvalidInput, match="no mail server"):
        serve_host(options, threading.Event())
    assert not (tmp_path / SERVING).exists()
