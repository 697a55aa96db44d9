"""A bare Debian 12 to run a start-up script in: debootstrap's, under an overlay that forgets.

The script runs as root in mount, process and host-name namespaces of its own. It shares this
machine's network, so registries are reached as they are from here: by the ordinary clients with
this machine's own configuration, which is copied in when it runs.
"""

import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
# What apt and pip of this machine read, and where files they name may lie.
CONFIGURATION = (
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/apt.conf.d",
    "/etc/pip.conf",
    "/etc/xdg/pip",
    "/etc/resolv.conf",
    "/root/.config/pip/pip.conf",
)

# Beside the root's own, which its package of certificates writes anew.
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt", "/etc/this-machine.crt"


def missing():
    """Say what this machine lacks to make and run a bare root; empty: nothing."""
    if os.geteuid() != 0:
        return "only root can run a bare Debian"
    programs = [one for one in ("debootstrap", "unshare", "chroot") if not shutil.which(one)]
    return f"{', '.join(programs)} not installed" if programs else ""


def bare_root(folder):
    """Return a bare root in `folder`; it is made once and kept there."""
    root = folder / SUITE
    if not root.exists():
        unfinished = folder / f"{SUITE}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", SUITE, str(unfinished)],
            check=True,
            capture_output=True,
        )
        unfinished.rename(root)
    return root


@contextmanager
def overlaid(root, folder, *shown):
    """Mount a root that forgets what is written; `shown` folders of this machine are in it."""
    upper, work, merged = (folder / name for name in ("upper", "work", "merged"))
    for one in (upper, work, merged):
        one.mkdir()
    layers = f"lowerdir={root},upperdir={upper},workdir={work}"
    _run("mount", "-t", "overlay", "overlay", "-o", layers, str(merged))
    mounted = [merged]
    try:
        _configure(merged)
        for one in [*shown, *_named_folders()]:
            place = merged / str(one).lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            _run("mount", "--bind", "-o", "ro", str(one), str(place))
            mounted.append(place)
        yield merged
    finally:
        for one in reversed(mounted):
            _run("umount", "--lazy", str(one))
        # Gigabytes; pytest keeps its folders.
        for one in (upper, work):
            shutil.rmtree(one)


def _configure(root):
    for name in CONFIGURATION:
        source, target = Path(name), root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            target.unlink(missing_ok=True)
            shutil.copy(source, target)
    shutil.copy(CERTIFICATES[0], root / CERTIFICATES[1].lstrip("/"))


def _named_folders():
    """Folders of this machine that pip's configuration names as places to find packages."""
    told = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False)
    names = re.findall(r"(?:file://)?(/[\w./-]+)", told.stdout)
    return {Path(*Path(name).parts[:3]) for name in names if Path(name).is_dir()}


@contextmanager
def running(root, script, environment, log):
    """Run a script in the root; all of it ends with the block."""
    (root / "start").write_text(script)
    passed = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    passed |= {"PIP_CERT": CERTIFICATES[1], "HOME": "/root"}
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | passed | environment
    isolated = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    inside = "mount -t proc proc /proc && mount -t tmpfs tmpfs /run && exec sh /start"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*isolated, "chroot", str(root), "sh", "-c", inside],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _run(*command):
    subprocess.run(command, check=True, capture_output=True)
