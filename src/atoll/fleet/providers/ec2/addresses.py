"""Kept addresses: network interfaces that outlive the instances they are given to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from atoll.core.errors import Conflict, NotFound
from atoll.fleet.providers.ec2 import tags
from atoll.fleet.providers.ec2.api import Api, filters
from atoll.fleet.providers.ec2.machines import described_ids, is_holding
from atoll.fleet.providers.port import Address


@dataclass(frozen=True)
class Patience:
    """How EC2 is waited for.

    Attributes:
        poll_s: seconds between two looks.
        most_s: seconds in all; an instance may take minutes to end.
    """

    poll_s: float = 2.0
    most_s: float = 300.0


def reserve(api: Api, subnet_id: str, *, token: str, cluster_id: str) -> Address:
    """Keep an address; see the port."""
    own = {tags.CLUSTER: cluster_id, tags.TOKEN: token}
    for known in _described(api, tag=own):
        return address_of(known)
    args = {
        "SubnetId": subnet_id,
        "Description": f"Atoll cluster {cluster_id}",
        "TagSpecifications": tags.specifications(
            {**own, "Name": f"{cluster_id} primary"}, "network-interface"
        ),
    }
    created = api.call(
        "create_network_interface", ClientToken=tags.client_token(cluster_id, token), **args
    )
    return address_of(created["NetworkInterface"])


def kept(api: Api, cluster_id: str) -> list[Address]:
    """List the addresses kept for a cluster, by their tokens."""
    found = _described(api, tag={tags.CLUSTER: cluster_id})
    found.sort(key=lambda one: tags.as_dict(one["TagSet"])[tags.TOKEN])
    return [address_of(one) for one in found]


def release(api: Api, address_id: str, patience: Patience) -> str | None:
    """Give an address back, once nothing that ended holds it any more.

    Returns:
        The cluster it was kept for; None: there is no such address.

    Raises:
        Conflict: a machine holds it that has not ended.
    """
    found = interface(api, address_id)
    if found is None:
        return None
    await_free(api, address_id, patience)
    with suppress(NotFound):  # somebody else did it meanwhile
        api.call("delete_network_interface", NetworkInterfaceId=address_id)
    return tags.as_dict(found["TagSet"]).get(tags.CLUSTER)


def interface(api: Api, address_id: str) -> dict[str, Any] | None:
    """Return EC2's record of an address; None: there is none."""
    found = _described(api, network_interface_id=address_id)
    return found[0] if found else None


def await_free(api: Api, address_id: str, patience: Patience) -> None:
    """Wait until an ended machine has let go of an address.

    Raises:
        Conflict: a machine holds it that has not ended, or has not let go in time.
        NotFound: there is no such address.
    """
    deadline = time.monotonic() + patience.most_s
    while True:
        found = interface(api, address_id)
        if found is None:
            raise NotFound(f"there is no address {address_id}", address_id=address_id)
        if found["Status"] == "available":
            return
        holder = found.get("Attachment", {}).get("InstanceId", "")
        _refuse_living(api, address_id, holder)
        if time.monotonic() > deadline:
            raise Conflict(
                f"address {address_id} is not let go by {holder or 'what ended'} within "
                f"{patience.most_s:g} s; try again",
                address_id=address_id,
                machine_id=holder,
            )
        time.sleep(patience.poll_s)


def _refuse_living(api: Api, address_id: str, holder: str) -> None:
    for one in described_ids(api, [holder] if holder else []):
        if is_holding(one):
            raise Conflict(
                f"address {address_id} is held by machine {holder} ({one['State']['Name']}); "
                "terminate that first",
                address_id=address_id,
                machine_id=holder,
            )


def _described(api: Api, **wanted: Any) -> list[dict[str, Any]]:
    args = filters(**wanted)
    return list(api.pages("describe_network_interfaces", "NetworkInterfaces", Filters=args))


def address_of(found: Mapping[str, Any]) -> Address:
    """Read EC2's record of a network interface."""
    # A VPC without DNS host names gives none; the address is a name that always works.
    name = found.get("PrivateDnsName") or found["PrivateIpAddress"]
    return Address(
        found["NetworkInterfaceId"], found["SubnetId"], found["PrivateIpAddress"], str(name)
    )
