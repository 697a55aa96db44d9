"""`atoll fleet demo`, as its user sees it."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_the_demo_loses_its_active_primary_and_its_collection_is_whole(tmp_path):
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "atoll", "fleet", "demo", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    _, killed, rest = done.stdout.partition("3. kill the active primary")
    assert killed
    assert re.findall(r"NodesRunning = (\d)", rest) == ["2", "3"]
    assert "120,000 rows read, no fault" in rest
    assert sorted(path.name for path in out.iterdir()) == ["collection", "vectors.npy"]
