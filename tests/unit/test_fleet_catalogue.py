"""The catalogue of instance types: what it holds, and what a user's copy may get wrong."""

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.providers.local.world import World
from atoll.fleet.spec.catalogue import load_catalogue, own_catalogue, parse_catalogue

LINE = (
    '{ name = "m5.xlarge", vcpus = 4, memory_gib = 16, instance_store_gib = 0, ebs_gib = 64, '
    "hour = 0.192 }"
)


def with_line(old, new):
    text = own_catalogue()
    assert old in text
    return text.replace(old, new)


def test_the_catalogue_says_where_and_when_its_figures_are_from():
    found = load_catalogue()
    assert found.date == "2026-11-26"
    assert "us-east-1" in found.region
    assert own_catalogue().count("\nsource = ") == len({name[:3] for name in found.types})
    assert "check it before you rely on a price" in own_catalogue()


def test_a_type_has_the_size_price_and_disk_that_emr_gives_it():
    one = load_catalogue().types["m5.2xlarge"]
    assert (one.vcpus, one.memory_gib, one.price_hour, one.disk_gib) == (8, 32, 0.384, 128)
    assert load_catalogue().types["i3.xlarge"].disk_gib == 885


def test_each_type_of_a_family_is_twice_the_one_before_it():
    types = load_catalogue().types
    for name, small in types.items():
        if name.endswith(".xlarge"):
            large = types[name.replace(".xlarge", ".2xlarge")]
            assert (large.vcpus, large.memory_gib) == (2 * small.vcpus, 2 * small.memory_gib)
            assert large.price_hour == pytest.approx(2 * small.price_hour)


def test_an_unknown_type_is_refused_with_the_nearest_and_where_to_add_it():
    with pytest.raises(InvalidInput, match=r"m5\.xlrge.* is not in .*catalogue\.toml") as caught:
        World(load_catalogue().types).facts_of("m5.xlrge")
    assert "m5.xlarge" in caught.value.details["near"]


def test_a_users_copy_is_read(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(with_line("hour = 0.192", "hour = 0.2"))
    assert load_catalogue(file).types["m5.xlarge"].price_hour == 0.2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (LINE, LINE.replace("0.192", "-1"), "m5.xlarge.hour is -1"),
        (LINE, LINE.replace("0.192", "nan"), "m5.xlarge.hour is nan"),
        (LINE, LINE.replace("0.192", "true"), "m5.xlarge.hour is True"),
        (LINE, LINE.replace("vcpus = 4", "vcpus = 4.5"), "vcpus is 4.5; write a whole number"),
        (LINE, LINE.replace("vcpus = 4, ", ""), "m5.xlarge lacks vcpus"),
        (LINE, LINE.replace("vcpus", "cpus"), "has cpus, which nothing uses"),
        (LINE, f"{LINE}, {LINE}", "has m5.xlarge twice"),
        (LINE, "7", "7 is no type"),
        ("[m5]", "m5 = 7\n[x]", "m5 is no section"),
        ("[m5]", "[m5", "is not TOML"),
        ('architecture = "arm64"', "", "m6g lacks architecture"),
        ('date = "2026-11-26"', "", "lacks date"),
    ],
)
def test_what_is_wrong_with_a_copy_is_named(old, new, message):
    with pytest.raises(InvalidInput, match=r"mine\.toml") as caught:
        parse_catalogue(with_line(old, new), "mine.toml")
    assert message in caught.value.message


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"mine\.toml is not text"):
        load_catalogue(file)
