from pathlib import Path

import pytest

from atoll.core.config import StorageOptions
from atoll.core.errors import Corrupt, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.storage import local_path, open_storage
from atoll.storage.failures import as_atoll_error
from atoll.storage.s3 import endpoint_of

KEYS = {"access_key_id": "key", "secret_access_key": "secret"}


@pytest.mark.parametrize(
    ("given", "url", "shown"),
    [
        ("/data/a b", "file:///data/a%20b", "/data/a b"),
        ("/data/x/", "file:///data/x", "/data/x"),
        (Path("/data/ü"), "file:///data/%C3%BC", "/data/ü"),
        (Path("/data/s3:"), "file:///data/s3%3A", "/data/s3:"),
        ("file:///data/a%20b%2525", "file:///data/a%20b%2525", "/data/a b%25"),
        ("file://localhost/data", "file:///data", "/data"),
        ("FILE:/data", "file:///data", "/data"),
        ("s3://Bucket.x/a b/ü/", "s3://Bucket.x/a b/ü", "s3://Bucket.x/a b/ü"),
        ("S3://bucket", "s3://bucket", "s3://bucket"),
        ("memory://name/x", "memory://name/x", "memory://name/x"),
    ],
)
def test_urls_are_normalised(given, url, shown):
    storage = open_storage(given)
    assert (storage.url, str(storage)) == (url, shown)


def test_relative_paths_start_here_and_tilde_at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert local_path("../x") == tmp_path.parent / "x"
    assert local_path("x y") == tmp_path / "x y"
    assert local_path("~/x") == Path("/home/somebody/x")


def test_only_local_places_have_a_local_path():
    assert local_path("s3://bucket/x") is None
    assert local_path("https://example.org/x") is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("db://name", "scheme 'db' is not known"),
        ("s3a://bucket", "scheme 's3a' is not known"),
        ("s3://", "'' is no bucket"),
        ("s3://two words/x", "'two words' is no bucket"),
        ("s3://bucket/a//b", "is not a path inside s3://bucket"),
        ("s3://bucket/../b", "is not a path inside s3://bucket"),
        ("file://host/x", "names the machine 'host'"),
        ("", "'' is not a path"),
        ("a\0b", "is not a path"),
        ("file:///a%00b", "is not a path"),
        ("~nosuchuser/x", "no home folder of '~nosuchuser'"),
    ],
)
def test_places_that_make_no_sense_are_refused_by_name(url, said):
    with pytest.raises(InvalidInput) as caught:
        open_storage(url)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ({}, "https://s3.us-east-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "https://s3.cn-north-1.amazonaws.com.cn"),
        ({"endpoint": "https://store:9000/"}, "https://store:9000"),
        ({"endpoint": "http://[::1]:9000", "allow_http": True}, "http://[::1]:9000"),
    ],
)
def test_endpoints_are_explicit(options, endpoint):
    assert endpoint_of(StorageOptions(**options)) == endpoint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoint": "localhost:9000"}, "'localhost:9000' is not a URL"),
        ({"endpoint": "http://store"}, "is not encrypted; use https, or set allow_http"),
        ({"endpoint": "https://a b"}, "is not a URL"),
    ],
)
def test_endpoints_that_make_no_sense_are_refused_when_opened(options, said):
    with pytest.raises(InvalidInput) as caught:
        open_storage("s3://bucket", StorageOptions(**options))
    assert said in str(caught.value)


def test_half_a_key_is_refused():
    storage = open_storage("s3://bucket", StorageOptions(access_key_id="key"))
    with pytest.raises(InvalidInput, match="belong together"):
        storage.get("x")


