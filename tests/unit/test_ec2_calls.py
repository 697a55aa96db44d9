import base64
import gzip
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from ec2_cloud import IMAGE, PROFILE, account, provider, subnet

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.host.home import settings_of
from atoll.fleet.host.server import HostOptions, serve_host
from atoll.fleet.model import (
    ClusterSpec,
    FleetSpec,
    InstanceTypeConfig,
    Market,
    OnDemandStrategy,
    Resizing,
    Role,
    SpotProvisioning,
    SpotStrategy,
)
from atoll.fleet.providers.ec2.machines import Memory, machine_of
from atoll.fleet.providers.port import FleetRequest, MachineState, Placement
from atoll.fleet.providers.reach import open_ec2, reach

CLUSTER = "j-1"
TYPES = (
    InstanceTypeConfig("m5.xlarge", weighted_capacity=2, priority=1.0),
    InstanceTypeConfig("m5.2xlarge", weighted_capacity=4, bid_price_percent=50.0, disk_gib=200),
)
CORE = FleetSpec(Role.CORE, "core", 0, 0, TYPES)
SECRET = '{"founding": "s3cret-of-the-cluster"}'


@pytest.fixture
def cloud():
    with account() as (client, answers):
        yield client, answers


@pytest.fixture
def answers(cloud):
    return cloud[1]


@pytest.fixture
def placement(cloud):
    settings = {"security_groups": "sg-a,sg-b", "instance_profile": PROFILE, "key_name": "k"}
    return Placement(CLUSTER, 1, subnet(cloud[0]), SECRET, settings=settings)


def launch_primary(ec2, placement, token="first"):
    address = ec2.reserve(placement.subnet_id, token="one", cluster_id=CLUSTER, epoch=1)
    config = InstanceTypeConfig("m5.xlarge")
    return ec2.launch_primary(config, address, "if-1", placement, token=token)


def launch_core(ec2, placement, *, fleet=CORE, token="a", on_demand=2, spot=4, is_resize=False):
    request = FleetRequest("if-2", fleet, on_demand, spot, is_resize)
    return ec2.launch_fleet(request, placement, token=token)


def refused(*codes):
    override = {"Overrides": {"InstanceType": "m5.xlarge"}}
    errors = [
        {
            "LaunchTemplateAndOverrides": override,
            "Lifecycle": "spot",
            "ErrorCode": code,
            "ErrorMessage": "not now",
        }
        for code in codes
    ]
    return {"FleetId": "fleet-1", "Errors": errors, "Instances": []}


def test_a_primary_is_launched_at_an_interface_that_outlives_it(answers, placement):
    machine = launch_primary(provider(), placement)
    (asked,) = answers.asked("RunInstances")
    (card,) = asked["NetworkInterfaces"]
    assert card["NetworkInterfaceId"] == machine.address_id
    assert card["DeleteOnTermination"] is False
    (changed,) = answers.asked("ModifyNetworkInterfaceAttribute")
    assert changed["Groups"] == ["sg-a", "sg-b"]


def test_a_primary_ends_itself_and_keeps_its_metadata_to_itself(answers, placement):
    launch_primary(provider(), placement)
    (asked,) = answers.asked("RunInstances")
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert asked["IamInstanceProfile"] == {"Name": PROFILE}
    assert len(asked["ClientToken"]) == 64
    (disk,) = asked["BlockDeviceMappings"]
    assert disk["Ebs"]["VolumeSize"] == 15 + 64


def test_a_spread_primary_stands_in_a_placement_group_made_once(answers, placement):
    duplicate = "InvalidPlacementGroup.Duplicate", "it is there"
    answers.by_operation["CreatePlacementGroup"] = duplicate
    launch_primary(provider(), replace(placement, spread_group="j-1-primaries"))
    (made,) = answers.asked("CreatePlacementGroup")
    (asked,) = answers.asked("RunInstances")
    assert (made["Strategy"], made["GroupName"]) == ("spread", asked["Placement"]["GroupName"])


