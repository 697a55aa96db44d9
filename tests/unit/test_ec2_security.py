import pytest
from ec2_cloud import PROFILE, account, provider, subnet

from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Role
from atoll.fleet.providers.ec2.policy import CHANGES, LOOKS, MAKES, policy
from atoll.fleet.providers.ec2.security import closed, opened
from atoll.fleet.providers.port import FleetRequest, Placement

TYPES = (InstanceTypeConfig("m5.xlarge"),)
PRIMARIES = FleetSpec(Role.MASTER, "primary", 3, 0, TYPES)
CORE = FleetSpec(Role.CORE, "core", 1, 0, TYPES)


@pytest.fixture
def cloud():
    with account() as found:
        yield found


def from_groups(*groups, first=0, last=65535, protocol="tcp"):
    pairs = [{"GroupId": one} for one in groups]
    return {
        "IpProtocol": protocol,
        "FromPort": first,
        "ToPort": last,
        "UserIdGroupPairs": pairs,
        "IpRanges": [],
    }


def from_everywhere(first, last):
    return from_groups(first=first, last=last) | {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def spec_of(subnet_id, **more):
    return ClusterSpec("c", "emr-7.10.0", (PRIMARIES, CORE), subnet_ids=(subnet_id,), **more)


def test_groups_that_let_their_members_in_are_enough():
    both = [from_groups("sg-p", "sg-w")]
    assert list(closed({"sg-p": both, "sg-w": both}, ["sg-p"], ["sg-w"])) == []


def test_a_group_that_lets_everything_in_by_protocol_minus_one_is_enough():
    rule = from_groups("sg-p", protocol="-1")
    del rule["FromPort"], rule["ToPort"]
    assert list(closed({"sg-p": [rule]}, ["sg-p"], ["sg-p"])) == []


def test_a_port_that_is_closed_is_named_with_what_it_is_for():
    almost = [from_groups("sg", first=0, last=2887), from_groups("sg", first=2889, last=65535)]
    told = "\n".join(closed({"sg": almost}, ["sg"], ["sg"]))
    assert "TCP 2888" in told
    assert "ZooKeeper's followers" in told
    assert "TCP 7077" not in told


def test_workers_that_cannot_reach_primaries_are_told():
    groups = {"sg-p": [from_groups("sg-p")], "sg-w": [from_groups("sg-p", "sg-w")]}
    told = list(closed(groups, ["sg-p"], ["sg-w"]))
    assert any("TCP 7077 in from sg-w" in one for one in told)
    assert not any("2888" in one for one in told)


def test_a_group_open_to_the_world_is_told():
    assert "lets everybody" in "".join(opened({"sg": [from_everywhere(7077, 7077)]}))
    assert "lets everybody" in "".join(opened({"sg": [from_everywhere(32768, 60999)]}))
    assert "lets everybody" in "".join(opened({"sg": [from_everywhere(2000, 2181)]}))
    assert list(opened({"sg": [from_everywhere(22, 22)]})) == []
    assert list(opened({"sg": [from_everywhere(7077, 7077) | {"IpProtocol": "udp"}]})) == []


def test_a_cluster_is_warned_of_what_its_account_lacks(cloud):
    client, _ = cloud
    subnet_id = subnet(client)
    group = client.create_security_group(GroupName="g", Description="g")["GroupId"]
    spec = spec_of(subnet_id, primary_security_group=group, worker_security_group=group)
    told = "\n".join(provider().warnings(spec))
    assert f"{group} does not let TCP 2181 in" in told
    assert "no instance profile" in told
    assert "prices" not in told


def test_the_default_group_is_looked_at_where_none_is_named(cloud):
    client, _ = cloud
    subnet_id = subnet(client)
    before = "\n".join(provider().warnings(spec_of(subnet_id)))
    vpc = client.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]["VpcId"]
    found = client.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
    )
    group = found["SecurityGroups"][0]["GroupId"]
    everything = [from_everywhere(0, 65535)]
    for one in everything:
        del one["UserIdGroupPairs"]
    client.authorize_security_group_ingress(GroupId=group, IpPermissions=everything)
    after = "\n".join(provider().warnings(spec_of(subnet_id)))
    assert f"the VPC's default group is used, {group}" in before
    assert f"{group} lets everybody reach" not in before
    assert f"{group} lets everybody reach" in after


def test_the_group_of_emr_s_service_is_said_to_do_nothing(cloud):
    spec = spec_of(subnet(cloud[0]), service_security_group="sg-1")
    assert "service_security_group: does nothing" in "\n".join(provider().warnings(spec))


def test_a_group_that_is_not_there_is_named(cloud):
    client, _ = cloud
    groups = {"primary_security_group": "sg-0dead", "worker_security_group": "sg-0dead"}
    told = "\n".join(provider().warnings(spec_of(subnet(client), **groups)))
    assert "no security group sg-0dead" in told


def test_checks_that_may_not_be_made_are_told_of(cloud):
    client, answers = cloud
    answers.by_operation["DescribeSecurityGroups"] = "UnauthorizedOperation", "you may not"
    groups = {"primary_security_group": "sg-1", "worker_security_group": "sg-1"}
    told = "\n".join(provider().warnings(spec_of(subnet(client), **groups)))
    assert "could not be checked" in told


def test_the_policy_allows_every_call_of_a_cluster_s_life(cloud):
    client, answers = cloud
    ec2, subnet_id = provider(), subnet(client)
    settings = {"instance_profile": PROFILE, "security_groups": "sg-1"}
    place = Placement("j-1", 1, subnet_id, "{}", spread_group="j-1-p", settings=settings)
    ec2.pools(["m5.xlarge"], [subnet_id])
    address = ec2.reserve(subnet_id, token="one", cluster_id="j-1", epoch=1)
    machine = ec2.launch_primary(TYPES[0], address, "if-1", place, token="a")
    ec2.launch_fleet(FleetRequest("if-2", CORE, 1, 1), place, token="b")
    ids = [one.id for one in ec2.machines("j-1")]
    client.stop_instances(InstanceIds=[machine.id])
    ec2.start(machine.id, epoch=1)
    ec2.terminate(ids, epoch=1, reason="over")
    ec2.release(address.id, epoch=1)
    ours = {"ec2:StopInstances"} | {f"ec2:{name}" for name in _BY_THE_TEST}
    asked = {f"ec2:{name}" for name, _ in answers.calls} - ours
    assert asked <= {*LOOKS, *MAKES, *CHANGES, "ec2:CreateTags"}
    assert asked >= {*MAKES, *CHANGES} - {"ec2:DeletePlacementGroup"}


_BY_THE_TEST = ("CreateVpc", "ModifyVpcAttribute", "CreateSubnet")


def test_the_policy_changes_only_what_a_cluster_made():
    for statement in policy("arn:aws:iam::123456789012:role/workers")["Statement"]:
        actions = set(statement["Action"])
        if statement["Resource"] == "*" and actions & {*CHANGES}:
            assert statement["Condition"] == {
                "StringLike": {"aws:ResourceTag/atoll:cluster": "j-*"}
            }