def test_lance_is_told_every_option():
    options = StorageOptions(
        endpoint="http://store:9000",
        region="eu-west-1",
        **KEYS,
        session_token="token",
        allow_http=True,
        virtual_hosted=True,
        timeout_s=1.5,
        connect_timeout_s=2,
        retries=7,
    )
    told = open_storage("s3://bucket/x", options).lance_options()
    assert told == {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "aws_region": "eu-west-1",
        "aws_endpoint_url_s3": "http://bucket.store:9000",
        "aws_virtual_hosted_style_request": "true",
        "aws_conditional_put": "etag",
        "aws_skip_signature": "false",
        "aws_unsigned_payload": "false",
        "allow_http": "true",
        "timeout": "1500ms",
        "connect_timeout": "2000ms",
        "client_max_retries": "7",
    }


def test_without_keys_lance_looks_for_its_own():
    told = open_storage("s3://bucket/x").lance_options()
    assert not {name for name in told if "key" in name or "token" in name}
    assert open_storage("/data").lance_options() == {}


def test_lance_gets_plain_paths_and_encoded_urls():
    assert open_storage("/data/a b%").lance_uri("t.lance") == "/data/a b%/t.lance"
    assert open_storage("s3://bucket/a b%").lance_uri("ü") == "s3://bucket/a%20b%25/%C3%BC"
    with pytest.raises(InvalidInput, match="memory://x cannot hold tables"):
        open_storage("memory://x").lance_uri()


def test_secrets_are_not_shown():
    options = StorageOptions(access_key_id="key", secret_access_key="hush", session_token="hush")
    assert "hush" not in repr(open_storage("s3://bucket", options))


# What obstore 0.12 really said; the servers were Ceph 16 and nobody at all.
@pytest.mark.parametrize(
    ("text", "endpoint", "kind", "said"),
    [
        ("copy data: No space left on device (os error 28)", None, Unavailable, "disk full"),
        ("copy data: Disk quota exceeded (os error 122)", None, Unavailable, "quota used up"),
        ("open file: Read-only file system (os error 30)", None, Forbidden, "read-only"),
        ("open file: Permission denied (os error 13)", None, Forbidden, "permission denied"),
        ("open file: Not a directory (os error 20)", None, InvalidInput, "choose another place"),
        ("open file: Input/output error (os error 5)", None, Unavailable, "Input/output error"),
        ("Requested range was invalid", None, Corrupt, "shorter than expected"),
        ("status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "https://s", Forbidden,
         "https://s refused the credentials (SignatureDoesNotMatch)"),
        ("status code: 403 Forbidden: ", "https://s", Forbidden, "refused the credentials (403)"),
        ("status code: 400: <Code>ExpiredToken</Code>", "https://s", Forbidden, "session_token"),
        ("status code: 404: <Code>NoSuchBucket</Code>", "https://s", NotFound, "no such bucket"),
        ("status code: 301: <Code>PermanentRedirect</Code>", "https://s", InvalidInput, "region"),
        ("status code: 501: <Code>NotImplemented</Code>", "https://s", InvalidInput, "accept"),
        ("status code: 416: <Code>InvalidRange</Code>", "https://s", Corrupt, "shorter"),
        ("status code: 503: <Code>SlowDown</Code>", "https://s", Unavailable, "SlowDown"),
        ("PUT http://169.254.169.254/latest/api/token", "https://s", Forbidden, "no credentials"),
        ("after 1 retries - HTTP error: error sending request", "https://s", Unavailable,
         "https://s did not serve the request (HTTP error: error sending request)"),
    ],
)  # fmt: skip
def test_failures_find_their_place_in_the_tree(text, endpoint, kind, said):
    from obstore.exceptions import GenericError

    error = as_atoll_error(GenericError(f"{text}\n\nDebug source:\n..."), "the/place", endpoint)
    assert type(error) is kind
    assert "the/place" in str(error)
    assert said in str(error)
    assert "Debug source" not in str(error)


def test_a_name_that_is_no_path_is_the_input_s_fault_not_the_network_s(tmp_path):
    (tmp_path / "new\nline").write_text("")
    with pytest.raises(InvalidInput, match=r"new line.*rename or remove that object"):
        open_storage(tmp_path).list()
