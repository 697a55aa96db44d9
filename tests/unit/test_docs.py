"""The documentation names every command, option, setting, error and exit code, and no others."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import click
import mesh_reference
import pytest

import atoll
from atoll.app import main, settings
from atoll.core import errors
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.states import ClusterState, FleetState, InstanceState
from atoll.mesh.cli.commands import dashed
from atoll.mesh.operations.registry import actions
from atoll.mesh.policies.decisions import Authorizer
from atoll.mesh.service import OPERATIONS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
COMMON = "Options of every command"
WORKFLOWS = [file for file in sorted((ROOT / "workflows").rglob("*")) if file.is_file()]
# Options of other programs that the pages show.
FOREIGN = {
    "--extra-index-url", "--no-install-recommends",
    # aws
    "--alarm-name-prefix", "--capabilities", "--parameter-overrides", "--query", "--recursive",
    "--repository-name", "--stack-name", "--template-file", "--since", "--follow", "--username",
    "--password-stdin", "--array-properties", "--job-name", "--job-queue", "--job-definition",
    "--depends-on", "--parameters",
    # docker, snakemake, nextflow
    "--platform", "--build-arg", "--cores", "--configfile", "--rerun-incomplete", "--unlock",
    "--collection", "--queries", "--run",
    # aws, of clusters
    "--endpoint-url", "--template-body", "--cluster-id", "--instance-fleet-type", "--output",
    "--alarm-actions",
}  # fmt: skip
# Options of other programs that messages and scripts name: spark-submit, pip, unshare, mount.
FOREIGN_IN_MESSAGES = {"--conf", "--class", "--force-reinstall", "--fork", "--bind"}
# States of DataZone's that nothing of ours is ever in.
NEVER_REACHED = {
    "CREATING", "UPDATING", "DELETING", "DELETED", "MOVING", "CREATE_FAILED", "UPDATE_FAILED",
    "DELETE_FAILED", "CREATION_FAILED", "DELETION_FAILED", "FAILED_CREATION", "FAILED_UPDATE",
    "FAILED_DELETION",
}  # fmt: skip


@cache
def commands(group=None, before=""):
    """All commands by the words that call them."""
    found = {}
    for name, command in (group or main.program()).commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        else:
            found[f"{before}{name}"] = command
    return found


@cache
def told_by_hand():
    """The commands that no generated page tells."""
    made = {f"mesh {dashed(name)}" for name in OPERATIONS}
    return {name: command for name, command in commands().items() if name not in made}


@cache
def groups():
    """The words that call a group of commands."""
    words = [name.split() for name in commands()]
    return {" ".join(one[:length]) for one in words for length in range(1, len(one))}


def options_of(command):
    """List the options of one command that not every command has."""
    mine = {
        name
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    return mine - common_options()


@cache
def common_options():
    return {name for option in main._common_options() for name in option.opts} | {
        "--no-allow-http",
        "-h",
        "--help",
    }


def section(title):
    """The text below a heading of the reference, up to the next heading."""
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", REFERENCE, re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/reference.md has no heading {title!r}"
    return found[1]


def options_in(text):
    return set(re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", text))


def listed_options(title):
    """The options that a section of the reference lists as its command's own."""
    text = "\n".join(line for line in section(title).splitlines() if "`" in line)
    text = re.sub(r"`[a-z]+ --json`", "", text)
    cells = [line.split("|")[1] if line.startswith("|") else line for line in text.splitlines()]
    return options_in("\n".join(re.findall(r"`[^`]+`", "\n".join(cells))))


def test_reference_lists_the_options_of_each_command():
    for name, command in told_by_hand().items():
        own = options_of(command) - common_options()
        assert listed_options(f"atoll {name}") == own, name


def test_reference_lists_the_options_of_every_command():
    assert listed_options(COMMON) == common_options()


def test_page_of_operations_is_up_to_date():
    page = mesh_reference.PAGE.read_text()
    assert page == mesh_reference.page(), "write it anew: python tests/mesh_reference.py"


def text_of(name):
    """What the reference says of a command's options, some of them once for several."""
    return section(f"atoll {name}") + (section("atoll plan") if name in ("create", "add") else "")


def test_reference_tells_the_defaults():
    for name, command in told_by_hand().items():
        text = text_of(name)
        for option in command.params:
            is_value = isinstance(option.default, str | int) and not isinstance(
                option.default, bool
            )
            if isinstance(option, click.Option) and is_value:
                row = next(
                    line
                    for line in text.splitlines()
                    if line.startswith("| ") and f"`{option.opts[-1]}`" in line.split("|")[1]
                )
                shown = row.split("|")[2].strip().strip("`")
                assert shown == str(option.default), f"{name} {option.opts[-1]}"


def test_reference_names_every_choice():
    for name, command in told_by_hand().items():
        text = text_of(name)
        for option in command.params:
            if isinstance(option.type, click.Choice):
                for choice in option.type.choices:
                    assert f"`{choice}`" in text, f"{name} {option.opts[-1]} {choice}"


def test_reference_names_every_setting_with_its_variables():
    rows = [line.split("|") for line in section("Settings").splitlines() if line.startswith("| `")]
    told = {row[1].strip(" `"): tuple(re.findall(r"`(\w+)`", row[2])) for row in rows}
    known = settings.GENERAL | {f"storage.{name}": v for name, v in settings.STORAGE.items()}
    known |= {f"aws.{name}": v for name, v in settings.AWS.items()}
    known |= {f"mail.{name}": v for name, v in settings.MAIL.items()}
    assert told == known
    assert settings.CONFIG_VARIABLE in section("Settings")


