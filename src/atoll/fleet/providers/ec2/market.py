"""What EC2 offers: types by zone, their prices, and how likely spot is to be had.

On-demand prices are the catalogue's, which states its region; of a type that is not in it none is
known: it is bought last. Capacity is never known (`None`); EC2 tells when it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atoll.core.errors import AtollError, InvalidInput
from atoll.core.text import some_of
from atoll.fleet.capacity import Pool, Subnet
from atoll.fleet.model import Market
from atoll.fleet.providers.ec2.api import Api, code_of, filters

logger = logging.getLogger(__name__)

PRODUCT = "Linux/UNIX"
SCORED_INSTANCES = 10
"""Spot placement scores are asked for so many instances; EC2 wants a number."""


def pools_of(
    api: Api, types: Sequence[str], subnets: Sequence[Subnet], prices: Mapping[str, float]
) -> list[Pool]:
    """List what may be had of types in subnets.

    Args:
        api: EC2.
        types: names of instance types.
        subnets: where.
        prices: on demand, US dollars an hour by type.

    Raises:
        InvalidInput: EC2 does not know a type.
    """
    architectures(api, types)
    zones = sorted({one.zone for one in subnets})
    offered = _offered(api, types, zones)
    spot = _spot_prices(api, types, zones)
    scores = _scores(api, types)
    pools = []
    for subnet in subnets:
        for kind in types:
            if (kind, subnet.zone) not in offered:
                continue
            pools.append(Pool(kind, Market.ON_DEMAND, subnet.id, prices.get(kind), None))
            if (kind, subnet.zone) in spot:
                price = spot[kind, subnet.zone]
                score = scores.get(subnet.zone, 0.0)
                pools.append(Pool(kind, Market.SPOT, subnet.id, price, None, score))
    return pools


def architectures(api: Api, types: Iterable[str]) -> dict[str, str]:
    """Return the architecture of each type: "x86_64" or "arm64".

    Raises:
        InvalidInput: EC2 does not know a type.
    """
    wanted = sorted(set(types))
    try:
        pages = api.pages("describe_instance_types", "InstanceTypes", InstanceTypes=wanted)
        found = {one["InstanceType"]: _architecture(one) for one in pages}
    except InvalidInput as error:
        raise InvalidInput(
            f"EC2 {api.region} does not know all of {', '.join(wanted)}: {error.message}",
            types=wanted,
        ) from error
    if unknown := [one for one in wanted if one not in found]:
        raise InvalidInput(f"EC2 {api.region} has no type {some_of(unknown)}", types=unknown)
    return found


def _architecture(found: Mapping[str, Any]) -> str:
    known = found["ProcessorInfo"]["SupportedArchitectures"]
    return "arm64" if "arm64" in known else "x86_64"


def _offered(api: Api, types: Sequence[str], zones: Sequence[str]) -> set[tuple[str, str]]:
    pages = api.pages(
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=filters(instance_type=types, location=zones),
    )
    return {(one["InstanceType"], one["Location"]) for one in pages}


def _spot_prices(
    api: Api, types: Sequence[str], zones: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Find the newest spot price of each type in each zone."""
    # From now on: EC2 answers with the prices that hold, though they were set earlier.
    pages = api.pages(
        "describe_spot_price_history",
        "SpotPriceHistory",
        StartTime=datetime.now(UTC),
        InstanceTypes=list(types),
        ProductDescriptions=[PRODUCT],
        Filters=filters(availability_zone=zones),
    )
    newest: dict[tuple[str, str], tuple[datetime, float]] = {}
    for one in pages:
        key = one["InstanceType"], one["AvailabilityZone"]
        said = one["Timestamp"], float(one["SpotPrice"])
        newest[key] = max(newest.get(key, said), said)
    return {key: price for key, (_, price) in newest.items()}


def _scores(api: Api, types: Sequence[str]) -> dict[str, float]:
    """Ask how likely spot of these types together is to be had, 1 to 10 by zone name.

    EC2 scores the list of types as a whole, so all pools of a zone get the same. Where it does not
    tell (no permission, too many questions in a day) the scores are 0 and prices decide.
    """
    try:
        zones = api.call("describe_availability_zones")["AvailabilityZones"]
        names = {one["ZoneId"]: one["ZoneName"] for one in zones}
        pages = api.pages(
            "get_spot_placement_scores",
            "SpotPlacementScores",
            InstanceTypes=list(types),
            TargetCapacity=SCORED_INSTANCES,
            SingleAvailabilityZone=True,
            RegionNames=[api.region],
        )
        return {
            names[one["AvailabilityZoneId"]]: float(one["Score"])
            for one in pages
            if one.get("AvailabilityZoneId") in names
        }
    except AtollError as error:
        logger.warning("spot placement scores not known code=%s error=%s", code_of(error), error)
        return {}
