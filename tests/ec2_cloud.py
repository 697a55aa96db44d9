"""EC2 for tests: moto, with answers of our own where it has none or lies."""

import ipaddress
import os
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import boto3
from botocore.awsrequest import AWSResponse
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from atoll.fleet.providers.ec2.addresses import Patience
from atoll.fleet.providers.ec2.provider import Ec2Provider
from atoll.fleet.wire.conform import misfits

REGION = "us-east-1"
ZONE = "us-east-1a"
IMAGE = "ami-0123456789abcdef0"
NO_IMAGES = {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
PROFILE = "workers"
FULL = "255.255.255.255"
HASTY = Patience(poll_s=0.0, most_s=0.2)


class Answers:
    """What EC2 shall answer instead of moto, by operation; `calls` has all that was asked.

    An answer is a dict, an error as (code, message), or a function of the arguments to either;
    None leaves the call to moto. A dict that EC2 could not answer, by botocore's model, is refused.
    """

    def __init__(self):
        self.by_operation = {
            "CreateNetworkInterface": _is_full,
            "CreatePlacementGroup": {},
            "DeletePlacementGroup": {},
            "DescribeImages": {"Images": [{"ImageId": IMAGE, "RootDeviceName": "/dev/xvda"}]},
            "DescribePlacementGroups": {"PlacementGroups": []},
            "DescribeSpotInstanceRequests": {"SpotInstanceRequests": []},
            "GetSpotPlacementScores": {"SpotPlacementScores": []},
        }
        self.calls = []

    def asked(self, operation):
        return [params for name, params in self.calls if name == operation]

    def attach(self, client):
        client.meta.events.register("provide-client-params.ec2", self._seen)
        client.meta.events.register("before-call.ec2", self._answered)
        client.meta.events.register("after-call.ec2.TerminateInstances", _let_go)

    def detach(self, client):
        client.meta.events.unregister("provide-client-params.ec2", self._seen)
        client.meta.events.unregister("before-call.ec2", self._answered)
        client.meta.events.unregister("after-call.ec2.TerminateInstances", _let_go)

    def _seen(self, params, model, **_):
        if model.name == "CreateNetworkInterface" and "PrivateIpAddress" not in params:
            _choose_address(params)
        self.calls.append((model.name, dict(params)))

    def _answered(self, model, **_):
        answer = self.by_operation.get(model.name)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        if callable(answer):
            answer = answer(self.calls[-1][1])
        if answer is None:
            return None
        if isinstance(answer, tuple):
            code, message = answer
            error = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {}}
            return AWSResponse("", 400, {}, None), error
        wrong = misfits(answer, model.output_shape)
        assert not wrong, f"EC2 answers {model.name} otherwise: {wrong}"
        return AWSResponse("", 200, {}, None), answer


def _let_go(**_):
    """Have ended instances let go of kept interfaces and lose their own; moto does neither."""
    backend = _backend()
    for eni in list(backend.enis.values()):
        if eni.instance is not None and eni.instance.state == "terminated":
            eni.instance, eni.attachment_id, eni.status = None, None, "available"
            if not eni.get_tags():
                backend.delete_network_interface(eni.id)


def _choose_address(params):
    """Choose an address that is free; moto does not look. Where none is, `_is_full` refuses."""
    backend = _backend()
    cidr = ipaddress.ip_network(backend.get_subnet(params["SubnetId"]).cidr_block)
    taken = {eni.private_ip_address for eni in backend.enis.values()}
    free = [str(one) for one in list(cidr.hosts())[3:] if str(one) not in taken]
    params["PrivateIpAddress"] = free[-1] if free else FULL


def _is_full(params):
    if params["PrivateIpAddress"] != FULL:
        return None
    subnet_id = params["SubnetId"]
    return "InsufficientFreeAddressesInSubnet", f"{subnet_id} has not enough free addresses"


def _backend():
    return ec2_backends[DEFAULT_ACCOUNT_ID][REGION]


@contextmanager
def account():
    """Yield boto3's client of an account with nothing of ours in it, and what it shall answer."""
    # Its images take a second to load; ours is enough.
    with patch.dict(os.environ, NO_IMAGES), mock_aws(), patch.object(boto3, "client", _client):
        client, answers = _client("ec2"), Answers()
        iam_backends[DEFAULT_ACCOUNT_ID]["aws"].create_instance_profile(PROFILE, "/", [])
        answers.attach(client)
        try:
            yield client, answers
        finally:
            answers.detach(client)


def provider(**more):
    """Make a provider that waits for nothing and remembers no lists."""
    more["settings"] = {"image": IMAGE} | more.get("settings", {})
    return Ec2Provider(REGION, patience=HASTY, **{"fresh_s": 0.0, **more})


@cache
def _only_client():
    # To make one takes a second, and there is but one account.
    return boto3.session.Session("testing", "testing").client("ec2", region_name=REGION)


def _client(service, **_):
    return _only_client()


def subnet(client, *, free=None, name=None, number=1):
    """Make a VPC with a subnet that has so many free addresses, and return the subnet's id."""
    network = client.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
    client.modify_vpc_attribute(VpcId=network, EnableDnsHostnames={"Value": True})
    cidr = f"10.{number}.1.0/28"
    made = client.create_subnet(VpcId=network, CidrBlock=cidr, AvailabilityZone=ZONE)["Subnet"]
    taken = 0 if free is None else made["AvailableIpAddressCount"] - free
    for address in list(ipaddress.ip_network(cidr).hosts())[::-1][:taken]:
        client.create_network_interface(SubnetId=made["SubnetId"], PrivateIpAddress=str(address))
    return _renamed(made["SubnetId"], name) if name else made["SubnetId"]


def _renamed(old, new):
    """Give a subnet the id that a contract asks for."""
    found = _backend().get_subnet(old)
    found.id = new
    for zone in _backend().subnets.values():
        if old in zone:
            zone[new] = zone.pop(old)
    return new
