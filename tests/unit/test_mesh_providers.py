"""The file of sign-in providers: what it may say, and who may read it (feature 7)."""

import pytest

from atoll.core.errors import Forbidden, InvalidInput, NotFound
from atoll.mesh.identity.configured import read_providers

PLANT = """
[plant]
issuer = "https://login.plant.example"
client_id = "atoll"
"""


def written(folder, text, mode=0o600):
    path = folder / "providers.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_7_what_is_left_out_is_as_documented(tmp_path):
    [found] = read_providers(written(tmp_path, PLANT))
    assert (found.provider.name, found.title, found.assign) == ("plant", "plant", False)
    assert (found.provider.client_secret, found.provider.groups) == (None, {})


def test_7_a_secret_lies_in_a_file_of_its_own(tmp_path):
    secret = tmp_path / "plant.secret"
    secret.write_text("a secret\n")
    secret.chmod(0o600)
    path = written(tmp_path, f'{PLANT}client_secret_file = "plant.secret"\n')
    [found] = read_providers(path)
    assert found.provider.client_secret == "a secret"
    secret.chmod(0o644)
    with pytest.raises(Forbidden, match="chmod 600"):
        read_providers(path)


def test_7_groups_are_mapped_by_name(tmp_path):
    text = f'{PLANT}assign = true\n[plant.groups]\n"Plant Quality" = "quality"\n'
    [found] = read_providers(written(tmp_path, text))
    assert (found.provider.groups, found.assign) == ({"Plant Quality": "quality"}, True)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602])
def test_7_a_file_that_others_may_open_is_refused(tmp_path, mode):
    with pytest.raises(Forbidden, match="chmod 600"):
        read_providers(written(tmp_path, PLANT, mode))


def test_7_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(NotFound, match=r"none\.toml"):
        read_providers(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[plant", "providers.toml"),
        ("plant = 1", "object"),
        ('[plant]\nissuer = "https://x"', "client_id"),
        (f"{PLANT}clientsecret = 'x'", "clientsecret"),
        (f"{PLANT}assign = 'yes'", "assign"),
        (f"{PLANT}scopes = ['email']", "openid"),
        (f"{PLANT}client_secret = 'x'\nclient_secret_file = 'y'", "keep one"),
        (PLANT.replace("https", "http"), "not https"),
        (PLANT.replace("[plant]", "['Plant 1']"), "names no provider"),
        ("\n".join(PLANT.replace("plant]", f"p{one}]") for one in range(21)), "20 at most"),
    ],
)
def test_7_what_is_wrong_in_it_is_named(tmp_path, text, words):
    with pytest.raises(InvalidInput, match=words):
        read_providers(written(tmp_path, text))


def test_7_a_file_that_is_no_text_is_refused(tmp_path):
    path = written(tmp_path, "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_providers(path)
