"""Primaries: one instance at a time, each at an address that was kept for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.core.errors import Conflict, NotFound
from atoll.fleet.model import InstanceTypeConfig, Role
from atoll.fleet.providers.ec2 import launching, tags
from atoll.fleet.providers.ec2.addresses import Patience, await_free, interface
from atoll.fleet.providers.ec2.api import Api, code_of
from atoll.fleet.providers.ec2.launching import Images
from atoll.fleet.providers.ec2.machines import launched_for, machine_of
from atoll.fleet.providers.ec2.market import architectures
from atoll.fleet.providers.port import Address, Machine, Placement
from atoll.fleet.spec.catalogue import Catalogue


@dataclass(frozen=True)
class Launch:
    """A primary that is wanted.

    Attributes:
        config: its type and disk.
        address: the kept address it gets.
        fleet_id: the fleet of primaries.
        placement: the cluster's.
        settings: the provider's and the placement's.
        token: ours; see the port.
    """

    config: InstanceTypeConfig
    address: Address
    fleet_id: str
    placement: Placement
    settings: Mapping[str, str]
    token: str


def launch(
    api: Api, images: Images, catalogue: Catalogue, wanted: Launch, patience: Patience
) -> Machine:
    """Launch one on-demand machine at a kept address; see the port."""
    place = wanted.placement
    args = _arguments(api, images, catalogue, wanted)
    if known := launched(api, place.cluster_id, wanted.token):
        return known
    _take(api, wanted, patience)
    if place.spread_group is not None:
        args["Placement"] = {"GroupName": _spread_group(api, place)}
    try:
        answer = api.call("run_instances", **args)
    except Conflict as error:
        # The token was used, by this cluster and for this place: what came of that is the answer.
        known = launched(api, place.cluster_id, wanted.token)
        if known is None or not code_of(error).startswith("Idempotent"):
            raise
        return known
    return machine_of(answer["Instances"][0], time.time())


def _arguments(api: Api, images: Images, catalogue: Catalogue, wanted: Launch) -> dict[str, Any]:
    kind, place, token = wanted.config.instance_type, wanted.placement, wanted.token
    image = images.find(wanted.settings.get("image", ""), architectures(api, [kind])[kind])
    own = tags.machine_tags(place, wanted.fleet_id, Role.MASTER, token)
    own[tags.ADDRESS] = wanted.address.id
    card = {
        "DeviceIndex": 0,
        "NetworkInterfaceId": wanted.address.id,
        "DeleteOnTermination": False,
    }
    return {
        **launching.common(place, wanted.settings, api.region),
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": tags.client_token(place.cluster_id, token),
        "ImageId": image.id,
        "InstanceType": kind,
        "BlockDeviceMappings": launching.disks(image, wanted.config, wanted.settings, catalogue),
        "NetworkInterfaces": [card],
        "TagSpecifications": tags.specifications(own, "instance", "volume"),
    }


def launched(api: Api, cluster_id: str, token: str) -> Machine | None:
    """Return the machine that a token launched before; None: it launched none."""
    found = launched_for(api, cluster_id, token)
    return machine_of(found[0], time.time()) if found else None


def _take(api: Api, wanted: Launch, patience: Patience) -> None:
    """See that an address is the cluster's and free; its groups are those of the machine."""
    address, cluster_id = wanted.address, wanted.placement.cluster_id
    found = interface(api, address.id)
    owner = tags.as_dict(found["TagSet"]).get(tags.CLUSTER) if found is not None else None
    if owner != cluster_id:
        raise NotFound(
            f"address {address.id} is not kept for cluster {cluster_id}", address_id=address.id
        )
    await_free(api, address.id, patience)
    if groups := launching.groups(wanted.settings):
        api.call("modify_network_interface_attribute", NetworkInterfaceId=address.id, Groups=groups)


def _spread_group(api: Api, placement: Placement) -> str:
    """Make the placement group whose machines each stand on hardware of their own."""
    name = f"atoll-{placement.spread_group}"
    own = tags.specifications({tags.CLUSTER: placement.cluster_id}, "placement-group")
    try:
        api.call("create_placement_group", GroupName=name, Strategy="spread", TagSpecifications=own)
    except Conflict as error:
        if code_of(error) != "InvalidPlacementGroup.Duplicate":
            raise
    return name
