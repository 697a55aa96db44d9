"""EMR's releases: which run three primaries from instance fleets, and their defaults."""

import tomllib
from pathlib import Path

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.model import SpotStrategy
from atoll.fleet.spec.releases import (
    LATEST,
    OUR_SPARK,
    need_high_availability,
    parse_release,
    spark_notice,
)

GOOD = [
    "5.36.1",
    "5.36.2",
    "6.8.1",
    "6.9.1",
    "6.10.1",
    "6.11.1",
    "6.12.0",
    "7.0.0",
    "7.99.0",
    "8.0.0",
]


@pytest.mark.parametrize("label", GOOD)
def test_these_releases_run_three_primaries(label):
    need_high_availability(parse_release(f"emr-{label}"))


@pytest.mark.parametrize(
    ("label", "nearest"),
    [
        ("5.36.0", "5.36.1"),
        ("5.23.0", "5.36.1"),
        ("6.0.0", "6.8.1"),
        ("6.8.0", "6.8.1"),
        ("6.9.0", "6.9.1"),
        ("6.10.0", "6.10.1"),
        ("6.11.0", "6.11.1"),
    ],
)
def test_other_releases_are_refused_with_the_nearest_that_will_do(label, nearest):
    with pytest.raises(InvalidInput, match=f"use emr-{nearest}, or {LATEST.label}") as caught:
        need_high_availability(parse_release(label))
    assert caught.value.details["nearest"] == f"emr-{nearest}"


def test_the_latest_release_is_the_default():
    assert parse_release("") == parse_release("latest") == LATEST
    assert LATEST.label == "emr-7.13.0"


@pytest.mark.parametrize(
    "label", ["emr-7", "7.x.0", "emr-spark-8.0.0", "emr-7.1.0-latest", "\u0667.0.0"]
)
def test_what_is_no_release_is_refused(label):
    with pytest.raises(InvalidInput, match="is no release label; write one such as emr-7"):
        parse_release(label)


@pytest.mark.parametrize("label", ["4.7.0", "5.0.3", "3.11.0"])
def test_a_release_without_instance_fleets_is_refused(label):
    with pytest.raises(InvalidInput, match="has no instance fleets"):
        parse_release(label)


def test_spot_is_chosen_by_capacity_alone_before_6_9():
    assert parse_release("6.8.1").spot_strategy is SpotStrategy.CAPACITY_OPTIMIZED
    assert parse_release("5.36.2").spot_strategy is SpotStrategy.CAPACITY_OPTIMIZED
    assert parse_release("6.9.0").spot_strategy is SpotStrategy.PRICE_CAPACITY_OPTIMIZED


def test_the_notice_says_both_versions_of_spark():
    assert spark_notice(parse_release("6.15.0")) == (
        f"emr-6.15.0 is Spark 3.4.1 on EMR; Atoll runs Spark {OUR_SPARK}"
    )
    assert "a Spark that Atoll does not know" in spark_notice(parse_release("7.99.0"))


def test_our_spark_is_the_one_that_is_installed_with_the_fleet():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert f"pyspark=={OUR_SPARK}" in extras["fleet"]
