"""Clusters as users write them, for the tests of the fleet."""

import copy
import json
from pathlib import Path

import pytest

from atoll.fleet.spec.runjobflow import parse_run_job_flow
from atoll.fleet.spec.short import parse_short
from atoll.fleet.spec.template import read_template

TEMPLATE = Path(__file__).parent / "data" / "ha-template.json"
"""A template of our own, of the shape that the one of AWS's post has."""
POST = TEMPLATE.read_text()
# `shared` lies in the checkout or beside it.
_PLACES = [
    parent / "shared" / "data" / "fleet" / "post-template.json"
    for parent in Path(__file__).parents[1:3]
]
POSTS_OWN = next(filter(Path.exists, _PLACES), _PLACES[0])
"""The template of AWS's post itself, which is not ours to ship: it states no licence."""
needs_posts_own = pytest.mark.skipif(
    not POSTS_OWN.exists(),
    reason="the post's own template is neither in the checkout nor beside it",
)

SHORT = """
name: embeddings
primary: 3 x m5.xlarge, m5.2xlarge
core:
  on_demand: 4
  types: {m5.xlarge: 1, m5.2xlarge: 2}
task:
- spot: 8
  types: {m5.xlarge: 1, r5.xlarge: {weight: 2, bid_percent: 70}}
subnets: [subnet-a, subnet-b]
spread: true
"""


def fleet(role, on_demand=0, spot=0, **more):
    types = [{"InstanceType": "m5.xlarge"}]
    return {
        "InstanceFleetType": role,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeConfigs": types,
    } | more


REQUEST = {
    "Name": "nightly",
    "ReleaseLabel": "emr-7.10.0",
    "Instances": {
        "InstanceFleets": [fleet("MASTER", 3), fleet("CORE", 4), fleet("TASK", spot=2)],
        "Ec2SubnetIds": ["subnet-a", "subnet-b"],
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": True,
    },
    "JobFlowRole": "EMR_EC2_DefaultRole",
    "ServiceRole": "EMR_DefaultRole",
}
"""An input of RunJobFlow."""

_MISSING = object()


def changed(document, path, value=_MISSING):
    """Copy a document with the value at a path replaced; without one, taken out."""
    found = inner = copy.deepcopy(document)
    *steps, last = path
    for step in steps:
        if isinstance(inner, dict):
            inner.setdefault(step, {})
        inner = inner[step]
    if value is _MISSING:
        del inner[last]
    else:
        inner[last] = value
    return found


def request(*path_and_value):
    return changed(REQUEST, path_and_value[:-1], path_and_value[-1]) if path_and_value else REQUEST


def request_spec(*path_and_value):
    return parse_run_job_flow(request(*path_and_value)).spec


def short_spec(text=SHORT):
    return parse_short(text).spec


def post():
    return json.loads(POST)


def post_spec():
    return read_template(POST).spec


def problems(error):
    """List what an error says is wrong, as (path, message)."""
    return [(one["path"], one["message"]) for one in error.details["problems"]]
