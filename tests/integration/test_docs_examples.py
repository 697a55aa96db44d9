"""Every example of README, quickstart and guides runs and prints what the page shows.

A page's `console` and `python` blocks run in order in one folder, as a reader would type them into
one terminal; blocks that name a file after their language are what that file holds. Where a page
shows output, it must come: a line `...` stands for any lines, `...` within a line for any text, and
numbers with a point may be off by 0.1 (processors differ in last digits, so training ends a little
elsewhere and recall with it). A command that fails must be followed by `echo $?` with its exit
code.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import pytest
from aws_servers import deploy
from fleetspecs import TEMPLATE
from s3_servers import _free_ports

from atoll.deploy.render import SearchStack, render
from atoll.fleet.host.garbage import remove

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(console|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@step@@"
# The `atoll` of the pages. `bench-here` measures little: half a minute of a processor otherwise.
PROGRAM = """#!{python}
import sys
if sys.argv[1:2] == ["bench-here"]:
    from atoll.vectors import benchhere
    benchhere.REPEATS, benchhere.VALUES, benchhere.PARTITIONS = 1, 1 << 16, (16, 64)
    benchhere.TRAIN_ROWS, benchhere.TRAIN_PARTITIONS, benchhere.STORE_BYTES = 512, 32, 1 << 16
from atoll.app.main import main
if __name__ == "__main__":
    main()
"""
TOLERANCE = 0.1
TIMEOUT_S = 600

pytestmark = pytest.mark.slow


@dataclass
class Step:
    command: str
    shown: list[str]
    printed: list[str]
    exit_code: int = 0


def steps_of(text, folder):
    """Read the commands of a page; a python block becomes a script that is run."""
    steps = []
    before = ""
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            script = folder / f"example{len(steps)}.py"
            script.write_text(body)
            steps.append(Step(f"python {script.name}", [], []))
        elif kind == "text" and before == "python":
            steps[-1].shown = body.splitlines()
        elif kind == "console":
            steps += _console_steps(body)
        before = kind
    return steps


def _console_steps(body):
    steps, goes_on = [], False
    for line in body.splitlines():
        if goes_on:
            steps[-1].command += "\n" + line
        elif line.startswith("$ "):
            steps.append(Step(line[2:], [], []))
        else:
            steps[-1].shown.append(line)
            continue
        goes_on = line.endswith("\\")
    return steps


def run_page(page, folder, **environment):
    """Run a page's examples in a folder; each step gets what it printed and its exit code."""
    steps = steps_of((ROOT / page).read_text(), folder)
    script = folder / ".page.sh"
    # The braces keep variables and folders from one step to the next; `(exit ...)` sets $?.
    script.write_text(
        "".join(
            f"{{ {step.command}\n}}; code=$?; echo '{MARK}' $code; (exit $code)\n" for step in steps
        )
    )
    printed = _run_in_terminal(["bash", script.name], folder, environment)
    parts = re.split(rf"{MARK} (\d+)\n", printed)
    assert len(parts) == 2 * len(steps) + 1, printed
    for step, output, code in zip(steps, parts[::2], parts[1::2], strict=False):
        step.printed, step.exit_code = output.splitlines(), int(code)
    return steps


