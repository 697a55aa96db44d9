"""EMR's releases: which of them have what a cluster asks for.

Atoll runs one Spark, that of the pyspark wheel, whatever the release; a release decides what EMR
would have allowed and its defaults, and `spark_notice` says both versions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.fleet.model import SpotStrategy

OUR_SPARK = "4.3.0"
"""The pyspark wheel that the extra `fleet` pins."""

# Spark by release. Source: Amazon EMR release guide, application versions of 5.x, 6.x and 7.x, as
# recalled; of 7.13.0 as public clusters report it. Not a list of what is allowed: see below.
_SPARK: Mapping[tuple[int, int, int], str] = {
    (5, 36, 0): "2.4.8",
    (5, 36, 1): "2.4.8",
    (5, 36, 2): "2.4.8",
    (6, 8, 0): "3.3.0",
    (6, 8, 1): "3.3.0",
    (6, 9, 0): "3.3.0",
    (6, 9, 1): "3.3.0",
    (6, 10, 0): "3.3.1",
    (6, 10, 1): "3.3.1",
    (6, 11, 0): "3.3.2",
    (6, 11, 1): "3.3.2",
    (6, 12, 0): "3.4.0",
    (6, 13, 0): "3.4.1",
    (6, 14, 0): "3.4.1",
    (6, 15, 0): "3.4.1",
    (7, 0, 0): "3.5.0",
    (7, 1, 0): "3.5.0",
    (7, 2, 0): "3.5.1",
    (7, 3, 0): "3.5.1",
    (7, 4, 0): "3.5.2",
    (7, 5, 0): "3.5.2",
    (7, 6, 0): "3.5.3",
    (7, 7, 0): "3.5.3",
    (7, 8, 0): "3.5.4",
    (7, 9, 0): "3.5.5",
    (7, 10, 0): "3.5.5",
    (7, 11, 0): "3.5.6",
    (7, 12, 0): "3.5.6",
    (7, 13, 0): "3.5.6",
}
_LABEL = re.compile(r"emr-(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)

# Source: EMR management guide, emr-plan-ha: "5.36.1, 5.36.2, 6.8.1, 6.9.1, 6.10.1, 6.11.1, 6.12.0,
# and higher" for high availability with instance fleets.
_FIRST_PATCH = {(5, 36): 1, (6, 8): 1, (6, 9): 1, (6, 10): 1, (6, 11): 1}
_FROM = (6, 12, 0)


@dataclass(frozen=True, order=True)
class Release:
    """A release of EMR; releases compare as their numbers do."""

    major: int
    minor: int
    patch: int

    @property
    def label(self) -> str:
        """The release as EMR writes it."""
        return f"emr-{self.major}.{self.minor}.{self.patch}"

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Major, minor, patch."""
        return (self.major, self.minor, self.patch)

    @property
    def spark(self) -> str | None:
        """The Spark that EMR ships with it; None where Atoll does not know."""
        return _SPARK.get(self.numbers)

    @property
    def has_fleets(self) -> bool:
        """Whether EMR has instance fleets there: 4.8.0 and later, excluding 5.0.x."""
        return self >= Release(4, 8, 0) and (self.major, self.minor) != (5, 0)

    @property
    def has_high_availability(self) -> bool:
        """Whether EMR runs three primaries from an instance fleet there."""
        line = (self.major, self.minor)
        is_later_5 = self.major == 5 and self.minor > 36
        return self.numbers >= _FROM or is_later_5 or self.patch >= _FIRST_PATCH.get(line, math.inf)

    @property
    def has_strategies(self) -> bool:
        """Whether allocation strategies can be named: 5.12.1 and later.

        Source: EMR API reference, SpotProvisioningSpecification, OnDemandProvisioningSpecification.
        """
        return self >= Release(5, 12, 1)

    @property
    def spot_strategy(self) -> SpotStrategy:
        """How spot is chosen when nobody says: changed with 6.9.0."""
        is_new = self >= Release(6, 9, 0)
        return SpotStrategy.PRICE_CAPACITY_OPTIMIZED if is_new else SpotStrategy.CAPACITY_OPTIMIZED


LATEST = Release(*max(_SPARK))


def parse_release(label: str) -> Release:
    """Read a release label; "" and "latest" are the latest, the "emr-" may be left out.

    Raises:
        InvalidInput: it is no label, or names a release older than instance fleets.
    """
    if label in ("", "latest"):
        return LATEST
    found = _LABEL.fullmatch(label if label.startswith("emr-") else f"emr-{label}")
    if found is None:
        raise InvalidInput(
            f"{label!r} is no release label; write one such as {LATEST.label}, or leave it out",
            release=label,
        )
    release = Release(*map(int, found.groups()))
    if not release.has_fleets:
        raise InvalidInput(
            f"{release.label} has no instance fleets (4.8.0 and later, excluding 5.0.x); use "
            f"{LATEST.label}",
            release=release.label,
        )
    return release


def need_high_availability(release: Release) -> None:
    """Refuse a release on which EMR runs no three primaries from an instance fleet.

    Raises:
        InvalidInput: it is such a release; the message names the nearest that will do.
    """
    if release.has_high_availability:
        return
    near = nearest_highly_available(release).label
    raise InvalidInput(
        f"{release.label} has no high availability for instance fleets (5.36.1, 5.36.2, 6.8.1, "
        f"6.9.1, 6.10.1, 6.11.1, 6.12.0 and higher have); use {near}, or {LATEST.label}",
        release=release.label,
        nearest=near,
    )


def nearest_highly_available(release: Release) -> Release:
    """Return the first release, not older than the given one, that runs three primaries."""
    good = (one for one in map(_release, sorted(_SPARK)) if one.has_high_availability)
    return next((one for one in good if one >= release), LATEST)


def _release(numbers: tuple[int, int, int]) -> Release:
    return Release(*numbers)


def spark_notice(release: Release) -> str:
    """Say which Spark a user of this release gets."""
    theirs = f"Spark {release.spark}" if release.spark else "a Spark that Atoll does not know"
    return f"{release.label} is {theirs} on EMR; Atoll runs Spark {OUR_SPARK}"
