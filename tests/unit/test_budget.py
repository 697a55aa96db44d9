"""Where a budget stops what a search asks of a store, and what the bill says afterwards."""

import subprocess
import sys
import uuid
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import replace

import pytest

from atoll.core.config import AwsOptions, Settings, StorageOptions
from atoll.core.errors import InvalidInput
from atoll.core.functions import JOB_VCPUS
from atoll.deploy.render import SearchStack, render
from atoll.storage import Threads, count_usage, open_storage
from atoll.vectors.cli.common import print_bill
from atoll.vectors.pricing.budget import spending
from atoll.vectors.pricing.prices import load_prices
from atoll.vectors.work import Work

PRICES = load_prices()
AWS = Settings()
ELSEWHERE = Settings(storage=StorageOptions(endpoint="https://elsewhere"))
MIB = 1 << 20


@pytest.fixture
def storage():
    storage = open_storage(f"memory://{uuid.uuid4().hex}")
    storage.put("x", bytes(MIB))
    return storage


def asked(budget, settings, ask, uri="s3://far/away"):
    """What was asked for before the budget was spent."""
    with count_usage() as made, suppress(InvalidInput), spending(budget, uri, settings):
        ask()
    return made


def ten_times(storage):
    def ask():
        for _ in range(10):
            storage.get("x")

    return ask


def test_a_budget_that_is_spent_says_so(storage):
    with (
        pytest.raises(InvalidInput, match=r"the budget of \$0.00 is spent: with what it asks next"),
        spending(0, storage.url, AWS),
    ):
        storage.exists("x")


def test_a_budget_is_spent_to_the_last_request_that_fits(storage):
    ask = ten_times(storage)
    assert asked(4 * PRICES.get, ELSEWHERE, ask).gets == 4
    assert asked(4.5 * PRICES.get, ELSEWHERE, ask).gets == 4
    assert asked(0, ELSEWHERE, ask).gets == 0
    assert asked(None, ELSEWHERE, ask).gets == 10
    assert asked(0, ELSEWHERE, ask, uri="/a/folder").gets == 10


def test_bytes_that_leave_the_region_are_spent_too(storage):
    ask = ten_times(storage)
    each = PRICES.get + PRICES.out_of_region_gib / 1024
    assert asked(2.5 * each, AWS, ask).bytes_read == 2 * MIB
    inside = replace(AWS, aws=AwsOptions(inside_region=True))
    assert asked(2.5 * each, inside, ask).gets == 10


def test_a_range_that_costs_too_much_is_not_asked_for(storage):
    too_little = PRICES.out_of_region_gib / 2048
    made = asked(too_little, AWS, lambda: storage.get_range("x", 0, MIB))
    assert made == count_of()
    assert asked(too_little, AWS, lambda: storage.get_range("x", 0, 1000)) == count_of(1, 1000)


def test_of_an_object_that_costs_too_much_only_the_size_is_asked(storage):
    too_little = PRICES.out_of_region_gib / 2048
    assert asked(too_little, AWS, lambda: storage.get("x")) == count_of(1)
    assert asked(too_little, AWS, lambda: list(storage.stream("x"))) == count_of(1)


def test_bytes_that_do_not_come_are_not_counted(storage):
    with count_usage() as made:
        with suppress(Exception):
            storage.get_range("y", 0, MIB)
        next(storage.stream("x"))
    assert (made.gets, made.bytes_read) == (2, MIB)


def test_many_threads_ask_for_no_more_than_a_budget_allows(storage):
    def ask():
        with Threads(32) as pool:
            done = [pool.submit(storage.get_range, "x", 0, 10) for _ in range(400)]
        wait(done)
        refused = [each.exception() for each in done if each.exception()]
        assert all(isinstance(error, InvalidInput) for error in refused)
        assert len(refused) == 397

    assert asked(3.5 * PRICES.get, ELSEWHERE, ask) == count_of(3, 30)


def test_what_one_limit_refuses_no_other_count_has(storage):
    with count_usage() as outer, spending(PRICES.get, "s3://far", ELSEWHERE):
        with count_usage() as inner:
            storage.exists("x")
            with pytest.raises(InvalidInput):
                storage.exists("x")
        assert (outer.gets, inner.gets) == (1, 1)


def count_of(gets=0, size=0):
    with count_usage() as usage:
        usage.gets, usage.bytes_read = gets, size
    return usage


# -- bills ----------------------------------------------------------------------------------------


def work(step, size):
    usage = {"gets": 10, "puts": 0, "lists": 0, "deletes": 0, "retries": 0}
    return Work(step, 1, 1.0, 1.0, 1.0, 0, usage | {"bytes_read": size, "bytes_written": 0})


def test_a_bill_has_what_this_machine_carried_out_of_the_region(capsys):
    print_bill([work("search", 10 << 30)], AWS)
    assert "bytes out of the region: 10 GiB x $0.09 = $0.900" in capsys.readouterr().err
    print_bill([work("search", 10 << 30)], ELSEWHERE)
    assert "out of the region" not in capsys.readouterr().err


def test_what_a_cloud_read_stays_in_the_region(capsys):
    print_bill([work("open", 1 << 30)], AWS, elsewhere=[work("search", 10 << 30)])
    said = capsys.readouterr().err
    assert "bytes out of the region: 1 GiB x $0.09 = $0.0900" in said
    assert "S3 reads: 20 GET" in said


def test_a_bill_has_the_instances_of_jobs(capsys):
    jobs = [replace(work("search", 0), seconds=3600.0), replace(work("refine", 0), seconds=1800.0)]
    print_bill([work("open", 0)], ELSEWHERE, elsewhere=jobs, job_vcpus=JOB_VCPUS)
    said = capsys.readouterr().err
    assert f"i4i.8xlarge: 0.375 h x ${PRICES.instance_hour} = $1.03" in said
    assert "8 of 32 processors each; starting them and copying buckets come on top" in said
    template = render(SearchStack("s3://abc/d"))
    assert f"  BatchJobVcpus:\n    Type: Number\n    Default: {JOB_VCPUS}\n" in template


def test_who_does_not_ask_for_prices_loads_none():
    code = "import sys, atoll; print([m for m in sys.modules if m.startswith('atoll.vectors.pri')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
