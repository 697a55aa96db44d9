"""What the image does besides holding files: kernels compiled when it is built, its entry point.

No image is built here; what its Dockerfile says is carried out.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aws_servers import PYTHONPATH, ROOT
from fake_steps import calls
from runtime_api import run_bootstrap

AWS = ROOT / "src" / "atoll" / "deploy" / "aws"
DOCKERFILE = (AWS / "Dockerfile").read_text()
CPU = dict(re.findall(r"(NUMBA_CPU_\w+)=(\S+)", DOCKERFILE))
# Does as on a machine of another kind; prints which functions numba compiled meanwhile.
ELSEWHERE = """
import sys
from pathlib import Path
import llvmlite.binding as llvm
llvm.get_host_cpu_name = lambda: "sapphirerapids"
llvm.get_host_cpu_features = lambda: llvm.FeatureMap({"avx2": True, "avx512f": True})
from numba.core import event

class Listener(event.Listener):
    def on_start(self, found):
        print(found.data["dispatcher"].py_func.__qualname__)

    def on_end(self, found):
        pass

event.register("numba:compile", Listener())
"""
SEARCH = """
from atoll.deploy.kernels import compile_kernels
compile_kernels(Path(sys.argv[1]))
"""
ONE_KERNEL = """
import numpy as np
from atoll.vectors.pairs import fold
fold(np.zeros(8))
"""


def environment(**changes):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PYTHONPATH": PYTHONPATH, "PATH": path} | changes


def run(*words, **changes):
    done = subprocess.run(words, env=environment(**changes), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The folder that the image's build leaves, made read-only."""
    folder = tmp_path_factory.mktemp("kernels") / "kernels"
    assert "python -m atoll.deploy.kernels" in DOCKERFILE
    run("python", "-m", "atoll.deploy.kernels", NUMBA_CACHE_DIR=str(folder), **CPU)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.nightly
def test_kernels_of_the_image_are_taken_by_another_machine_from_a_read_only_folder(
    kernels, tmp_path
):
    before, scratch = files_of(kernels), tmp_path / "scratch"
    scratch.mkdir()
    words = ("sh", AWS / "entrypoint.sh", "python", "-c", ELSEWHERE + SEARCH, scratch)
    places = {"ATOLL_KERNELS": str(kernels), "NUMBA_CACHE_DIR": str(tmp_path / "there" / "kernels")}
    assert run(*words, **places, **CPU) == []
    assert files_of(kernels) == before


@pytest.mark.nightly
def test_kernels_would_be_compiled_again_elsewhere_if_no_cpu_were_named(kernels, tmp_path):
    words = ("sh", AWS / "entrypoint.sh", "python", "-c", ELSEWHERE + ONE_KERNEL)
    places = {"ATOLL_KERNELS": str(kernels), "NUMBA_CACHE_DIR": str(tmp_path / "there")}
    assert run(*words, **places, **CPU) == []
    assert run(*words, **places) == ["fold"]


@pytest.fixture
def no_kernels(tmp_path):
    (tmp_path / "none").mkdir()
    return {
        "ATOLL_KERNELS": str(tmp_path / "none"),
        "NUMBA_CACHE_DIR": str(tmp_path / "there" / "kernels"),
    }


def test_entry_point_runs_a_handler_where_lambda_calls_it(tmp_path, no_kernels):
    (tmp_path / "calls").mkdir()
    (tmp_path / "scenario.json").write_text('{"buckets": 2}')
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(f"#!/bin/sh\nexec {AWS / 'entrypoint.sh'} fake_steps.handler\n")
    bootstrap.chmod(0o755)
    event = json.dumps({"step": "plan", "run": str(tmp_path)})
    is_error, answer = run_bootstrap(tmp_path, environment(**no_kernels), event, 60)
    assert (is_error, json.loads(answer)["buckets"]) == (False, [0, 1])
    assert calls(tmp_path)[0]["place"] == "plan"


def test_entry_point_runs_a_command_elsewhere(no_kernels):
    assert run(AWS / "entrypoint.sh", "echo", "atoll", "step", **no_kernels) == ["atoll", "step"]


def test_files_that_the_image_takes_are_there():
    for sources in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    assert os.access(AWS / "entrypoint.sh", os.X_OK)