def test_primaries_and_workers_get_a_packed_script_encoded_once(cloud, placement):
    client, _ = cloud
    machines = [launch_primary(provider(), placement), *launch_core(provider(), placement)]
    for machine in machines:
        told = client.describe_instance_attribute(InstanceId=machine.id, Attribute="userData")
        script = gzip.decompress(base64.b64decode(told["UserData"]["Value"]))
        assert script.startswith(b"#!/bin/sh\n")


def test_a_token_that_was_used_with_other_parameters_gives_what_it_launched(answers, placement):
    ec2 = provider()
    first = launch_primary(ec2, placement)
    hidden = [{"Reservations": []}]
    answers.by_operation["DescribeInstances"] = hidden
    answers.by_operation["DescribeNetworkInterfaces"] = [
        None,
        *[_interface(placement, "available")] * 2,
    ]
    answers.by_operation["RunInstances"] = "IdempotentParameterMismatch", "other parameters"
    assert launch_primary(ec2, placement).id == first.id


def _interface(placement, status):
    tags = [{"Key": "atoll:cluster", "Value": CLUSTER}]
    found = {"NetworkInterfaceId": "eni-1", "Status": status, "TagSet": tags}
    return {"NetworkInterfaces": [found]}


def test_an_address_that_an_ended_machine_does_not_let_go_of_is_a_conflict(answers, placement):
    ec2 = provider()
    old = launch_primary(ec2, placement)
    gone = {"InstanceId": old.id, "State": {"Name": "shutting-down"}}
    answers.by_operation["DescribeInstances"] = lambda asked: (
        {"Reservations": [{"Instances": [gone]}]} if _asks_for_id(asked) else {"Reservations": []}
    )
    with pytest.raises(Conflict, match=f"not let go by {old.id}"):
        launch_primary(ec2, placement, token="next")


def _asks_for_id(asked):
    return asked["Filters"][0]["Name"] == "instance-id"


def test_a_primary_that_is_not_to_be_had_is_insufficient_capacity(answers, placement):
    answers.by_operation["RunInstances"] = "InsufficientInstanceCapacity", "none left"
    with pytest.raises(InsufficientCapacity, match="none left"):
        launch_primary(provider(), placement)


@pytest.mark.parametrize("strategy", SpotStrategy)
def test_spot_strategies_are_sent_as_ec2_spells_them(answers, placement, strategy):
    launch_core(provider(), placement, fleet=replace(CORE, spot=SpotProvisioning(strategy)))
    (asked,) = answers.asked("CreateFleet")
    assert asked["SpotOptions"]["AllocationStrategy"] == strategy.value
    assert asked["OnDemandOptions"]["AllocationStrategy"] == "lowest-price"
    assert asked["Type"] == "instant"


def test_a_resize_counts_its_own_strategies(answers, placement):
    resizing = Resizing(SpotStrategy.DIVERSIFIED, OnDemandStrategy.PRIORITIZED)
    launch_core(provider(), placement, fleet=replace(CORE, resizing=resizing), is_resize=True)
    (asked,) = answers.asked("CreateFleet")
    assert asked["SpotOptions"]["AllocationStrategy"] == "diversified"
    assert asked["OnDemandOptions"]["AllocationStrategy"] == "prioritized"


