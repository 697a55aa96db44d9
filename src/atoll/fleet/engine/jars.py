"""Finds ZooKeeper among the jars of the pyspark wheel, and which Scala they were built for."""

from __future__ import annotations

from pathlib import Path

from atoll.core.errors import Unavailable

# What a ZooKeeper server loads of Spark's 280 jars.
_ZOOKEEPER = (
    "zookeeper-",
    "slf4j-api-",
    "log4j-api-",
    "log4j-core-",
    "log4j-slf4j2-impl-",
    "metrics-core-",
    "snappy-java-",
    "netty-",
    "commons-io-",
    "commons-cli-",
)


def zookeeper_classpath(home: Path) -> str:
    """List the jars of a ZooKeeper server, for `java -cp`.

    Raises:
        Unavailable: this pyspark holds no ZooKeeper.
    """
    jars = sorted(jar for jar in (home / "jars").glob("*.jar") if jar.name.startswith(_ZOOKEEPER))
    if not any(jar.name.startswith("zookeeper-") for jar in jars):
        raise _incomplete(home, "ZooKeeper")
    return ":".join(map(str, jars))


def scala_version(home: Path) -> str:
    """Read the Scala version, such as 2.13, off the name of Spark's core.

    Raises:
        Unavailable: Spark's core is not there.
    """
    for jar in (home / "jars").glob("spark-core_*.jar"):
        return jar.name.removeprefix("spark-core_").partition("-")[0]
    raise _incomplete(home, "Spark core")


def _incomplete(home: Path, what: str) -> Unavailable:
    return Unavailable(
        f"{home}/jars holds no {what}; install pyspark whole: pip install --force-reinstall "
        "'atoll[fleet]'",
        folder=str(home / "jars"),
    )
