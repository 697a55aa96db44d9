"""The input of EMR's RunJobFlow and the properties of AWS::EMR::Cluster, read into a `ClusterSpec`.

One parser for both: a `Dialect` has the few differences. Every property that EMR has is read, or
refused where ignoring it would change what the user gets, or taken with a notice; any other is
unknown. Reading order: read_cluster, then the properties as EMR's reference lists them.

Source: Amazon EMR API reference 2009-03-31, RunJobFlow; CloudFormation, AWS::EMR::Cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.fleet.model import ClusterSpec, FleetSpec, HealthPolicy, Role
from atoll.fleet.spec.fleets import NAME_LENGTH, read_fleet
from atoll.fleet.spec.notices import settled, spec_notices
from atoll.fleet.spec.reader import Notice, Reader, Section
from atoll.fleet.spec.releases import LATEST, Release, parse_release
from atoll.fleet.spec.validate import problems_of
from atoll.fleet.spec.where import EMR_NAMES, Where, finish
from atoll.fleet.spec.work import (
    read_applications,
    read_bootstrap_actions,
    read_configurations,
    read_steps,
)


@dataclass(frozen=True)
class Dialect:
    """How a form of EMR's cluster differs from the other.

    Attributes:
        properties: name of a configuration's properties.
        jar_properties: the same of a step's jar.
        lists_fleets: Instances.InstanceFleets; else one property for each role.
        keeps_alive: whether a cluster stays when no step is left and nothing is said.
    """

    properties: str
    jar_properties: str
    lists_fleets: bool
    keeps_alive: bool


API = Dialect("Properties", "Properties", lists_fleets=True, keeps_alive=False)
CLOUDFORMATION = Dialect(
    "ConfigurationProperties", "StepProperties", lists_fleets=False, keeps_alive=True
)


@dataclass(frozen=True)
class Wanted:
    """A cluster that somebody asked for.

    Attributes:
        spec: the cluster, checked.
        notices: what of the request is taken but not done as EMR would.
    """

    spec: ClusterSpec
    notices: tuple[Notice, ...]


def parse_run_job_flow(request: Mapping[str, object]) -> Wanted:
    """Read the input of RunJobFlow, as botocore parses it.

    Raises:
        InvalidInput: all that is wrong, each with its path.
    """
    reader = Reader()
    spec, where = read_cluster(reader.section(request, ""), reader, API)
    return checked(spec, where, reader)


def checked(spec: ClusterSpec, where: Where, reader: Reader) -> Wanted:
    """Check what was read, and settle what follows from it.

    Raises:
        InvalidInput: all that is wrong, in reading or by EMR's rules.
    """
    finish(reader, where, problems_of(spec))
    notices = (*reader.notices, *map(where.noted, spec_notices(spec)))
    return Wanted(settled(spec), notices)


def read_cluster(section: Section, reader: Reader, dialect: Dialect) -> tuple[ClusterSpec, Where]:
    """Read a cluster; what is wrong goes to the reader."""
    where = Where(section.path, EMR_NAMES)
    _refuse_what_atoll_has_not(section)
    _accept_what_does_nothing(section)
    release = read_release(section, "ReleaseLabel")
    instances = section.inner("Instances")
    _refuse_groups(instances)
    role_of_service = section.optional("ServiceRole")
    section.accept("ServiceRole", "Atoll acts with the credentials it was started with")
    spec = ClusterSpec(
        name=section.needed("Name", longest=NAME_LENGTH),
        release_label=release.label,
        fleets=_read_fleets(instances, release, where, dialect),
        subnet_ids=_read_subnets(instances, where),
        applications=read_applications(section),
        spread_primaries=_read_placement(section),
        termination_protected=instances.flag("TerminationProtected", False),
        keeps_alive=instances.flag("KeepJobFlowAliveWhenNoSteps", dialect.keeps_alive),
        idle_timeout_s=section.inner("AutoTerminationPolicy").maybe_whole("IdleTimeout"),
        step_concurrency=section.whole("StepConcurrencyLevel", 1),
        bootstrap_actions=read_bootstrap_actions(section),
        steps=read_steps(section, dialect.jar_properties),
        spark_properties=read_configurations(section, dialect.properties),
        health=HealthPolicy(replaces_unhealthy=instances.flag("UnhealthyNodeReplacement", True)),
        tags=_read_tags(section),
        log_uri=section.optional("LogUri"),
        service_role=role_of_service,
        job_flow_role=section.optional("JobFlowRole"),
        key_name=instances.optional("Ec2KeyName", longest=NAME_LENGTH),
        custom_ami=section.optional("CustomAmiId", longest=NAME_LENGTH),
        root_volume_gib=section.maybe_whole("EbsRootVolumeSize"),
        primary_security_group=instances.optional("EmrManagedMasterSecurityGroup"),
        worker_security_group=instances.optional("EmrManagedSlaveSecurityGroup"),
        service_security_group=instances.optional("ServiceAccessSecurityGroup"),
        additional_primary_groups=instances.texts("AdditionalMasterSecurityGroups"),
        additional_worker_groups=instances.texts("AdditionalSlaveSecurityGroups"),
    )
    return spec, where


def _refuse_what_atoll_has_not(section: Section) -> None:
    refuse = section.refuse
    refuse("LogEncryptionKmsKeyId", "logs are not encrypted with a key; leave it out")
    refuse("AmiVersion", "releases before 4.0 have no instance fleets; give ReleaseLabel")
    refuse("StepExecutionRoleArn", "steps run with the instance's own rights")
    refuse("SupportedProducts", "they are of releases before 4.0; use BootstrapActions")
    refuse("NewSupportedProducts", "they are of releases before 4.0; use BootstrapActions")
    refuse("SecurityConfiguration", "Atoll does not encrypt disks or traffic by it")
    refuse("AutoScalingRole", "scale with ModifyInstanceFleet")
    refuse("ManagedScalingPolicy", "scale with ModifyInstanceFleet")
    refuse("KerberosAttributes", "Spark runs without Kerberos")
    refuse("EbsRootVolumeIops", "a volume has what its type gives")
    refuse("EbsRootVolumeThroughput", "a volume has what its type gives")
    refuse("MonitoringConfiguration", "logs go to LogUri")
    if section.text("RepoUpgradeOnBoot") not in ("", "NONE"):
        section.problem(
            "RepoUpgradeOnBoot", "not supported by Atoll: upgrade in a bootstrap action"
        )
    if section.text("ScaleDownBehavior") not in ("", "TERMINATE_AT_TASK_COMPLETION"):
        section.problem("ScaleDownBehavior", "not supported by Atoll: instances are drained first")
    if section.flag("SessionEnabled", False):
        section.problem("SessionEnabled", "not supported by Atoll: there are no sessions")


def _accept_what_does_nothing(section: Section) -> None:
    accept = section.accept
    accept("AdditionalInfo", "it is for EMR's own use; it does nothing here")
    accept("VisibleToAllUsers", "Atoll has no users of a cluster; its keys open all of them")
    accept("OSReleaseLabel", "instances run the system they are given")
    accept("ExtendedSupport", "it is a contract with AWS; it does nothing here")


def _refuse_groups(instances: Section) -> None:
    why = "describe the instances as instance fleets"
    for name in ("MasterInstanceType", "SlaveInstanceType", "InstanceCount", "InstanceGroups"):
        instances.refuse(name, why)
    for name in ("MasterInstanceGroup", "CoreInstanceGroup", "TaskInstanceGroups"):
        instances.refuse(name, why)
    instances.refuse("Placement", "name subnets of the zone in Ec2SubnetIds")
    instances.refuse("HadoopVersion", "there is no Hadoop")


def read_release(section: Section, name: str) -> Release:
    """Read a release label, the latest where there is none."""
    try:
        return parse_release(section.text(name, longest=NAME_LENGTH))
    except InvalidInput as error:
        section.problem(name, error.message)
        return LATEST


def _read_fleets(
    instances: Section, release: Release, where: Where, dialect: Dialect
) -> tuple[FleetSpec, ...]:
    found: list[tuple[Role, Section]] = []
    if dialect.lists_fleets:
        for one in instances.sections("InstanceFleets"):
            one.needed("InstanceFleetType")
            found.append((one.choice("InstanceFleetType", Role.TASK), one))
    else:
        for name, role in (("MasterInstanceFleet", Role.MASTER), ("CoreInstanceFleet", Role.CORE)):
            if name in instances:
                found.append((role, instances.inner(name)))
        found += [(Role.TASK, one) for one in instances.sections("TaskInstanceFleets")]
    found.sort(key=lambda one: list(Role).index(one[0]))
    where.put(("fleets",), instances.path)
    return tuple(read_fleets(found, release, where))


def read_fleets(
    found: list[tuple[Role, Section]],
    release: Release,
    where: Where,
    *,
    first: int = 0,
    tasks: int = 0,
) -> list[FleetSpec]:
    """Read fleets, and note where each stands.

    Args:
        found: what each is for, and its section.
        release: the cluster's.
        where: takes the paths.
        first: the place of the first in the cluster.
        tasks: how many task fleets the cluster has already.
    """
    fleets: list[FleetSpec] = []
    for place, (role, section) in enumerate(found, first):
        where.put(("fleets", place), section.path)
        before = tasks if role is Role.TASK else 0
        fleets.append(read_fleet(section, role, release, place=before))
        tasks += role is Role.TASK
    return fleets


def _read_subnets(instances: Section, where: Where) -> tuple[str, ...]:
    single = instances.optional("Ec2SubnetId", longest=NAME_LENGTH)
    several = instances.texts("Ec2SubnetIds", longest=NAME_LENGTH)
    if single and several:
        instances.problem("Ec2SubnetId", "cannot be specified together with Ec2SubnetIds")
    where.put(("subnet_ids",), instances.path_of("Ec2SubnetId" if single else "Ec2SubnetIds"))
    return (single,) if single else several


def _read_placement(section: Section) -> bool:
    """Read PlacementGroupConfigs: whether primaries are spread."""
    spread = False
    for one in section.sections("PlacementGroupConfigs"):
        # Source: EMR API reference: "Currently we only support the MASTER role"; its strategy is
        # SPREAD unless told otherwise.
        if one.choice("InstanceRole", Role.MASTER) is not Role.MASTER:
            one.problem("InstanceRole", "EMR places MASTER instances only")
        strategy = one.text("PlacementStrategy", "SPREAD").upper()
        if strategy not in ("SPREAD", "NONE"):
            one.problem("PlacementStrategy", "primaries are placed by SPREAD, or NONE")
        spread = spread or strategy == "SPREAD"
    return spread


def _read_tags(section: Section) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in section.sections("Tags"):
        key = one.needed("Key")
        if key in found:
            one.problem("Key", f"the tag {key!r} is there twice; keep one")
        found[key] = one.text("Value")
    return found
