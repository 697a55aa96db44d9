"""Turns a step's arguments into the command that a primary runs.

EMR's command-runner.jar runs what its arguments say; so does this, with this instance's Python
and Spark.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from atoll.compute.sparkhome import spark_home


def command_of(
    args: Sequence[str], master_url: str, properties: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what to execute.

    Args:
        args: "spark-submit ...", "atoll ...", "python3 ...", a file that ends in ".py", or any
            other program.
        master_url: Spark's; spark-submit is told.
        properties: Spark's, of the cluster; what the step itself says counts more.
    """
    program, rest = args[0], tuple(args[1:])
    match program:
        case "spark-submit":
            return _spark_submit(rest, master_url, properties)
        case "atoll":
            return (sys.executable, "-m", "atoll", *rest)
        case "python" | "python3":
            return (sys.executable, *rest)
        case _ if program.endswith(".py"):
            return (sys.executable, *args)
        case _:
            return tuple(args)


def _spark_submit(
    rest: tuple[str, ...], master_url: str, properties: Mapping[str, str]
) -> tuple[str, ...]:
    # Spark standalone cannot run Python drivers in cluster mode; the step runner is what that
    # mode is for: the driver runs on a primary, and again on another where that is lost.
    kept = _without(_without(rest, "--deploy-mode"), "--master")
    program = str(spark_home() / "bin" / "spark-submit")
    # Of two --conf for one property the later counts.
    common = [word for key, value in properties.items() for word in ("--conf", f"{key}={value}")]
    return (program, "--master", master_url, *common, *kept)


def _without(args: tuple[str, ...], option: str) -> tuple[str, ...]:
    """Drop an option and its value, where it stands before the application file."""
    for at, arg in enumerate(args):
        if arg == option:
            return args[:at] + args[at + 2 :]
        if arg.startswith(f"{option}="):
            return args[:at] + args[at + 1 :]
        if Path(arg).suffix in (".py", ".jar"):
            break
    return args
