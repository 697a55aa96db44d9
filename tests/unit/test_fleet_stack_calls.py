"""CloudFormation's calls, over a fleet that is only believed in."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from fleet_world import World, desired
from fleetspecs import POST, changed

from atoll.core.errors import AtollError, Forbidden, InvalidInput, NotFound
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.cloudformation import CloudFormation
from atoll.fleet.aws.stackstore import StackStore
from atoll.fleet.registry import ClusterRecord, Ending, Phase
from atoll.fleet.states import ClusterState

BODY = json.loads(POST)


class Fleet:
    """Keeps records of clusters; `during` is called while one is being made."""

    def __init__(self):
        self.records, self.during, self.is_protected = {}, lambda: None, False

    def create(self, spec, cluster_id):
        self.during()
        world = World(desired())
        known = replace(world.known, status=replace(world.known.status, ready_at=None))
        known = replace(known, status=replace(known.status, state=ClusterState.STARTING))
        self.records[cluster_id] = ClusterRecord(world.desired, Phase.LAUNCHING, known)

    def change(self, **changes):
        (id_,) = self.records
        self.records[id_] = replace(self.records[id_], **changes)

    def status(self, **changes):
        ((_, record),) = self.records.items()
        self.change(known=replace(record.known, status=replace(record.known.status, **changes)))

    def cluster(self, cluster_id):
        if cluster_id not in self.records:
            raise NotFound("no such cluster")
        return self.records[cluster_id]

    def terminate(self, cluster_id):
        if self.is_protected:
            raise Forbidden("it is protected")
        self.change(phase=Phase.ENDING, ending=Ending("USER_REQUEST", "asked", False, 2.0e9))

    def note(self, cluster_id, notices):
        pass


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def call(fleet, tmp_path):
    stacks = StackStore(tmp_path / "control.sqlite")
    service = CloudFormation(fleet, stacks, Account()).service()
    yield service.call
    stacks.close()


def create(call, **more):
    call("CreateStack", {"StackName": "ha", "TemplateBody": POST, **more})


def stack(call):
    return call("DescribeStacks", {"StackName": "ha"})["Stacks"][0]


def events(call):
    found = call("DescribeStackEvents", {"StackName": "ha"})["StackEvents"]
    return {one["EventId"]: one for one in found}


@pytest.mark.parametrize("on_failure", ["ROLLBACK", "DELETE", "DO_NOTHING"])
def test_a_stack_that_is_being_made_is_in_progress(call, fleet, on_failure):
    seen = []
    fleet.during = lambda: seen.append(stack(call)["StackStatus"])
    create(call, OnFailure=on_failure)
    assert [*seen, stack(call)["StackStatus"]] == ["CREATE_IN_PROGRESS"] * 2


def test_a_stack_that_could_not_be_made_leaves_nothing(call, fleet):
    def fail():
        raise InvalidInput("no room")

    fleet.during = fail
    with pytest.raises(InvalidInput, match="no room"):
        create(call)
    with pytest.raises(NotFound):
        stack(call)


def test_members_that_ask_for_nothing_are_no_reason_to_refuse(call):
    label = {"ParameterKey": "Label", "ParameterValue": "x", "UsePreviousValue": False}
    template = {"TemplateBody": json.dumps(NO_DEFAULT), "Parameters": [label]}
    create(call, NotificationARNs=[], RetainExceptOnCreate=False, **template)
    call("DeleteStack", {"StackName": "ha", "DeletionMode": "STANDARD", "RetainResources": []})
    assert stack(call)["StackStatus"] == "DELETE_IN_PROGRESS"


def test_members_that_ask_for_something_are_refused_by_name(call):
    with pytest.raises(InvalidInput, match="NotificationARNs is not supported"):
        create(call, NotificationARNs=["arn:aws:sns:us-east-1:1:t"])
    create(call)
    with pytest.raises(InvalidInput, match="DeletionMode is not supported"):
        call("DeleteStack", {"StackName": "ha", "DeletionMode": "FORCE_DELETE_STACK"})


def test_events_once_told_stay_as_they_are(call, fleet):
    create(call)
    told = [events(call)]

    def then(change):
        change()
        told.append(events(call))

    def delete():
        call("DeleteStack", {"StackName": "ha"})

    fleet.is_protected = True
    then(delete)
    then(lambda: fleet.status(state=ClusterState.WAITING, ready_at=1.9e9))
    then(delete)
    fleet.is_protected = False
    then(delete)
    for before, after in pairwise(told):
        assert before.items() <= after.items()
    assert [len(one) for one in told] == [2, 5, 7, 10, 12]


def test_events_of_a_failure_have_the_time_when_its_end_began(call, fleet):
    create(call)
    fleet.change(phase=Phase.ENDING, ending=Ending("INSTANCE_FAILURE", "lost", True, 2.0e9))
    failed = {id_ for id_, one in events(call).items() if "FAILED" in one["ResourceStatus"]}
    fleet.change(phase=Phase.ENDED)
    fleet.status(ended_at=2.1e9)
    after = events(call)
    assert {after[id_]["Timestamp"].timestamp() for id_ in failed} == {2.0e9}
    assert max(one["Timestamp"].timestamp() for one in after.values()) == 2.1e9


NO_DEFAULT = changed(BODY, ["Parameters", "Label"], {"Type": "String"})


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (changed(NO_DEFAULT, ["Parameters", "Label", "Type"], "Strong"), "Strong"),
        (changed(NO_DEFAULT, ["Parameters", "Label", "Defualt"], "x"), "Defualt"),
        (changed(NO_DEFAULT, ["Description"], "x" * 1025), "1,024 are the most"),
        (changed(NO_DEFAULT, ["Resources"], {}), "At least one Resources"),
        (changed(NO_DEFAULT, ["Resources", "cluster", "Type"], "AWS::S3::Bucket"), "S3::Bucket"),
        (changed(NO_DEFAULT, ["Outptus"], {}), "Outptus"),
    ],
)
def test_a_template_that_no_value_could_mend_is_not_valid(call, template, words):
    with pytest.raises(AtollError, match=words):
        call("ValidateTemplate", {"TemplateBody": json.dumps(template)})


def test_a_template_is_valid_while_a_parameter_waits_for_its_value(call):
    found = call("ValidateTemplate", {"TemplateBody": json.dumps(NO_DEFAULT)})
    (label,) = [one for one in found["Parameters"] if one["ParameterKey"] == "Label"]
    assert label == {"ParameterKey": "Label", "NoEcho": False}
