import pytest

from atoll.core.config import StorageOptions
from atoll.core.errors import InvalidInput
from atoll.mesh.harvest import Source, normalised
from atoll.mesh.harvest.locations import MAX_LOCATION_CHARACTERS, open_location, reason, stated
from atoll.mesh.harvest.patterns import check_patterns, is_wanted


def test_one_place_has_one_spelling(tmp_path):
    (tmp_path / "real" / "x y").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one = f"file://{tmp_path}/real/x%20y"
    for spelling in ("real/x y", "real/x y/", "./real/../real/x y", "link/x y", "real//x y"):
        assert normalised(f"{tmp_path}/{spelling}") == one
    assert normalised(one) == one


def test_what_somebody_states_is_spelled_by_its_letters_alone(tmp_path):
    (tmp_path / "real" / "x y").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for spelling in ("real/x y", "real/x y/", "./real//./x y"):
        one = stated(f"{tmp_path}/{spelling}")
        assert one == f"file://{tmp_path}/real/x%20y" == normalised(one)
    assert stated(f"/{tmp_path}/real") == stated(f"file://localhost/{tmp_path}/real")
    assert stated(f"{tmp_path}/link") == f"file://{tmp_path}/link" != normalised(f"{tmp_path}/link")
    assert stated("s3://plant/press/") == "s3://plant/press"


@pytest.mark.parametrize(
    "location",
    [
        "~/x",
        "~root/x",
        "~nosuchuser/x",
        "file:~root/x",
        "x",
        "file:x",
        "/lake/../x",
        "file:///lake/%2e%2e/x",
        "/proc/self/cwd",
        "//proc/self/cwd",
        "file:////proc/self/exe",
        "/./proc/self/fd/3",
        "file:///%70roc/self/cwd",
        "/sys",
        "/dev/fd/0",
    ],
)
def test_what_only_the_server_could_complete_is_refused_in_the_same_words(location):
    with pytest.raises(InvalidInput) as refusal:
        stated(location)
    with pytest.raises(InvalidInput) as other:
        stated("~")
    assert str(refusal.value) == str(other.value)


@pytest.mark.parametrize(
    "location",
    [
        "s3://AKIAEXAMPLE:hunter2@bucket/x",
        "https://user:hunter2@store/x",
        "s3://bucket/x?X-Amz-Signature=hunter2",
        "gs://bucket/x.csv?token=hunter2",
    ],
)
def test_credentials_in_a_location_are_refused_and_not_repeated(location):
    with pytest.raises(InvalidInput, match="storage options") as refusal:
        normalised(location)
    assert "hunter2" not in str(refusal.value)
    assert "hunter2" not in repr(refusal.value.details)


def test_credentials_in_an_endpoint_are_refused_and_not_repeated():
    options = StorageOptions(endpoint="https://user:hunter2@store")
    with pytest.raises(InvalidInput, match="the endpoint names a user") as refusal:
        open_location("s3://bucket/x", options)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "location",
    ["", "s3://bucket/a/../b", "s3://bucket/a//b", "s3://", "ftp://x/y", "a\nb", "s3://b/\x1b[2J"],
)
def test_what_is_no_location_is_said_so(location):
    with pytest.raises(InvalidInput):
        normalised(location)
    with pytest.raises(InvalidInput, match="at most"):
        normalised("x" * (MAX_LOCATION_CHARACTERS + 1))


def test_a_loop_of_links_is_no_location(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InvalidInput, match="loop of symbolic links"):
        normalised(str(tmp_path / "a"))


def test_reasons_are_one_short_line():
    assert reason("a\nb\x1b[31m  c") == "a b [31m c"
    assert len(reason("x" * 10_000)) < 310


def wanted(path, include=(), exclude=()):
    return is_wanted(Source("x", tuple(include), tuple(exclude)), path)


def test_patterns_choose_assets_by_their_path_or_a_folder_that_they_are_in():
    assert wanted("raw/a.csv")
    assert wanted("raw/a.csv", ["raw"])
    assert wanted("raw/a.csv", ["raw/"])
    assert wanted("raw/deep/a.csv", ["*.csv"])
    assert not wanted("raw2/a.csv", ["raw"])
    assert not wanted("raw/A.CSV", ["*.csv"])
    assert not wanted("raw/a.csv", ["raw"], ["*.csv"])


def test_patterns_are_few_short_and_never_slow():
    with pytest.raises(InvalidInput, match="100 are the most"):
        check_patterns(Source("x", ("a",) * 101))
    for pattern in ("", "x" * 501):
        with pytest.raises(InvalidInput, match="1 to 500 characters"):
            check_patterns(Source("x", exclude=(pattern,)))
    assert not wanted("a" * 1000 + "c", ["*a" * 200 + "b"])
