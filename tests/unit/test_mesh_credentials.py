"""The file of keys by which a mesh reaches stores."""

import pytest

from atoll.app.credentials import read_credentials
from atoll.app.settings import read_settings
from atoll.core.config import StorageOptions
from atoll.core.errors import InvalidInput

KEYS = """
[lake]
endpoint = "http://127.0.0.1:7480"
allow_http = true
access_key_id = "AK"
secret_access_key = "hunter2"

["press.shop"]
region = "eu-west-1"
"""


def written(tmp_path, text, mode=0o600):
    place = tmp_path / "keys.toml"
    place.write_text(text)
    place.chmod(mode)
    return place


def test_keys_are_read_by_the_names_that_associations_give(tmp_path):
    place = written(tmp_path, KEYS)
    told = read_settings({"ATOLL_MESH_CREDENTIALS": str(place)}, tmp_path)
    found = read_credentials(told.mesh_credentials)
    assert found["lake"].secret_access_key == "hunter2"
    assert found["press.shop"] == StorageOptions(region="eu-west-1")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_credentials(written(tmp_path, KEYS, mode))


@pytest.mark.parametrize(
    "text",
    [
        "[lake]\nsecret_access_key = hunter2",
        "[lake]\nsecret = 'hunter2'",
        "lake = 'hunter2'",
        "['a b']\nregion = 'x'",
        "[lake]\ntimeout_s = 'long'",
        "\x00",
    ],
)
def test_what_makes_no_sense_is_refused_without_a_secret(tmp_path, text):
    with pytest.raises(InvalidInput) as refused:
        read_credentials(written(tmp_path, text))
    assert "hunter2" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"keys\.toml"):
        read_credentials(tmp_path / "keys.toml")
