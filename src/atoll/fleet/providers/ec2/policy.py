"""What the instance profile of a cluster's machines, and whoever runs the host, must be allowed.

The host launches the first primaries; afterwards the primaries' controllers launch and end machines
themselves, so both need the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atoll.fleet.providers.ec2.tags import CLUSTER

_GIVES = "ec2:ModifyNetworkInterfaceAttribute"

LOOKS = (
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribePlacementGroups",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotInstanceRequests",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "ec2:GetSpotPlacementScores",
)
"""They take no resource: EC2 answers for the whole account."""
MAKES = (
    "ec2:CreateFleet",
    "ec2:CreateLaunchTemplate",
    "ec2:CreateNetworkInterface",
    "ec2:CreatePlacementGroup",
    "ec2:RunInstances",
)
CHANGES = (
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteNetworkInterface",
    "ec2:DeletePlacementGroup",
    _GIVES,
    "ec2:StartInstances",
    "ec2:TerminateInstances",
)


_FIRST_ROLES = ("ec2fleet.amazonaws.com", "spot.amazonaws.com")
"""Services whose roles EC2 makes when an account orders its first fleet, its first spot."""


def policy(profile_role_arn: str) -> dict[str, Any]:
    """Return the policy document.

    Args:
        profile_role_arn: the role in the instance profile, which launches hand to machines.
    """
    ours = {"StringLike": {f"aws:ResourceTag/{CLUSTER}": "j-*"}}
    making = [one.removeprefix("ec2:") for one in MAKES]
    while_making = {"StringEquals": {"ec2:CreateAction": making}}
    to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    roles = [f"arn:aws:iam::*:role/aws-service-role/{one}/*" for one in _FIRST_ROLES]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allowed("Look", LOOKS),
            _allowed("Make", MAKES),
            _allowed("TagWhatIsMade", ["ec2:CreateTags"], condition=while_making),
            _allowed("ChangeOurs", (*CHANGES, "ec2:CreateTags"), condition=ours),
            # A group that an interface gets is a resource of its own, without our tag.
            _allowed("GiveGroups", [_GIVES], resource="arn:aws:ec2:*:*:security-group/*"),
            _allowed(
                "HandOverProfile", ["iam:PassRole"], resource=profile_role_arn, condition=to_ec2
            ),
            _allowed("FirstFleet", ["iam:CreateServiceLinkedRole"], resource=roles),
        ],
    }


def _allowed(
    name: str,
    actions: Sequence[str],
    *,
    resource: str | list[str] = "*",
    condition: dict[str, Any] | None = None,
) -> dict[str, Any]:
    found = {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": resource}
    return found | ({"Condition": condition} if condition is not None else {})