def test_types_are_sent_with_weight_priority_price_and_disk(answers, placement):
    launch_core(provider(), placement)
    (asked,) = answers.asked("CreateFleet")
    small, large = asked["LaunchTemplateConfigs"][0]["Overrides"]
    assert (small["WeightedCapacity"], small["Priority"]) == (2, 1.0)
    assert "MaxPrice" not in small  # EC2's own limit is the on-demand price
    assert (large["WeightedCapacity"], large["MaxPrice"]) == (4, "0.19200")
    assert large["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 15 + 200
    assert small["ImageId"] == IMAGE


def test_targets_are_sent_by_market(answers, placement):
    launch_core(provider(), placement, on_demand=2, spot=4)
    (asked,) = answers.asked("CreateFleet")
    target = asked["TargetCapacitySpecification"]
    assert (target["OnDemandTargetCapacity"], target["SpotTargetCapacity"]) == (2, 4)
    assert target["TotalTargetCapacity"] == 6


def test_a_fleet_that_gets_nothing_says_every_reason(answers, placement):
    answers.by_operation["CreateFleet"] = refused(
        "InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "UnfulfillableCapacity"
    )
    with pytest.raises(InsufficientCapacity) as caught:
        launch_core(provider(), placement)
    for code in ("InsufficientInstanceCapacity", "MaxSpotInstanceCount", "Unfulfillable"):
        assert code in caught.value.message
    assert "m5.xlarge spot" in caught.value.message


def test_a_fleet_that_finds_no_address_says_so(answers, placement):
    answers.by_operation["CreateFleet"] = refused("InsufficientFreeAddressesInSubnet")
    with pytest.raises(NoFreeAddress, match=placement.subnet_id):
        launch_core(provider(), placement)


def test_what_no_waiting_mends_is_not_taken_for_missing_capacity(answers, placement):
    codes = "InsufficientInstanceCapacity", "UnauthorizedOperation"
    answers.by_operation["CreateFleet"] = refused(*codes)
    with pytest.raises(Forbidden, match="UnauthorizedOperation"):
        launch_core(provider(), placement)


def test_a_part_of_what_was_asked_for_is_an_answer(answers, placement):
    ec2 = provider()
    launched = launch_core(ec2, placement, token="a")
    part = {"Instances": [{"InstanceIds": [launched[0].id]}]}
    answers.by_operation["CreateFleet"] = refused("UnfulfillableCapacity") | part
    assert [one.id for one in launch_core(ec2, placement, token="b")] == [launched[0].id]


def test_an_order_of_which_nothing_came_is_not_placed_again(answers, placement):
    answers.by_operation["CreateFleet"] = "IdempotentParameterMismatch", "other parameters"
    with pytest.raises(InsufficientCapacity, match="order a"):
        launch_core(provider(), placement, token="a")


def test_orders_share_a_template_until_something_changes(answers, placement):
    ec2 = provider()
    for token in "ab":
        launch_core(ec2, placement, token=token)
    launch_core(ec2, replace(placement, user_data="{}"), token="c")
    names = [one["LaunchTemplateName"] for one in answers.asked("CreateLaunchTemplate")]
    assert names[0] == names[1] != names[2]


def test_templates_go_with_the_last_address(cloud, placement):
    client, _ = cloud
    ec2 = provider()
    launch_core(ec2, placement)
    for token in "ab":
        ec2.reserve(placement.subnet_id, token=token, cluster_id=CLUSTER, epoch=1)
    first, last = ec2.addresses(CLUSTER)
    ec2.release(first.id, epoch=1)
    assert len(client.describe_launch_templates()["LaunchTemplates"]) == 1
    ec2.release(last.id, epoch=1)
    assert client.describe_launch_templates()["LaunchTemplates"] == []


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Throttling", "ServiceUnavailable"])
def test_a_busy_ec2_is_unavailable(answers, code):
    answers.by_operation["DescribeInstances"] = code, "slow down"
    with pytest.raises(Unavailable, match="slow down"):
        provider().machines(CLUSTER)


def test_a_missing_permission_names_the_action(answers, placement):
    answers.by_operation["RunInstances"] = "UnauthorizedOperation", "you may not"
    with pytest.raises(Forbidden, match="ec2:RunInstances"):
        launch_primary(provider(), placement)


def test_errors_never_show_the_user_data(answers, placement):
    def repeated(asked):
        return "InvalidParameterValue", f"bad value {encoded(asked)} for UserData"

    def encoded(asked):
        return base64.b64encode(asked["UserData"]).decode()

    answers.by_operation["RunInstances"] = repeated
    with pytest.raises(InvalidInput, match="user data") as caught:
        launch_primary(provider(), placement)
    assert encoded(answers.asked("RunInstances")[0]) not in caught.value.message
    assert caught.value.__cause__ is None


def test_machines_of_all_pages_are_listed(answers, placement):
    ec2 = provider()
    launch_core(ec2, placement)
    found = ec2._api.client.describe_instances()["Reservations"]
    pages = [{"Reservations": found[:1], "NextToken": "more"}, {"Reservations": found[1:]}]
    answers.by_operation["DescribeInstances"] = pages
    shown = {one.id for one in ec2.machines(CLUSTER)}
    assert shown == {one["InstanceId"] for each in found for one in each["Instances"]}


def test_a_spot_notice_says_when_the_machine_goes(answers, placement):
    ec2 = provider()
    (spot,) = launch_core(ec2, placement, on_demand=0, spot=2)
    marked_at = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
    status = {"Code": "marked-for-termination", "UpdateTime": marked_at}
    marked = {"SpotInstanceRequests": [{"InstanceId": spot.id, "Status": status}]}
    answers.by_operation["DescribeSpotInstanceRequests"] = marked
    (shown,) = ec2.machines(CLUSTER)
    assert shown.market is Market.SPOT
    assert shown.reclaim_at == marked_at.timestamp() + 120


def test_notices_that_may_not_be_asked_for_hide_no_machine(answers, placement):
    ec2 = provider()
    launch_core(ec2, placement, on_demand=0, spot=2)
    answers.by_operation["DescribeSpotInstanceRequests"] = "UnauthorizedOperation", "you may not"
    assert len(ec2.machines(CLUSTER)) == 1


def described(state, **more):
    launched_at = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
    base = {"InstanceId": "i-1", "InstanceType": "m5.xlarge", "LaunchTime": launched_at}
    return base | {"State": {"Name": state}} | more


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("pending", MachineState.PENDING),
        ("running", MachineState.RUNNING),
        ("stopping", MachineState.STOPPED),
        ("stopped", MachineState.STOPPED),
        ("shutting-down", MachineState.TERMINATED),
        ("terminated", MachineState.TERMINATED),
    ],
)
def test_every_state_of_ec2_is_one_of_ours(theirs, ours):
    assert machine_of(described(theirs), now=0.0).state is ours


