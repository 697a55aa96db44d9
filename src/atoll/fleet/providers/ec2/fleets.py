"""Core and task capacity: one instant EC2 Fleet for each order, chosen by EC2's own strategies.

Source: EC2 API reference, CreateFleet.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.core.errors import AtollError, Forbidden, InvalidInput, NotFound
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.model import InstanceTypeConfig
from atoll.fleet.planning.offers import NO_LIMIT_PERCENT, price_limit
from atoll.fleet.providers.ec2 import launching, tags
from atoll.fleet.providers.ec2.api import Api, code_of, refusal
from atoll.fleet.providers.ec2.launching import Images
from atoll.fleet.providers.ec2.market import architectures
from atoll.fleet.providers.ec2.templates import ensure
from atoll.fleet.providers.port import FleetRequest, Placement
from atoll.fleet.spec.catalogue import Catalogue

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """Capacity that is wanted.

    Attributes:
        request: how much of what.
        placement: the cluster's.
        settings: the provider's and the placement's.
        token: ours; see the port.
    """

    request: FleetRequest
    placement: Placement
    settings: Mapping[str, str]
    token: str


def place(api: Api, images: Images, catalogue: Catalogue, order: Order) -> list[str]:
    """Order capacity.

    Returns:
        The ids of what was launched, maybe less than was asked for.

    Raises:
        InsufficientCapacity, NoFreeAddress, Forbidden, InvalidInput: nothing was launched; the
            message has every reason EC2 gave.
    """
    request, placement = order.request, order.placement
    template = ensure(api, placement, order.settings, request)
    own = tags.machine_tags(placement, request.fleet_id, request.fleet.role, order.token)
    config = {
        "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "1"},
        "Overrides": _overrides(api, images, catalogue, order),
    }
    answer = api.call(
        "create_fleet",
        Type="instant",
        ClientToken=tags.client_token(placement.cluster_id, order.token),
        LaunchTemplateConfigs=[config],
        TagSpecifications=tags.specifications(own, "instance", "volume"),
        **capacity(request),
    )
    launched = [id_ for one in answer.get("Instances", ()) for id_ in one["InstanceIds"]]
    errors = answer.get("Errors", ())
    if not launched:
        raise failure(errors, placement.subnet_id)
    if errors:
        told = "; ".join(_reasons(errors))
        logger.warning("less than ordered cluster=%s why=%s", placement.cluster_id, told)
    return launched


def capacity(request: FleetRequest) -> dict[str, Any]:
    """Say how much is wanted of which market, and by which strategy each is chosen.

    CreateFleet spells all strategies as EMR does; "lowestPrice" is the older Spot Fleet's.
    """
    fleet = request.fleet
    on_demand, spot = fleet.on_demand_strategy, fleet.spot.strategy
    if request.is_resize:
        on_demand = fleet.resizing.on_demand_strategy or on_demand
        spot = fleet.resizing.spot_strategy or spot
    target = {
        "TotalTargetCapacity": request.on_demand + request.spot,
        "OnDemandTargetCapacity": request.on_demand,
        "SpotTargetCapacity": request.spot,
        "DefaultTargetCapacityType": "spot" if request.spot else "on-demand",
    }
    return {
        "OnDemandOptions": {"AllocationStrategy": on_demand.value},
        "SpotOptions": {
            "AllocationStrategy": spot.value,
            "InstanceInterruptionBehavior": "terminate",
        },
        "TargetCapacitySpecification": target,
    }


def fewest(request: FleetRequest) -> int:
    """Return the fewest instances that fulfil a request: each needs an address."""
    most = max(one.weighted_capacity for one in request.fleet.types)
    return -(-request.on_demand // most) + -(-request.spot // most)


def _overrides(
    api: Api, images: Images, catalogue: Catalogue, order: Order
) -> list[dict[str, Any]]:
    request, settings = order.request, order.settings
    types = architectures(api, [one.instance_type for one in request.fleet.types])
    found = []
    for config in request.fleet.types:
        image = images.find(settings.get("image", ""), types[config.instance_type])
        override: dict[str, Any] = {
            "InstanceType": config.instance_type,
            "SubnetId": order.placement.subnet_id,
            "WeightedCapacity": config.weighted_capacity,
            "ImageId": image.id,
            "BlockDeviceMappings": launching.disks(image, config, settings, catalogue),
        }
        if config.priority is not None:
            override["Priority"] = config.priority
        if request.spot and (most := max_price(config, catalogue)):
            override["MaxPrice"] = most
        found.append(override)
    return found


def max_price(config: InstanceTypeConfig, catalogue: Catalogue) -> str | None:
    """Say the most that spot of a type may cost, as EC2 wants it; None: the on-demand price.

    Raises:
        InvalidInput: it is given in percent of an on-demand price that the catalogue lacks.
    """
    if config.bid_price is None and config.bid_price_percent >= NO_LIMIT_PERCENT:
        return None
    prices = {name: one.price_hour for name, one in catalogue.types.items()}
    return f"{price_limit(config, prices):.5f}"


def failure(errors: Sequence[Mapping[str, Any]], subnet_id: str) -> AtollError:
    """Say why nothing was launched, by every reason that CreateFleet's answer gives."""
    told = "; ".join(_reasons(errors)) or "EC2 gives no reason"
    each = [refusal(one.get("ErrorCode", ""), "", "CreateFleet") for one in errors]
    codes = sorted({code_of(one) for one in each})
    # What no waiting mends counts most; a full subnet only where it is the only reason.
    for kind in (Forbidden, InvalidInput, NotFound):
        if any(type(one) is kind for one in each):
            return kind(f"EC2 launched nothing in {subnet_id}: {told}", codes=codes)
    is_full = bool(each) and all(type(one) is NoFreeAddress for one in each)
    refused = NoFreeAddress if is_full else InsufficientCapacity
    return refused(f"EC2 launched nothing in {subnet_id}: {told}", subnet_id=subnet_id, codes=codes)


def _reasons(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the reasons, each once."""
    found: dict[str, None] = {}
    for one in errors:
        override = one.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        what = " ".join(filter(None, (override.get("InstanceType"), one.get("Lifecycle"))))
        found[f"{what}: {one.get('ErrorCode')}: {one.get('ErrorMessage', '')}"] = None
    return list(found)
