"""Finds a Java that Spark runs on."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.core.errors import Unavailable

OLDEST_VERSION = 17
_INSTALL = "install Java 17 (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
_DEBIAN = Path("/usr/lib/jvm")
_ANSWER_SECONDS = 20


@dataclass(frozen=True)
class Java:
    """A Java that is new enough.

    Attributes:
        program: the `java` launcher.
        version: its feature version, such as 17.
        build: its full version, such as "17.0.15+6-Debian-1deb12u1".
    """

    program: Path
    version: int
    build: str

    @property
    def home(self) -> Path:
        """What others call JAVA_HOME."""
        return self.program.parent.parent


def find_java(env: Mapping[str, str], *, debian: Path = _DEBIAN) -> Java:
    """Find Java 17 or newer: JAVA_HOME, then PATH, then where Debian installs it.

    Args:
        env: the environment to look in (JAVA_HOME, PATH).
        debian: the folder of installed Javas, used when the other two name none new enough.

    Raises:
        Unavailable: there is none, or only older ones, which `found` lists. Where JAVA_HOME is
            set, it alone counts: a user who chose must not get another in silence.
    """
    older = []
    for program in _candidates(env, debian):
        settings = _settings(program)
        version = feature_version(settings)
        if version is not None and version >= OLDEST_VERSION:
            return Java(program.resolve(), version, build=_setting("java.vm.version", settings))
        older.append(f"{program} ({'does not run' if version is None else f'version {version}'})")
    told = ", ".join(older) or "there is no java in PATH"
    raise Unavailable(
        f"Spark needs Java {OLDEST_VERSION} or newer: {told}; {_INSTALL}", found=older
    )


def _candidates(env: Mapping[str, str], debian: Path) -> Sequence[Path]:
    if home := env.get("JAVA_HOME"):
        return [Path(home) / "bin/java"]
    in_path = shutil.which("java", path=env.get("PATH", ""))
    installed = sorted(debian.glob("java-*-openjdk-*/bin/java"))
    return [*([Path(in_path)] if in_path else []), *installed]


def _settings(program: Path) -> str:
    """Ask a java for its properties; it says nothing where it does not run."""
    try:
        return subprocess.run(
            [program, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return ""


def feature_version(settings: str) -> int | None:
    """Read the version out of `java -XshowSettings:properties -version`.

    >>> feature_version("    java.specification.version = 17")
    17
    >>> feature_version("    java.specification.version = 1.8")
    8
    """
    version = _setting("java.specification.version", settings).removeprefix("1.")
    return int(version) if version.isdecimal() else None


def _setting(name: str, settings: str) -> str:
    found = re.search(rf"^ *{re.escape(name)} = (\S+)$", settings, re.MULTILINE)
    return found[1] if found else ""
