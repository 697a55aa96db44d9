"""What EC2 takes of a cluster, looked at before anything is bought: the primaries come first, and
what is refused only for other machines would be found too late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from atoll.core.errors import InvalidInput
from atoll.fleet.model import ClusterSpec
from atoll.fleet.providers.ec2 import tags
from atoll.fleet.providers.ec2.launching import checked, root_gib

MOST_TAGS = 50
"""Source: EC2 user guide, tag restrictions."""
MOST_GIB = 16_384
"""Of a gp3 volume. Source: EBS user guide, volume types."""


def require_within(spec: ClusterSpec, settings: Mapping[str, str]) -> None:
    """Refuse what EC2 never launches.

    Args:
        spec: the cluster.
        settings: what the provider does where the cluster says nothing.

    Raises:
        InvalidInput: it names all that is too much.
    """
    if found := [*_names(spec), *_tags(spec), *_disks(spec, settings)]:
        raise InvalidInput("; ".join(found), problems=found)


def _names(spec: ClusterSpec) -> Iterator[str]:
    primaries = (spec.primary_security_group, *spec.additional_primary_groups)
    workers = (spec.worker_security_group, *spec.additional_worker_groups)
    named = [
        ("image", spec.custom_ami),
        ("instance_profile", spec.job_flow_role),
        ("key_name", spec.key_name),
        *(("security_groups", one) for one in dict.fromkeys((*primaries, *workers))),
    ]
    for name, value in named:
        try:
            checked({name: value or ""})
        except InvalidInput as error:
            yield error.message


def _tags(spec: ClusterSpec) -> Iterator[str]:
    own = {*tags.OF_MACHINES, "Name"}
    if len(spec.tags.keys() | own) > MOST_TAGS:
        yield (
            f"tags: has {len(spec.tags.keys() - own)}, and {len(own)} are Atoll's own; an instance "
            f"of EC2 has {MOST_TAGS} at most: name {MOST_TAGS - len(own)} or fewer"
        )


def _disks(spec: ClusterSpec, settings: Mapping[str, str]) -> Iterator[str]:
    root = spec.root_volume_gib or root_gib(settings)
    for fleet in spec.fleets:
        for one in fleet.types:
            disk = one.disk_gib or 0
            if root + disk > MOST_GIB:
                yield (
                    f"fleet '{fleet.name}': {one.instance_type} has {disk:,} GiB and the "
                    f"root volume {root:,}, which are one volume here; {MOST_GIB:,} are the most"
                )
