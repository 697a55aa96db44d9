from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from atoll.app.settings import read_settings, with_general
from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput
from atoll.core.resources import available_memory, available_threads, parse_bytes


def settings(home, environment=(), config=None):
    if config is not None:
        path = home / ".config" / "atoll" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(config)
    return read_settings(dict(environment), home)


def test_without_file_and_environment_the_machine_decides(tmp_path):
    found = settings(tmp_path)
    assert found.threads >= 1
    assert found.memory_bytes > 0
    assert found.storage.endpoint is None


def test_environment_wins_over_file_and_arguments_over_both(tmp_path):
    config = 'threads = 3\nmemory = "1G"\n[storage]\nregion = "file"\nendpoint = "http://file"\n'
    found = settings(tmp_path, {"ATOLL_THREADS": "5", "AWS_REGION": "env"}, config)
    assert (found.threads, found.memory_bytes) == (5, 1 << 30)
    assert (found.storage.region, found.storage.endpoint) == ("env", "http://file")
    assert with_general(found, {"threads": 7}).threads == 7


@pytest.mark.parametrize(("value", "seconds"), [(None, 0), ("0", 0), ("2.5", 2.5), ("inf", inf)])
def test_reads_look_for_a_newer_version_each_time_unless_told_otherwise(tmp_path, value, seconds):
    environment = {} if value is None else {"ATOLL_READ_CONSISTENCY": value}
    assert settings(tmp_path, environment).read_consistency_s == seconds


def test_our_own_variable_wins_over_that_of_aws(tmp_path):
    environment = {"AWS_ENDPOINT_URL": "http://a", "ATOLL_ENDPOINT": "http://b"}
    assert settings(tmp_path, environment).storage.endpoint == "http://b"


def test_an_empty_variable_counts_as_unset(tmp_path):
    assert settings(tmp_path, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "x"}).storage.region == "x"


def test_a_file_named_by_the_environment_must_be_there(tmp_path):
    with pytest.raises(InvalidInput, match="ATOLL_CONFIG"):
        settings(tmp_path, {"ATOLL_CONFIG": str(tmp_path / "none.toml")})


def test_a_mail_server_is_named_in_a_table_of_its_own_and_its_password_is_not_shown(tmp_path):
    config = '[mail]\nhost = "smtp"\nsender = "a@b"\nport = 25\nstarttls = false\n'
    found = settings(tmp_path, {"ATOLL_MAIL_PASSWORD": "hidden", "ATOLL_MAIL_PORT": "26"}, config)
    expected = MailServer("smtp", "a@b", port=26, starttls=False, password="hidden")
    assert found.mail == expected
    assert "hidden" not in repr(found)
    assert settings(tmp_path / "none").mail is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("thraeds = 3", "no setting 'thraeds'; there are threads"),
        ("[storage]\nkey = 1", "no setting 'key'"),
        ("threads = 0", "0 is not a value for threads"),
        ('[mail]\nhost = "smtp"', "mail needs a sender"),
        ('[mail]\nhost = "smtp"\nsender = "a@b"\nport = 0', "0 is not a value for port"),
        ('[mail]\nhost = "smtp"\nsender = "a@b"\npassword = "pässwort"', "ASCII"),
        ('memory = "much"', "'much' is not a value for memory"),
        ("threads = ", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, config, words):
    with pytest.raises(InvalidInput, match=words):
        settings(tmp_path, (), config)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ATOLL_THREADS", "two"), ("ATOLL_ALLOW_HTTP", "maybe"), ("ATOLL_TIMEOUT", "soon"),
     ("ATOLL_RETRIES", "-1"), ("ATOLL_READ_CONSISTENCY", "-1"), ("ATOLL_READ_CONSISTENCY", "nan")],
)  # fmt: skip
def test_a_wrong_variable_is_an_error_not_a_default(tmp_path, variable, value):
    with pytest.raises(InvalidInput, match=value):
        settings(tmp_path, {variable: value})


def test_aws_credentials_of_the_user_are_taken_where_nothing_else_is_said(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\n")
    assert settings(tmp_path).storage.profile == "default"
    assert settings(tmp_path, {"AWS_ACCESS_KEY_ID": "k"}).storage.profile is None


def test_secrets_are_not_shown(tmp_path):
    assert "hush" not in repr(settings(tmp_path, {"AWS_SECRET_ACCESS_KEY": "hush"}))


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000000", 10**6), ("512M", 512 << 20), ("8GiB", 8 << 30), ("8gb", 8 << 30), ("1.5k", 1536)],
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "0", "1X", "nan", "inf", "1 2"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", None), ("150000 100000", 1), ("50 100", 1)]
)
def test_a_cgroup_limits_the_threads(tmp_path, quota, most):
    (tmp_path / "cpu.max").write_text(quota)
    found = available_threads(tmp_path)
    assert found == (most or available_threads(tmp_path / "none"))


def test_memory_is_the_smaller_of_the_machine_and_what_the_cgroup_leaves(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    assert available_memory(tmp_path, tmp_path / "meminfo") == 4096 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert available_memory(tmp_path, tmp_path / "meminfo") == 2_000_000


def test_the_file_of_sign_in_providers_is_named_by_a_variable(tmp_path):
    found = settings(tmp_path, {"ATOLL_MESH_PROVIDERS": "/etc/atoll/providers.toml"})
    assert found.mesh_providers == Path("/etc/atoll/providers.toml")