def test_the_end_of_a_machine_is_read_from_its_reason():
    ended = described(
        "terminated", StateTransitionReason="User initiated (2026-11-26 09:30:00 GMT)"
    )
    expected = datetime(2026, 11, 26, 9, 30, 0, tzinfo=UTC).timestamp()
    assert machine_of(ended, now=7.0).ended_at == expected


def test_a_machine_reclaimed_by_ec2_says_so():
    reason = {"Code": "Server.SpotInstanceTermination", "Message": "Spot instance termination"}
    ended = described("terminated", StateReason=reason)
    assert machine_of(ended, now=7.0).reason == "Spot instance termination"


def test_a_machine_that_no_list_shows_yet_counts_for_a_minute():
    memory, new = Memory(), machine_of(described("pending"), now=0.0)
    new = replace(new, cluster_id=CLUSTER)
    memory.launched([new], now=100.0)
    assert memory.completed(CLUSTER, [], now=159.0) == [new]
    assert memory.completed("j-other", [], now=159.0) == []
    assert memory.completed(CLUSTER, [], now=161.0) == []


def test_an_end_at_an_unknown_time_was_when_it_was_seen_first():
    memory = Memory()
    ends = [
        memory.completed(CLUSTER, [machine_of(described("terminated"), now=now)], now)[0].ended_at
        for now in (10.0, 20.0)
    ]
    assert ends == [10.0, 10.0]


def test_a_list_serves_again_until_something_changes(answers, placement):
    ec2 = provider(fresh_s=60.0)
    for _ in range(3):
        assert ec2.machines(CLUSTER) == []
    assert len(answers.asked("DescribeInstances")) == 1
    launch_core(ec2, placement, on_demand=2, spot=0)
    assert len(ec2.machines(CLUSTER)) == 1


def test_a_primary_is_ended_at_once_and_awaited(answers, placement):
    ec2 = provider()
    machine = launch_primary(ec2, placement)
    ec2.terminate([machine.id], epoch=1, reason="unhealthy")
    (asked,) = answers.asked("TerminateInstances")
    assert asked["SkipOsShutdown"] is True
    (shown,) = ec2.machines(CLUSTER)
    assert shown.state is MachineState.TERMINATED


