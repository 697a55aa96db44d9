"""What people see when the store, the keys or the disk are not as they should be."""

import os
import shutil
import socket
import subprocess
import sys

import pytest
from s3_proxy import proxied
from s3_servers import moto_server
from vectordata import settings

from atoll.core.config import AwsOptions, StorageOptions
from atoll.core.errors import Forbidden, InvalidInput, NotFound, Unavailable
from atoll.core.files import MAKE_ROOM
from atoll.storage import open_storage
from atoll.storage.s3 import aws_client, aws_errors

MISLEADING = {
    "AWS_ACCESS_KEY_ID": "other",
    "AWS_SECRET_ACCESS_KEY": "other",
    "AWS_SESSION_TOKEN": "other",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_REGION": "eu-north-1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
}
KEYS = {"access_key_id": "key", "secret_access_key": "secret"}


def ignoring_if_none_match(app):
    """Make an S3 server as careless as some are: the condition of a put is not looked at."""

    def careless(environ, start_response):
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return app(environ, start_response)

    return careless


def test_a_store_without_conditional_put_is_refused():
    with moto_server(ignoring_if_none_match) as server:
        storage = open_storage(f"{server.new_bucket()}/x", server.options())
        with pytest.raises(InvalidInput, match="lets a second writer replace"):
            storage.probe_conditional_put()
        assert list(storage.list()) == []


def test_an_unreachable_endpoint_is_named():
    options = StorageOptions(endpoint="http://127.0.0.1:9", allow_http=True, retries=0, **KEYS)
    storage = open_storage("s3://bucket/x", options)
    for use in (storage.probe_conditional_put, storage.list, lambda: storage.exists("y")):
        with pytest.raises(Unavailable, match=r"s3://bucket/x.*http://127.0.0.1:9 did not serve"):
            use()


@pytest.mark.parametrize(("changes", "tries"), [({}, 3), ({"is_repeatable": False}, 1)])
def test_a_job_whose_submission_got_no_answer_is_not_submitted_again(
    moto_s3, tmp_path, changes, tries
):
    with proxied(moto_s3) as (server, behaviour):
        behaviour.is_down = True
        storage = server.options(retries=2)
        reach = settings(tmp_path, storage=storage, aws=AwsOptions(endpoint=server.endpoint))
        client = aws_client("batch", reach, **changes)
        with pytest.raises(Unavailable, match="AWS did not answer"), aws_errors("job"):
            client.submit_job(jobName="n", jobQueue="q", jobDefinition="d")
        assert behaviour.requests["put"] == tries


def test_an_endpoint_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        options = StorageOptions(
            endpoint=endpoint, allow_http=True, retries=0, timeout_s=0.2, **KEYS
        )
        with pytest.raises(Unavailable, match=endpoint):
            open_storage("s3://bucket", options).get("y")


def test_a_missing_bucket_is_not_found(moto_s3):
    storage = open_storage("s3://nobody-made-this/x", moto_s3.options())
    for use in (lambda: storage.put("y", b""), storage.list):
        with pytest.raises(NotFound, match="no such bucket at http://127"):
            use()


@pytest.mark.ceph
@pytest.mark.parametrize("wrong", [{"secret_access_key": "x"}, {"access_key_id": "nobody"}])
def test_wrong_keys_are_refused_and_named(ceph, wrong):
    storage = open_storage(ceph.new_bucket(), ceph.options(**wrong))
    uses = (
        lambda: storage.get("x"),
        lambda: storage.exists("x"),
        lambda: storage.put_new("x", b""),
        lambda: storage.delete("x"),
        storage.list,
        storage.probe_conditional_put,
    )
    for use in uses:
        with pytest.raises(Forbidden, match=r"refused the credentials .* check access_key_id"):
            use()


@pytest.mark.ceph
def test_lance_and_storage_reach_the_same_objects_whatever_the_environment(ceph, monkeypatch):
    import lance
    import pyarrow as pa

    bucket = ceph.new_bucket()
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    storage = open_storage(f"{bucket}/a b/ü 100%25", ceph.options())
    table = pa.table({"x": [1, 2, 3]})
    lance.write_dataset(
        table, storage.lance_uri("t.lance"), storage_options=storage.lance_options()
    )
    assert any(one.path.startswith("t.lance/_versions/") for one in storage.list())
    read = lance.dataset(
        storage.lance_uri("t.lance"), storage_options=storage.lance_options()
    ).to_table()
    assert read == table