def _run_in_terminal(command, folder, more):
    """Run with a terminal as output, so that tables are printed as people see them."""
    programs = Path(sys.executable).parent
    environment = {
        "PATH": f"{folder / '.bin'}:{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT / "src"),
        "TERM": "dumb",
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
    } | more
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 160))
    try:
        with subprocess.Popen(
            ["timeout", str(TIMEOUT_S), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            os.close(terminal)
            # colorama, where it is installed, resets colours when a process ends: nobody sees that.
            text = _read_until_closed(main).decode().replace("\x1b[0m", "")
        assert process.returncode != 124, "the page took too long"
    finally:
        os.close(main)
    # A terminal ends lines with \r\n; progress bars, which nobody documents, redraw one line by \r.
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return "\n".join(line for line in lines if "\r" not in line)


def _read_until_closed(descriptor):
    data = b""
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # what Linux says when the last writer has gone
            return data
        if not piece:
            return data
        data += piece


def shows(shown, printed):
    """Whether output is what a page shows."""
    if not shown:
        return not printed
    if shown[0].strip() == "...":
        return any(shows(shown[1:], printed[at:]) for at in range(len(printed) + 1))
    return bool(printed) and _same_line(shown[0], printed[0]) and shows(shown[1:], printed[1:])


def _same_line(shown, printed):
    pattern = ".*".join(
        "".join(_number_pattern(piece) for piece in re.split(r"(\d+\.\d+)", part))
        for part in shown.rstrip().split("...")
    )
    match = re.fullmatch(pattern, printed.rstrip())
    wanted = [float(text) for part in shown.split("...") for text in re.findall(r"\d+\.\d+", part)]
    return match is not None and all(
        abs(float(text) - value) <= TOLERANCE
        for text, value in zip(match.groups(), wanted, strict=True)
    )


def _number_pattern(piece):
    if re.fullmatch(r"\d+\.\d+", piece):
        return r"([\d.e-]+)"
    # A number of other length moves the columns of a table.
    return re.sub(r"(\\ ){2,}", " +", re.escape(piece))


def check(steps):
    """Compare every step with its page."""
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        assert not step.shown or shows(step.shown, step.printed), (
            f"$ {step.command}\nthe page shows:\n"
            + "\n".join(step.shown)
            + "\nit printed:\n"
            + "\n".join(step.printed)
        )
        told = following is not None and following.command == "echo $?"
        assert step.exit_code == 0 or told, (
            f"$ {step.command}\nexit code {step.exit_code}, printed:\n" + "\n".join(step.printed)
        )


def start_folder(folder):
    """Give a folder what the pages start from: the two FASTA files that the demo copies."""
    for name in ("proteins.fasta.gz", "queries.fasta.gz"):
        shutil.copyfile(ROOT / "src" / "atoll" / "app" / "data" / name, folder / name)
    (folder / ".bin").mkdir()
    program = folder / ".bin" / "atoll"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The quickstart, run once: its steps and the folder it leaves."""
    folder = start_folder(tmp_path_factory.mktemp("quickstart"))
    return run_page("docs/quickstart.md", folder), folder


def test_quickstart_prints_what_it_shows(quickstart):
    check(quickstart[0])


def test_readme_prints_what_it_shows(tmp_path):
    check(run_page("README.md", start_folder(tmp_path)))


@pytest.mark.parametrize(
    "page", ["docs/batch.md", "docs/collections.md", "docs/search.md", "docs/recall.md"]
)
def test_guides_go_on_from_the_quickstart(page, quickstart, tmp_path):
    shutil.copytree(quickstart[1], tmp_path, dirs_exist_ok=True)
    check(run_page(page, tmp_path))


def test_guide_to_costs_prints_what_it_shows(tmp_path):
    check(run_page("docs/costs.md", tmp_path))


@pytest.mark.ceph
def test_guide_to_aws_prints_what_it_shows(ceph, ministack, tmp_path):
    ceph.client().create_bucket(Bucket="my-data")
    keys = {
        "AWS_ACCESS_KEY_ID": ceph.access_key_id,
        "AWS_SECRET_ACCESS_KEY": ceph.secret_access_key,
    }
    stack = deploy(
        ministack,
        render(SearchStack("s3://my-data/proteins", image="registry.example/atoll:1")),
        handler="atoll.app.awslambda.handler",
        environment=keys | {"HOME": str(tmp_path), "ATOLL_DISK_CACHE": str(tmp_path / "functions")},
        parameters={"S3Endpoint": ceph.endpoint, "S3AllowHttp": "true", "MaxConcurrency": 2},
    )
    # The emulator has its own S3; runs lie where the collection does.
    ceph.client().create_bucket(Bucket=stack.outputs["Results"].split("/")[2])
    here = {
        "ATOLL_ENDPOINT": ceph.endpoint,
        "ATOLL_ALLOW_HTTP": "1",
        "ATOLL_AWS_ENDPOINT": ministack.endpoint,
        "ATOLL_STACK": stack.name,
    }
    check(run_page("docs/aws.md", start_folder(tmp_path), **keys, **here))


def test_guide_to_fleets_prints_what_it_shows(tmp_path):
    folder, port = start_folder(tmp_path), str(*_free_ports(1))
    page = folder / "fleet.md"
    page.write_text((ROOT / "docs" / "fleet.md").read_text().replace("8998", port))
    for name, body in FILE.findall(page.read_text()):
        (folder / name).write_text(body)
    shutil.copyfile(TEMPLATE, folder / "cfn-template.json")
    home = folder / ".local" / "share" / "atoll" / "fleet"
    # Archives of Java's classes fit this machine, whoever made them.
    cache = Path.home() / ".cache" / "atoll" / "fleet"
    # By a process that ends: whoever starts a host and lives on is warned of a child left behind.
    code = "from atoll.fleet.host.home import *; start(Path({!r}), '--port', {!r}, *{!r})"
    started = [sys.executable, "-c", code.format(str(home), port, ["--provider", "loopback"])]
    subprocess.run(started, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    try:
        check(run_page(page, folder, ATOLL_FLEET_CACHE=str(cache), AWS_PAGER=""))
    finally:
        remove(home, everything=True)


def test_guide_to_the_mesh_prints_what_it_shows(tmp_path):
    folder = start_folder(tmp_path)
    page = folder / "mesh.md"
    text = (ROOT / "docs" / "mesh.md").read_text()
    page.write_text(text.replace("8480", str(*_free_ports(1))))
    for name, body in FILE.findall(text):
        (folder / name).write_text(body)
    check(run_page(page, folder))


def test_a_page_that_lies_would_be_found():
    assert shows(["a  0.501", "...", "z ..."], ["a 0.55", "b", "c", "z 3"])
    assert not shows(["a  0.50"], ["a  0.61"])
    assert not shows(["a"], ["a", "b"])
    assert not shows(["rows 10"], ["rows 11"])
