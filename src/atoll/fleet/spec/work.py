"""What a cluster shall run, as EMR writes it: steps, bootstrap actions, configurations."""

from __future__ import annotations

from atoll.fleet.model import ActionOnFailure, BootstrapAction, StepSpec
from atoll.fleet.spec.fleets import NAME_LENGTH
from atoll.fleet.spec.reader import Section

COMMAND_RUNNER = "command-runner.jar"
PROVIDED = ("spark", "zookeeper")
# EMR's older word for the first of them.
_ACTIONS = {"TERMINATE_JOB_FLOW": ActionOnFailure.TERMINATE_CLUSTER}


def read_steps(section: Section, properties: str) -> tuple[StepSpec, ...]:
    """Read Steps; `properties` is what the properties of a jar are called."""
    return tuple(_read_step(one, properties) for one in section.sections("Steps"))


def _read_step(section: Section, properties: str) -> StepSpec:
    section.refuse("StepMonitoringConfiguration", "a step's logs go to the cluster's LogUri")
    jar = section.inner("HadoopJarStep")
    jar.refuse(properties, "they are Java's; give Spark's with --conf")
    jar.refuse("MainClass", f"{COMMAND_RUNNER} has none; run spark-submit --class")
    if jar.needed("Jar") not in ("", COMMAND_RUNNER):
        jar.problem("Jar", f'not supported by Atoll: run "{COMMAND_RUNNER}" with spark-submit')
    return StepSpec(
        name=section.needed("Name", longest=NAME_LENGTH),
        args=jar.texts("Args"),
        action_on_failure=_read_action(section),
    )


def _read_action(section: Section) -> ActionOnFailure:
    old = _ACTIONS.get(str(section.raw("ActionOnFailure")))
    return old or section.choice("ActionOnFailure", ActionOnFailure.CONTINUE)


def read_bootstrap_actions(section: Section) -> tuple[BootstrapAction, ...]:
    """Read BootstrapActions."""
    return tuple(map(_read_bootstrap_action, section.sections("BootstrapActions")))


def _read_bootstrap_action(section: Section) -> BootstrapAction:
    script = section.inner("ScriptBootstrapAction")
    return BootstrapAction(
        name=section.needed("Name", longest=NAME_LENGTH),
        path=script.needed("Path"),
        args=script.texts("Args"),
    )


def read_configurations(section: Section, properties: str) -> dict[str, str]:
    """Read Configurations: those of Spark, as property to value; any other is a notice.

    Args:
        section: what has them.
        properties: what EMR calls the properties of a classification there.
    """
    found: dict[str, str] = {}
    for one in section.sections("Configurations"):
        name = one.needed("Classification")
        values = one.inner(properties)
        settings = {key: values.text(key) for key in values.names()}
        if name == "spark-defaults":
            one.refuse("Configurations", "spark-defaults has no inner ones")
            found |= settings
        else:
            one.accept("Configurations", "Atoll has no such software")
            one.notice("Classification", f"Atoll configures spark-defaults only, not {name!r}")
    return found


def read_applications(section: Section) -> tuple[str, ...]:
    """Read Applications; those that Atoll does not provide are notices."""
    found = []
    for one in section.sections("Applications"):
        one.accept("Version", "the release decides it")
        one.accept("Args", "Atoll hands an application no arguments")
        one.accept("AdditionalInfo", "it is for EMR's partners")
        name = one.needed("Name", longest=NAME_LENGTH)
        if name and name.lower() not in PROVIDED:
            one.notice("Name", f"Atoll does not provide {name}; it runs Spark with ZooKeeper")
        found.append(name)
    return tuple(found) or ("Spark",)
