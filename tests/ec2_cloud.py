"""EC2 for tests: moto, with answers of our own where it has none or lies."""

import ipaddress
from contextlib import contextmanager

import boto3
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from atoll.fleet.providers.ec2.addresses import Patience
from atoll.fleet.providers.ec2.provider import Ec2Provider

REGION = "us-east-1"
ZONE = "us-east-1a"
HASTY = Patience(poll_s=0.0, most_s=0.2)


class Answers:
    """What EC2 shall answer instead of moto, by operation; `calls` has all that was asked.

    An answer is a dict, an error as (code, message), or a function of the arguments to either;
    None leaves the call to moto.
    """

    def __init__(self):
        self.by_operation = {
            "CreatePlacementGroup": {},
            "DeletePlacementGroup": {},
            "DescribePlacementGroups": {"PlacementGroups": []},
            "GetSpotPlacementScores": {"SpotPlacementScores": []},
        }
        self.calls = []

    def asked(self, operation):
        return [params for name, params in self.calls if name == operation]

    def attach(self, client):
        client.meta.events.register("provide-client-params.ec2", self._seen)
        client.meta.events.register("before-call.ec2", self._answered)

    def _seen(self, params, model, **_):
        self.calls.append((model.name, params))

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
        return AWSResponse("", 200, {}, None), answer


@contextmanager
def moto_ec2():
    """Yield boto3's client of an account with nothing of ours in it."""
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


def provider_of(answers=None, **more):
    """Make a provider that waits for nothing and remembers no lists."""
    settings = {"image": image(boto3.client("ec2", region_name=REGION))} | more.pop("settings", {})
    provider = Ec2Provider(REGION, settings=settings, patience=HASTY, fresh_s=0.0, **more)
    (answers or Answers()).attach(provider._api.client)
    return provider


def image(client):
    return client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]


def subnet(client, *, free=None, cidr="10.9.1.0/28", vpc="10.9.0.0/16"):
    """Make a VPC with a subnet that has so many free addresses, and return the subnet's id."""
    network = client.create_vpc(CidrBlock=vpc)["Vpc"]["VpcId"]
    client.modify_vpc_attribute(VpcId=network, EnableDnsHostnames={"Value": True})
    made = client.create_subnet(VpcId=network, CidrBlock=cidr, AvailabilityZone=ZONE)["Subnet"]
    taken = made["AvailableIpAddressCount"] - free if free is not None else 0
    addresses = list(ipaddress.ip_network(cidr).hosts())[::-1]
    for address in addresses[:taken]:
        client.create_network_interface(SubnetId=made["SubnetId"], PrivateIpAddress=str(address))
    return made["SubnetId"]