def test_reference_names_every_error_with_code_and_status():
    rows = [line.split("|") for line in section("Errors").splitlines() if line.startswith("| `")]
    told = {tuple(cell.strip(" `") for cell in row[1:4]) for row in rows}
    core = [one for one in vars(errors).values() if isinstance(one, type)]
    kinds = [one for one in core if issubclass(one, errors.AtollError)]
    kinds += [InsufficientCapacity, NoFreeAddress]
    assert told == {(kind.__name__, kind.code, str(kind.status)) for kind in kinds}


def test_reference_names_every_exit_code():
    told = {int(code) for code in re.findall(r"^\| (\d+) ", section("Exit codes"), re.MULTILINE)}
    raised = {kind.exit_code for kind in errors.AtollError.__subclasses__()}
    assert told == {0, click.UsageError.exit_code, main.INTERRUPTED_EXIT_CODE} | raised


def test_reference_names_every_public_name():
    words = set(re.findall(r"\w+", section("Python") + section("Errors")))
    assert set(atoll.__all__) <= words


@cache
def known_options():
    return set().union(*map(options_of, commands().values())) | common_options() | {"--version"}


def long_options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@pytest.mark.parametrize("page", [*PAGES, *WORKFLOWS], ids=lambda page: page.name)
def test_no_page_names_an_option_that_does_not_exist(page):
    text = re.sub(r"\]\([^)]*\)", "]", page.read_text())
    assert long_options_in(text) <= known_options() | FOREIGN


def test_no_message_names_an_option_that_does_not_exist():
    for path in sorted((ROOT / "src").rglob("*.py")):
        texts = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            # One word is an option for another program, not a message.
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        ]
        named = long_options_in("\n".join(texts))
        assert named <= known_options() | FOREIGN | FOREIGN_IN_MESSAGES, path


@pytest.mark.parametrize("page", [*PAGES, *WORKFLOWS], ids=lambda page: page.name)
def test_commands_that_pages_show_exist_with_their_options(page):
    text = page.read_text().replace("\\\n", " ")
    shown = re.findall(r"(?:^\s*(?:\$ )?|`)atoll ([a-z][\w-]*)([^`\n|;]*)", text, re.MULTILINE)
    for first, rest in shown:
        name, arguments = called(first, rest)
        if name in groups():
            continue
        assert name in commands(), f"atoll {name}"
        given = options_in(re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", arguments))
        assert given <= options_of(commands()[name]) | common_options(), f"atoll {name}{arguments}"


def called(first, rest):
    """The command that a line calls, and its arguments; what follows -- is another program's."""
    own = re.split(r"\s--\s", rest)[0]
    # Options of every command may stand before the name of the inner one.
    inner = r"(?:\s+-q)?\s+([a-z][\w-]*)(.*)"
    while first in groups() and (found := re.match(inner, own, re.DOTALL)):
        first, own = f"{first} {found[1]}", found[2]
    return first, own


def test_guide_tells_every_event_and_state():
    page = (ROOT / "docs" / "fleet-operations.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "src/atoll/fleet").rglob("*.py"))
    kinds = set(re.findall(r'\bEvent\([^"]*?, "([A-Z_]+)"', source))
    assert {"NO_QUORUM", "PRIMARY_REPLACED"} <= kinds
    kinds |= {f"CLUSTER_{one}" for one in ClusterState} | {f"FLEET_{one}" for one in FleetState}
    kinds |= {f"INSTANCE_{one}" for one in InstanceState} - {"INSTANCE_AWAITING_FULFILLMENT"}
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []


def test_guide_tells_every_state_of_the_mesh():
    page = (ROOT / "docs" / "mesh-access.md").read_text()
    told = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", page))
    stated = {name: words for name, words in mesh_reference.words().items() if "Status" in name}
    assert {"SubscriptionStatus", "AssetGrantStatus"} <= set(stated)
    missing = {word for words in stated.values() for word in words} - told
    assert missing == NEVER_REACHED
    others = mesh_reference.words()
    for name in ("Designation", "PolicyType", "Classification", "RuleType", "RuleAction"):
        assert set(others[name]) <= told, name


def test_policies_in_pages_are_accepted():
    found = [
        body
        for page in PAGES
        for body in re.findall(r"^```cedar\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert found
    for body in found:
        Authorizer(actions(), body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_pages_name_are_there(page):
    for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", page.read_text()):
        assert f"def {name}(" in (ROOT / "tests" / path).read_text(), f"{path}::{name}"


def test_every_row_of_the_post_has_a_test():
    rows = re.findall(
        r"^\| (\d+) \|.*::test_", (ROOT / "docs" / "aws.md").read_text(), re.MULTILINE
    )
    assert [int(row) for row in rows] == list(range(15, 30))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path) if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page):
    """The anchors of headings, as GitHub names them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_and_toml_in_pages_can_be_read(page, tmp_path):
    for kind, body in re.findall(
        r"^```(python|toml)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        if kind == "python":
            ast.parse(body)
            continue
        file = tmp_path / "config.toml"
        file.write_text(body)
        found = settings.read_settings({settings.CONFIG_VARIABLE: str(file)}, tmp_path)
        told = tomllib.loads(body)
        assert set(told["storage"]) == set(settings.STORAGE)
        assert set(told["aws"]) == set(settings.AWS)
        assert set(told["mail"]) == set(settings.MAIL)
        assert set(told) == {*settings.GENERAL, "storage", "aws", "mail"}
        assert found.storage.endpoint == told["storage"]["endpoint"]