def test_a_primary_that_does_not_end_in_time_is_named(answers, placement):
    ec2 = provider()
    machine = launch_primary(ec2, placement)
    answers.by_operation["TerminateInstances"] = {"TerminatingInstances": []}
    with pytest.raises(Unavailable, match=machine.id):
        ec2.terminate([machine.id], epoch=1, reason="unhealthy")


def test_ending_what_ec2_has_forgotten_is_no_error(answers):
    provider().terminate(["i-0123456789abcdef0"], epoch=1, reason="over")
    assert answers.asked("TerminateInstances") == []


def test_a_stopped_machine_is_started_again(cloud, placement):
    client, _ = cloud
    ec2 = provider()
    machine = launch_primary(ec2, placement)
    client.stop_instances(InstanceIds=[machine.id])
    assert ec2.machines(CLUSTER)[0].state is MachineState.STOPPED
    ec2.start(machine.id, epoch=1)
    assert ec2.machines(CLUSTER)[0].is_alive


def test_the_newest_spot_price_of_a_zone_counts(answers, placement):
    said = [(8, "0.05"), (9, "0.07"), (7, "0.06")]
    answers.by_operation["DescribeSpotPriceHistory"] = {
        "SpotPriceHistory": [
            {
                "InstanceType": "m5.xlarge",
                "AvailabilityZone": "us-east-1a",
                "SpotPrice": price,
                "Timestamp": datetime(2026, 11, 26, hour, tzinfo=UTC),
            }
            for hour, price in said
        ]
    }
    pools = provider().pools(["m5.xlarge"], [placement.subnet_id])
    assert {one.market: one.price for one in pools} == {Market.ON_DEMAND: 0.192, Market.SPOT: 0.07}


def test_spot_placement_scores_are_those_of_the_zone(answers, placement):
    scores = [{"AvailabilityZoneId": "use1-az6", "Score": 7}, {"Score": 9}]
    answers.by_operation["GetSpotPlacementScores"] = {"SpotPlacementScores": scores}
    zones = [{"ZoneId": "use1-az6", "ZoneName": "us-east-1a"}]
    answers.by_operation["DescribeAvailabilityZones"] = {"AvailabilityZones": zones}
    pools = provider().pools(["m5.xlarge"], [placement.subnet_id])
    assert [one.score for one in pools if one.market is Market.SPOT] == [7.0]


def test_scores_that_may_not_be_asked_for_are_zero(answers, placement):
    answers.by_operation["GetSpotPlacementScores"] = "UnauthorizedOperation", "you may not"
    pools = provider().pools(["m5.xlarge"], [placement.subnet_id])
    assert {one.score for one in pools} == {0.0}


def test_a_type_without_a_price_is_offered_without_one(placement):
    pools = provider().pools(["t2.micro"], [placement.subnet_id])
    assert next(one.price for one in pools if one.market is Market.ON_DEMAND) is None


def test_a_subnet_with_a_way_to_the_internet_is_public(cloud, placement):
    client, _ = cloud
    ec2 = provider()
    (before,) = ec2.subnets([placement.subnet_id])
    gateway = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway, VpcId=before.network)
    (table,) = [
        one["RouteTableId"]
        for one in client.describe_route_tables()["RouteTables"]
        if one["VpcId"] == before.network
    ]
    client.create_route(RouteTableId=table, GatewayId=gateway, DestinationCidrBlock="0.0.0.0/0")
    (after,) = ec2.subnets([placement.subnet_id])
    assert (before.is_public, after.is_public) == (False, True)


def test_a_setting_that_launches_do_not_know_is_named(placement):
    with pytest.raises(InvalidInput, match="colour"):
        launch_primary(provider(), replace(placement, settings={"colour": "blue"}))


def test_an_address_of_another_cluster_is_not_given(placement):
    ec2 = provider()
    address = ec2.reserve(placement.subnet_id, token="one", cluster_id="j-other", epoch=1)
    with pytest.raises(NotFound, match=address.id):
        ec2.launch_primary(
            InstanceTypeConfig("m5.xlarge"), address, "if-1", placement, token="first"
        )


