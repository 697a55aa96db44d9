"""What every launch asks EC2 for: image, disk, groups, profile, metadata, what to run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.core.errors import InvalidInput, NotFound
from atoll.fleet.model import InstanceTypeConfig
from atoll.fleet.providers.ec2.api import Api, filters
from atoll.fleet.providers.ec2.userdata import user_data
from atoll.fleet.providers.port import Placement
from atoll.fleet.spec.catalogue import Catalogue

DEBIAN = "136693071363"
"""The account of Debian's cloud images. Source: wiki.debian.org, Cloud/AmazonEC2Image/Bookworm."""
ROOT_GIB = 15
"""As EMR's; what the instance type's disks are comes on top."""
OTHER_GIB = 64
"""The disk of a type that the catalogue does not know."""


@dataclass(frozen=True)
class Form:
    """How a setting is written: what all of it matches, and one that does."""

    pattern: str
    example: str


SETTINGS = {
    "endpoint_url": Form(r"https?://\S+", "https://..."),
    "image": Form(r"ami-\w+", "ami-..."),
    "instance_profile": Form(r"\S+", "its name or ARN"),
    "key_name": Form(r".+", "its name"),
    "package_url": Form(r"(https?|s3|file)://\S+", "s3://bucket/atoll-...whl"),
    "root_volume_gib": Form(r"[1-9]\d{0,4}", "a whole number, such as 20"),
    "security_groups": Form(r"sg-\w+(,sg-\w+)*", "sg-..., several with commas between"),
}
"""What a launch knows; an empty value is none."""
_DEBIAN_NAMES = {"x86_64": "debian-12-amd64-*", "arm64": "debian-12-arm64-*"}


@dataclass(frozen=True)
class Image:
    """An image, and the device its root disk is."""

    id: str
    root_device: str


class Images:
    """Finds images; each is looked up once."""

    def __init__(self, api: Api) -> None:
        """Take where to look."""
        self._api = api
        self._known: dict[str, Image] = {}

    def find(self, wanted: str, architecture: str) -> Image:
        """Return the image of a name, or Debian's newest for an architecture.

        Raises:
            NotFound: there is none.
        """
        key = wanted or architecture
        if key not in self._known:
            self._known[key] = self._named(wanted) if wanted else self._debian(architecture)
        return self._known[key]

    def _named(self, wanted: str) -> Image:
        found = self._api.call("describe_images", ImageIds=[wanted])["Images"]
        if not found:
            raise NotFound(f"EC2 {self._api.region} has no image {wanted}", image=wanted)
        return Image(found[0]["ImageId"], found[0]["RootDeviceName"])

    def _debian(self, architecture: str) -> Image:
        wanted = filters(name=_DEBIAN_NAMES[architecture], state="available")
        found = self._api.call("describe_images", Owners=[DEBIAN], Filters=wanted)["Images"]
        if not found:
            raise NotFound(
                f"EC2 {self._api.region} has no image of Debian 12 for {architecture}; name "
                "one of your own (CustomAmiId), with Debian 12 in it",
                architecture=architecture,
            )
        newest = max(found, key=lambda one: one["CreationDate"])
        return Image(newest["ImageId"], newest["RootDeviceName"])


def disks(
    image: Image, config: InstanceTypeConfig, settings: Mapping[str, str], catalogue: Catalogue
) -> list[dict[str, Any]]:
    """Ask for one root disk that holds the system and what the type's EBS disks would hold."""
    known = catalogue.types.get(config.instance_type)
    usual = known.ebs_gib if known is not None else OTHER_GIB
    data = usual if config.disk_gib is None else config.disk_gib
    size = root_gib(settings) + data
    ebs = {"VolumeSize": size, "VolumeType": "gp3", "DeleteOnTermination": True}
    return [{"DeviceName": image.root_device, "Ebs": ebs}]


def root_gib(settings: Mapping[str, str]) -> int:
    """Return the size of the root disk without what the type's disks are."""
    return int(settings.get("root_volume_gib") or ROOT_GIB)


def common(placement: Placement, settings: Mapping[str, str], region: str) -> dict[str, Any]:
    """Return what RunInstances and launch templates have in common.

    The user data are bytes: boto3 encodes them for RunInstances, and for nothing else.

    Raises:
        InvalidInput: the user data is too long.
    """
    args: dict[str, Any] = {
        "UserData": user_data(placement.user_data, settings, region),
        "InstanceInitiatedShutdownBehavior": "terminate",
        # Version 2 of the metadata service, and only for processes of the instance itself.
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
        },
    }
    if profile := settings.get("instance_profile"):
        args["IamInstanceProfile"] = {"Arn" if profile.startswith("arn:") else "Name": profile}
    if key_name := settings.get("key_name"):
        args["KeyName"] = key_name
    return args


def groups(settings: Mapping[str, str]) -> list[str]:
    """List the security groups of a machine; none: the VPC's default group."""
    return [one for one in settings.get("security_groups", "").split(",") if one]


def checked(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings, of a provider or a placement.

    Raises:
        InvalidInput: one is nothing that EC2 launches know, or its value is none.
    """
    if unknown := sorted(settings.keys() - SETTINGS.keys()):
        raise InvalidInput(
            f"EC2 knows no setting {', '.join(unknown)}; take {', '.join(sorted(SETTINGS))}",
            settings=unknown,
        )
    for name, value in settings.items():
        form = SETTINGS[name]
        if value and not re.fullmatch(form.pattern, value):
            raise InvalidInput(
                f"{value!r} is no {name} of EC2; write {form.example}", setting=name, value=value
            )
    return dict(settings)
