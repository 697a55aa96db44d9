import subprocess
import sys

import pytest

import atoll


def test_every_public_name_is_there():
    assert all(getattr(atoll, name) for name in atoll.__all__)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'lance'"):
        atoll.lance  # noqa: B018 - the access is what is tested


def test_importing_atoll_does_not_pay_for_lance():
    code = "import sys, atoll; print('lance' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
