"""A CloudFormation template with one cluster: AWS::EMR::Cluster, and task fleets added to it.

Reading order: read_template, then the sections as they depend on each other. Functions are resolved
by `intrinsics`, properties read by `runjobflow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from atoll.fleet.model import ClusterSpec, Role
from atoll.fleet.spec.document import read_document
from atoll.fleet.spec.intrinsics import Attributes, Resolver
from atoll.fleet.spec.parameters import Parameter, read_parameters
from atoll.fleet.spec.reader import Notice, Reader, Section, shown
from atoll.fleet.spec.releases import parse_release
from atoll.fleet.spec.runjobflow import (
    CLOUDFORMATION,
    checked,
    read_cluster,
    read_fleets,
)

CLUSTER = "AWS::EMR::Cluster"
TASK_FLEET = "AWS::EMR::InstanceFleetConfig"
VERSION = "2010-09-09"


@dataclass(frozen=True)
class Stack:
    """What a template is launched as; its pseudo parameters.

    Attributes:
        name, id: of the stack.
        region, account_id: where; a local provider makes them up.
    """

    name: str = "atoll"
    id: str = "arn:aws:cloudformation:us-east-1:000000000000:stack/atoll"
    region: str = "us-east-1"
    account_id: str = "000000000000"

    @property
    def pseudo(self) -> dict[str, str]:
        """Pseudo parameters by name."""
        return {
            "AWS::AccountId": self.account_id,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackId": self.id,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
        }


@dataclass(frozen=True)
class Output:
    """A value that a stack shows.

    Attributes:
        key: its logical id.
        value: the text.
        description: for people.
        export_name: what other stacks would import it by; None: nothing.
    """

    key: str
    value: str
    description: str = ""
    export_name: str | None = None


@dataclass(frozen=True)
class Template:
    """A template, read for a stack.

    Attributes:
        description: for people.
        parameters: by name; `shown` hides what is NoEcho.
        cluster_id: logical id of the cluster.
        task_fleet_ids: logical ids of the task fleets added to it, with the fleets' names.
        spec: the cluster with all its fleets, checked.
        notices: what is taken but not done as EMR would.
    """

    description: str
    parameters: Mapping[str, Parameter]
    cluster_id: str
    task_fleet_ids: Mapping[str, str]
    spec: ClusterSpec
    notices: tuple[Notice, ...]
    _document: Mapping[str, object]
    _stack: Stack

    def outputs(self, job_flow_id: str, primary_dns: str) -> list[Output]:
        """Return the outputs, once the cluster is known.

        Args:
            job_flow_id: the cluster's id, what `Ref` gives.
            primary_dns: name of a primary, what `MasterPublicDNS` gives.
        """
        reader = Reader()
        known = {
            (self.cluster_id, "Ref"): job_flow_id,
            (self.cluster_id, "Id"): job_flow_id,
            (self.cluster_id, "MasterPublicDNS"): primary_dns,
        }
        known |= {(one, "Ref"): one for one in self.task_fleet_ids}
        known |= {(one, "InstanceFleetId"): one for one in self.task_fleet_ids}
        resolver = _resolver(reader, self._document, self.parameters, self._stack, known)
        return _read_outputs(self._document, reader, resolver)


def read_template(
    text: str | bytes,
    *,
    parameters: Mapping[str, str] | None = None,
    stack: Stack | None = None,
    origin: str = "the template",
) -> Template:
    """Read a template.

    Args:
        text: JSON or YAML.
        parameters: name to value; a list is written with commas.
        stack: what it is launched as.
        origin: what to call it in messages.

    Raises:
        InvalidInput: it is neither, or all that is wrong with it, each with its path.
    """
    stack = stack or Stack()
    document = read_document(text, origin, functions=True)
    reader = Reader()
    top = reader.section(document, "")
    values = document if isinstance(document, dict) else {}
    given = read_parameters(top.inner("Parameters"), parameters or {}, reader)
    resolver = _resolver(reader, values, given, stack, {})
    _read_head(top, resolver)
    resources = _read_resources(top, reader, resolver)
    logical_id, cluster = _one_cluster(resources, top)
    spec, where = read_cluster(cluster, reader, CLOUDFORMATION)
    added = _task_fleets(resources, logical_id, reader)
    release = parse_release(spec.release_label)
    sections = [(Role.TASK, section) for section in added.values()]
    tasks = sum(one.role is Role.TASK for one in spec.fleets)
    fleets = read_fleets(sections, release, where, first=len(spec.fleets), tasks=tasks)
    spec = replace(spec, fleets=(*spec.fleets, *fleets))
    _check_outputs(values, reader, given, stack, {logical_id, *added})
    wanted = checked(spec, where, reader)
    return Template(
        description=top.text("Description"),
        parameters=given,
        cluster_id=logical_id,
        task_fleet_ids={name: one.name for name, one in zip(added, fleets, strict=True)},
        spec=wanted.spec,
        notices=wanted.notices,
        _document=values,
        _stack=stack,
    )


def _resolver(
    reader: Reader,
    document: Mapping[str, object],
    parameters: Mapping[str, Parameter],
    stack: Stack,
    attributes: Attributes,
) -> Resolver:
    return Resolver(
        reader,
        parameters=parameters,
        pseudo=stack.pseudo,
        mappings=document.get("Mappings"),
        conditions=document.get("Conditions"),
        attributes=attributes,
    )


def _read_head(top: Section, resolver: Resolver) -> None:
    if top.text("AWSTemplateFormatVersion", VERSION) != VERSION:
        top.problem("AWSTemplateFormatVersion", f'the only one is "{VERSION}"')
    top.text("Description", longest=1024)
    top.raw("Metadata")
    top.refuse("Transform", "macros run at AWS; give what they make of the template")
    top.refuse("Rules", "put AllowedValues and AllowedPattern at the parameters")
    top.refuse("Hooks", "there is no deployment to hook into")
    top.inner("Mappings").names()
    for name in top.inner("Conditions").names():
        resolver.condition(name, f"Conditions.{name}")
    top.inner("Outputs").names()


@dataclass(frozen=True)
class _Resource:
    kind: str
    section: Section
    raw_cluster_id: object


def _read_resources(top: Section, reader: Reader, resolver: Resolver) -> dict[str, _Resource]:
    found: dict[str, _Resource] = {}
    section = top.inner("Resources")
    for name in section.names():
        one = section.inner(name)
        kind = one.needed("Type")
        if kind and kind not in (CLUSTER, TASK_FLEET):
            one.problem("Type", f"not supported by Atoll: {kind}; it has {CLUSTER}, {TASK_FLEET}")
        _read_attributes(one, section)
        condition = one.raw("Condition")
        raw = one.raw("Properties")
        if condition is not None and not resolver.condition(condition, one.path_of("Condition")):
            continue
        if kind not in (CLUSTER, TASK_FLEET):
            continue
        path = one.path_of("Properties")
        value, cluster_id = _properties(kind, raw, path, resolver)
        found[name] = _Resource(kind, reader.section(value, path), cluster_id)
    return found


def _properties(kind: str, raw: object, path: str, resolver: Resolver) -> tuple[object, object]:
    """Resolve properties; a fleet's ClusterId, which no cluster has yet, is handed back raw."""
    if not isinstance(raw, dict):
        return ({} if raw is None else raw), None
    inner = dict(raw)
    cluster_id = inner.pop("ClusterId", None) if kind == TASK_FLEET else None
    return resolver.value(inner, path), cluster_id