def test_without_an_image_the_newest_debian_is_taken(answers, placement):
    images = [
        {"ImageId": name, "RootDeviceName": "/dev/xvda", "CreationDate": date}
        for name, date in (("ami-old", "2025-01-01"), ("ami-new", "2026-11-01"))
    ]
    answers.by_operation["DescribeImages"] = {"Images": images}
    launch_primary(provider(settings={"image": ""}), placement)
    (asked,) = answers.asked("RunInstances")
    assert asked["ImageId"] == "ami-new"
    (looked,) = answers.asked("DescribeImages")
    assert looked["Owners"] == ["136693071363"]


def test_controllers_reach_the_same_ec2_as_the_host(cloud):
    ec2, at = open_ec2("", {"package_url": "https://host/a.whl"})
    again = reach(at)
    assert at.where == ec2.region == again.region == "us-east-1"
    assert again._settings == {"package_url": "https://host/a.whl"}


def test_a_host_refuses_a_setting_it_does_not_know(cloud):
    with pytest.raises(InvalidInput, match="colour"):
        open_ec2("us-east-1", {"colour": "blue"})


def test_a_host_keeps_the_settings_of_ec2_it_was_given(cloud, tmp_path):
    for given in ({"image": "ami-1"}, {"package_url": "https://host/a.whl"}):
        stopped = threading.Event()
        stopped.set()
        serve_host(HostOptions(tmp_path, provider="ec2", region="us-east-1", ec2=given), stopped)
    kept = settings_of(tmp_path, "ec2", "us-east-1")
    assert kept.ec2 == {"image": "ami-1", "package_url": "https://host/a.whl"}


@pytest.mark.parametrize(
    "wrong",
    ["root_volume_gib=20GB", "root_volume_gib=0", "image=debian", "security_groups=sg-1, sg-2"],
)
def test_a_setting_that_no_launch_could_use_is_refused_at_once(wrong):
    name, _, value = wrong.partition("=")
    with pytest.raises(InvalidInput, match=f"is no {name} of EC2"):
        provider(settings={name: value})


def test_a_machine_whose_reason_cannot_be_told_is_ended_all_the_same(answers, placement):
    ec2 = provider()
    machines = launch_core(ec2, placement, token="a")
    answers.by_operation["CreateTags"] = "TagLimitExceeded", "50 at most"
    ec2.terminate([one.id for one in machines], epoch=1, reason="surplus")
    assert not any(one.is_alive for one in ec2.machines(placement.cluster_id))


def test_more_tags_and_larger_disks_than_ec2_takes_are_refused_together():
    kind = InstanceTypeConfig("m5.xlarge", disk_gib=16_370)
    fleets = tuple(FleetSpec(role, role.value, 1, 0, (kind,)) for role in (Role.MASTER, Role.CORE))
    tags = {f"key{number}": "" for number in range(43)}
    spec = ClusterSpec("c", "emr-7.10.0", fleets, tags={**tags, "Name": "x"})
    with pytest.raises(InvalidInput, match=r"'CORE': m5.xlarge has 16,370 GiB .* root volume 15"):
        provider().require(spec)
    with pytest.raises(InvalidInput, match=r"'debian' is no image of EC2"):
        provider().require(replace(spec, custom_ami="debian"))
    kept = replace(spec, fleets=(), tags={**tags, "Name": "x"})
    provider().require(kept)
    with pytest.raises(InvalidInput, match=r"has 44, and 7 are Atoll's own.*name 43 or fewer"):
        provider().require(replace(kept, tags={**tags, "one": "more"}))


def test_no_question_names_more_subnets_than_ec2_takes(cloud):
    subnets = [
        {
            "SubnetId": f"subnet-{number}",
            "VpcId": "vpc-1",
            "AvailabilityZone": "us-east-1a",
            "AvailableIpAddressCount": 9,
        }
        for number in range(450)
    ]
    cloud[1].by_operation["DescribeSubnets"] = {"Subnets": subnets}
    assert len(provider().subnets()) == 450
    asked = [one["Filters"] for one in cloud[1].asked("DescribeInstances")]
    values = [one["Values"] for filters in asked for one in filters if one["Name"] == "subnet-id"]
    assert max(map(len, values)) <= 200
    assert sum(map(len, values)) == 450