def test_a_role_is_assumed_for_both(moto_s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_s3.endpoint)
    options = moto_s3.options(role_arn="arn:aws:iam::123456789012:role/reader")
    storage = open_storage(moto_s3.new_bucket(), options)
    storage.put("x", b"1")
    told = storage.lance_options()
    assert storage.get("x") == b"1"
    assert told["aws_session_token"]
    assert told["aws_access_key_id"] != moto_s3.access_key_id
    assert told == storage.lance_options()


def test_a_role_that_cannot_be_assumed_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    role = "arn:aws:iam::123456789012:role/unreachable"
    storage = open_storage("s3://bucket", StorageOptions(role_arn=role, **KEYS))
    with pytest.raises(Forbidden, match=f"s3://bucket/x: role '{role}': no credentials could be"):
        storage.get("x")
    with pytest.raises(Unavailable, match=f"role '{role}': no credentials could be"):
        storage.lance_options()


def test_a_profile_brings_its_keys_and_region(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(
        "[profile lab]\nregion=eu-west-3\naws_access_key_id=a\naws_secret_access_key=b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    told = open_storage("s3://bucket", StorageOptions(profile="lab")).lance_options()
    assert (told["aws_access_key_id"], told["aws_secret_access_key"]) == ("a", "b")
    assert told["aws_region"] == "eu-west-3"
    assert told["aws_endpoint_url_s3"] == "https://s3.eu-west-3.amazonaws.com"
    with pytest.raises(InvalidInput, match="typo"):
        open_storage("s3://bucket", StorageOptions(profile="typo"))


def test_a_profile_without_boto3_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InvalidInput, match=r"install atoll\[aws\]"):
        open_storage("s3://bucket", StorageOptions(profile="without boto3"))


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"file/x: .*choose another place"):
        open_storage(tmp_path / "file").put("x", b"")


def test_a_full_disk_and_a_read_only_one_are_named(tmp_path):
    small, frozen = tmp_path / "small", tmp_path / "frozen"
    small.mkdir()
    frozen.mkdir()
    mounts = f"mount -t tmpfs -o size=64k none {small} && mount -t tmpfs -o ro none {frozen}"
    own = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*own, mounts], check=False).returncode:
        pytest.skip("this machine lets us mount nothing")
    script = f"{mounts} && exec {sys.executable} -c '{_FILL}' {small} {frozen}"
    done = subprocess.run([*own, script], capture_output=True, text=True, check=True)
    full = f"Unavailable {small}/big cannot be written: disk full; {MAKE_ROOM}"
    assert done.stdout.splitlines() == [
        full,
        full,
        "left: []",
        f"Forbidden {frozen}/x lies on a read-only file system; choose another folder",
    ]


_FILL = """
import os, sys
from pathlib import Path
from atoll.core.errors import AtollError
from atoll.storage import open_storage
def tell(use, *given):
    try:
        use(*given)
    except AtollError as error:
        print(type(error).__name__, error)
here, frozen = Path(sys.argv[1]), Path(sys.argv[2])
memory = open_storage("memory://m")
memory.put("big", bytes(1_000_000))
tell(open_storage(here).put, "big", bytes(1_000_000))
tell(memory.download, "big", here / "big")
print("left:", os.listdir(here))
tell(open_storage(frozen).put, "x", b"")
"""


def test_a_folder_of_somebody_else_is_forbidden(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(0o700 if os.getuid() == 0 else 0o500)
    script = (
        "import os, sys\n"
        "from atoll.storage import open_storage\n"
        "storage = open_storage(sys.argv[1])\n"
        "storage.exists('x')\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "storage.put('x', b'')\n"
    )
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"Forbidden: {folder}/x: permission denied; change its owner or mode" in done.stderr


def test_a_forked_child_is_told_instead_of_hanging(tmp_path):
    script = (
        "import os, sys\n"
        "from atoll.storage import open_storage\n"
        "storage = open_storage(sys.argv[1])\n"
        "storage.put('x', b'1')\n"
        "if os.fork() == 0: storage.put('x', b'2')\n"
        "else: os.wait()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Unavailable: this process was forked" in done.stderr
