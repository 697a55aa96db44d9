"""The commands of the mesh, which are made from its operations."""

import io
import time

import click
import pytest
from click.testing import CliRunner

from atoll.app.main import cli
from atoll.core.config import Settings
from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.cli import mesh
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.cli.commands import command
from atoll.mesh.cli.saved import Login, save_login, saved_login
from atoll.mesh.cli.showing import lines
from atoll.mesh.cli.values import Moment, Secret, Span
from atoll.mesh.service import OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_60_every_operation_is_a_command(name):
    made = command(OPERATIONS[name])
    assert OPERATIONS[name].told.partition("\n")[0][:30] in made.get_help(click.Context(made))


@pytest.mark.parametrize(
    ("text", "value"),
    [("spot welds", "spot welds"), ("7", 7), ('"7"', "7"), ('["a"]', ["a"]), ("[a", "[a")],
)
def test_60_a_value_of_several_types_is_json_or_else_text(text, value):
    [option] = [one for one in command(OPERATIONS["CreateProposal"]).params if one.name == "after"]
    assert option.type.convert(text, option, None) == value


def test_60_a_file_that_is_not_there_is_no_text():
    [option] = [one for one in command(OPERATIONS["CreateProposal"]).params if one.name == "after"]
    with pytest.raises(click.BadParameter, match="@none"):
        option.type.convert("@none", option, None)


def test_60_help_lists_every_command_once_under_its_subject():
    told = CliRunner().invoke(mesh, ["--help"], terminal_width=100).stdout
    for name in mesh.commands:
        assert told.count(f"\n  {name} ") == 1
    assert told.index("To begin with:") < told.index("  who-am-i ") < told.index("Access:")


def test_60_options_tell_what_the_operation_says_of_them_and_how_json_looks():
    told = help_of("create-form-type")
    assert 'E.g. [{"name": "..."}]. May have type, description' in told
    assert "In an accepted storage of the project, or in one of its" in help_of(
        "create-data-source"
    )
    assert "ASSET_ID may be PROJECT/NAME." in help_of("get-asset")


def help_of(name):
    """What is said of a command, without its line breaks."""
    result = CliRunner().invoke(cli, ["mesh", name, "--help"])
    assert result.exception is None, repr(result.exception)
    return " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90min", 5400), ("12 h", 43_200), ("2w", 1_209_600)]
)
def test_60_spans_of_time_are_written_as_people_do(text, seconds):
    assert Span().convert(text, None, None) == seconds


def test_60_moments_are_dates_or_counted_from_now():
    assert Moment().convert("1970-01-02", None, None) == 86_400_000_000
    assert Moment().convert("1970-01-01T01:00+01:00", None, None) == 0
    now = time.time_ns() // 1000
    assert Moment().convert("+1d", None, None) - now >= 86_400_000_000
    assert Moment().convert("-1h", None, None) <= now
    for wrong in ("1d", "+", "-1y", "soon", "+1dd"):
        with pytest.raises(click.BadParameter, match="is no time"):
            Moment().convert(wrong, None, None)


def test_60_a_password_need_not_stand_on_the_command_line(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("correct horse\n")
    assert Secret().convert(f"@{tmp_path / 'secret'}", None, None) == "correct horse"
    monkeypatch.setattr("sys.stdin", io.StringIO("battery staple\r\n"))
    assert Secret().convert("-", None, None) == "battery staple"
    with pytest.raises(click.BadParameter, match="cannot be read"):
        Secret().convert("@none", None, None)


def test_60_a_sign_in_is_kept_for_its_owner_and_the_mesh_that_it_is_for(tmp_path):
    place = tmp_path / "config" / "login.json"
    assert saved_login(place) == Login()
    save_login(place, Login("http://one:1", "old"))
    save_login(place, Login("http://one:1", "token"))
    assert place.stat().st_mode & 0o777 == 0o600
    assert saved_login(place) == Login("http://one:1", "token")
    place.write_text("{")
    with pytest.raises(InvalidInput, match="is no sign-in"):
        saved_login(place)
    place.chmod(0o644)
    with pytest.raises(Forbidden, match="others may open it"):
        saved_login(place)


def test_60_a_token_is_told_to_no_other_mesh(tmp_path, monkeypatch):
    tokens = []
    monkeypatch.setattr(MeshClient, "__init__", lambda self, url, token: tokens.append(token))
    monkeypatch.setattr(MeshClient, "close", lambda self: None)
    monkeypatch.setattr(MeshClient, "perform", lambda self, *_: {})
    save_login(tmp_path / "login", Login("http://one:1", "secret"))
    for url in (None, "http://one:1", "http://two:1"):
        settings = Settings(mesh_url=url, mesh_login=tmp_path / "login")
        assert CliRunner().invoke(mesh, ["get-domain"], obj=settings).exception is None
    assert tokens == ["secret", "secret", ""]


@pytest.mark.parametrize(
    ("url", "token", "told"),
    [
        ("localhost:8480", "", "no address"),
        ("http://", "", "no address"),
        ("http://a", "ü", "token"),
    ],
)
def test_60_what_is_no_mesh_or_no_token_is_said_at_once(url, token, told):
    with pytest.raises(InvalidInput, match=told):
        MeshClient(url, token)


THINGS = [
    {"id": f"asset-{'a' * 16}", "version": 1, "name": "orders", "owning_project_id": "p" * 24,
     "technical": {"rows": 3}, "forms": [{"form_type": "Common"}], "note": "x" * 90, "empty": "",
     "at": 1_000_000, "every_s": 5400, "is_archived": False},
]  # fmt: skip


def test_60_tables_fit_the_terminal_and_leave_out_what_says_nothing():
    head, row = lines(THINGS, 110)
    assert head.split() == ["id", "name", "forms", "note", "at", "every_s", "is_archived"]
    assert len(row) <= 110
    assert "xxx…  1970-01-01 00:00:01  1 h 30 min  no" in row
    assert "x" * 90 in list(lines(THINGS))[1]


def test_60_a_thing_is_shown_with_what_is_in_it():
    thing = {
        "name": "orders",
        "technical": {"rows": 3, "columns": [{"name": "a", "pii": {"k": 1}}]},
    }
    assert list(lines({**thing, "terms": []})) == [
        "field           value",
        "name            orders",
        "technical/rows  3",
        "terms           none",
        "",
        "technical/columns:",
        "name  pii",
        "a     k: 1",
    ]
    assert list(lines([])) == ["there is nothing here that you may look at"]
    assert list(lines({})) == ["done"]


def test_60_what_others_wrote_never_steers_the_terminal():
    evil = "\x1b]0;owned\x07\u202ename\r\n\x9b2J"
    for one in ([{"name": evil, evil: evil}], {evil: {evil: [{evil: evil}]}, "name": [evil]}):
        assert all(line.isprintable() for line in lines(one, 80))
        assert all(line.isprintable() for line in lines(one))
