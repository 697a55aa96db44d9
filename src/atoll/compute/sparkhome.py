"""Finds Spark: jars of the pyspark wheel; says how a JVM of ours loads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from atoll.core.errors import Unavailable

# What Spark's own launcher gives, without the incubating vector module, which we do not use.
_OPENED = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
)
OPENING = tuple(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED)


def spark_home() -> Path:
    """Find the folder that Spark calls SPARK_HOME, without importing pyspark.

    Raises:
        Unavailable: pyspark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise Unavailable("Spark's Python package is not installed; install atoll[fleet]")
    return Path(spec.origin).parent


def spark_classpath(home: Path) -> str:
    """List Spark's jars, for `java -cp`, as Spark's own launcher does."""
    first = ":".join(map(str, (home / "jars").glob("slf4j-api-*.jar")))
    return f"{home}/conf:{first}:{home}/jars/*"
