"""The file of prices: what it holds, and what a user's copy may get wrong."""

import pytest
from commandline import atoll, must

from atoll.core.errors import InvalidInput
from atoll.vectors.pricing.prices import load_prices, own_prices, parse_prices


def with_line(old, new):
    text = own_prices()
    assert old in text
    return text.replace(old, new)


def test_our_prices_have_a_date_a_region_and_a_source_each():
    found = load_prices()
    assert found.date == "2026-11-26"
    assert "us-east-1" in found.region
    assert own_prices().count("\nsource = ") == 5
    assert "check them before you rely on a quote" in own_prices()
    assert found.spot_hour is None


def test_an_edited_copy_changes_the_quote(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(must("estimate", "--show-prices").replace("get = 0.0000004", "get = 1.0"))
    assert load_prices(file).get == 1.0
    said = must("estimate", "--rows", 1000, "--dim", 8, "--prices", file)
    assert f"from {file}" in said
    assert "GET x $1.00 = " in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("get = 0.0000004", "get = -1", "s3.get is -1"),
        ("get = 0.0000004", "get = nan", "s3.get is nan"),
        ("get = 0.0000004", 'get = "cheap"', "s3.get is 'cheap'"),
        ("get = 0.0000004", "get = true", "s3.get is True"),
        ("get = 0.0000004", "", "lacks s3.get"),
        ("get = 0.0000004", "get = 0.1\nfetch = 1", "has s3.fetch, which no quote uses"),
        ("[transfer]", "[moving]", "has moving, which no quote uses"),
        ('date = "2026-11-26"', "", "lacks date"),
        ('region = "us-east-1 (N. Virginia)"', "region = 7", "region is no text"),
        ("# spot_hour = 1.1", "spot_hour = -1", "instance.spot_hour is -1"),
        ("[s3]", "[[s3]]", "s3 is no section"),
        ("[s3]", "[s3", "is not TOML"),
    ],
)
def test_a_wrong_price_is_named(old, new, message):
    with pytest.raises(InvalidInput, match=r"mine\.toml") as caught:
        parse_prices(with_line(old, new), "mine.toml")
    assert message in caught.value.message


def test_an_optional_spot_price_is_read():
    assert parse_prices(with_line("# spot_hour = 1.1", "spot_hour = 1.1"), "x").spot_hour == 1.1


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_bytes(b"\xff\xfe")
    done = atoll("estimate", "--rows", 10, "--dim", 8, "--prices", file)
    assert done.code == 1
    assert "is not text" in done.err