def _read_attributes(one: Section, resources: Section) -> None:
    one.raw("Metadata")
    names = one.raw("DependsOn")
    for name in names if isinstance(names, list) else [names]:
        if name is not None and (not isinstance(name, str) or name not in resources):
            one.problem("DependsOn", f"{shown(name)} is not among the resources")
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        if one.text(policy, "Delete") != "Delete":
            one.problem(policy, "not supported by Atoll: a cluster ends with its stack")
    one.refuse("CreationPolicy", "a stack is complete when its cluster runs")
    one.refuse("UpdatePolicy", "change the fleets of the cluster instead")


def _one_cluster(resources: Mapping[str, _Resource], top: Section) -> tuple[str, Section]:
    clusters = {name: one.section for name, one in resources.items() if one.kind == CLUSTER}
    if len(clusters) != 1:
        top.problem("Resources", f"has {len(clusters)} of {CLUSTER}; a template has one")
    return next(iter(clusters.items()), ("", top.inner("Resources").inner("")))


def _task_fleets(
    resources: Mapping[str, _Resource], cluster_id: str, reader: Reader
) -> dict[str, Section]:
    found: dict[str, Section] = {}
    mine = ({"Ref": cluster_id}, {"Fn::GetAtt": [cluster_id, "Id"]})
    for name, one in resources.items():
        if one.kind != TASK_FLEET:
            continue
        if one.raw_cluster_id not in mine:
            one.section.problem("ClusterId", f"must be the template's own: Ref {cluster_id}")
        if one.section.text("InstanceFleetType").upper() != Role.TASK:
            # Source: CloudFormation user guide, AWS::EMR::InstanceFleetConfig.
            one.section.problem(
                "InstanceFleetType", "You can currently only add a task instance fleet to a cluster"
            )
        found[name] = one.section
    return found


def _check_outputs(
    document: Mapping[str, object],
    reader: Reader,
    parameters: Mapping[str, Parameter],
    stack: Stack,
    resources: set[str],
) -> None:
    known = {(name, attribute): "" for name in resources for attribute in _ATTRIBUTES}
    _read_outputs(document, reader, _resolver(reader, document, parameters, stack, known))


_ATTRIBUTES = ("Ref", "Id", "MasterPublicDNS", "InstanceFleetId")


def _read_outputs(
    document: Mapping[str, object], reader: Reader, resolver: Resolver
) -> list[Output]:
    raw = document.get("Outputs")
    found = []
    for name, one in raw.items() if isinstance(raw, dict) else ():
        path = f"Outputs.{name}"
        section = reader.section(one, path)
        condition = section.raw("Condition")
        if condition is not None and not resolver.condition(condition, f"{path}.Condition"):
            section.names()
            continue
        value = resolver.value(section.raw("Value"), f"{path}.Value")
        export = resolver.value(section.inner("Export").raw("Name"), f"{path}.Export.Name")
        if not isinstance(value, str):
            section.problem("Value", f"{shown(value)} is no text")
        found.append(
            Output(
                key=name,
                value=value if isinstance(value, str) else "",
                description=section.text("Description", longest=1024),
                export_name=export if isinstance(export, str) else None,
            )
        )
    return found
