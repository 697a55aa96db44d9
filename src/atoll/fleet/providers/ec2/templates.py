"""Launch templates: one for each cluster, fleet and content, named by what is in it.

A fleet's orders share a template as long as nothing about them changes. All of a cluster's go when
its last kept address is released.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress

from atoll.core.errors import Conflict, NotFound
from atoll.fleet.providers.ec2 import launching, tags
from atoll.fleet.providers.ec2.api import Api, code_of, filters
from atoll.fleet.providers.port import FleetRequest, Placement

_HASH_CHARACTERS = 16


def ensure(
    api: Api, placement: Placement, settings: Mapping[str, str], request: FleetRequest
) -> str:
    """Return the name of the template for a fleet; it is made where it is not there yet.

    Raises:
        InvalidInput: the user data is too long.
    """
    content = launching.common(placement, settings, api.region)
    content["UserData"] = base64.b64encode(content["UserData"]).decode()
    if groups := launching.groups(settings):
        content["SecurityGroupIds"] = groups
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    name = f"atoll-{placement.cluster_id}-{request.fleet_id}-{digest[:_HASH_CHARACTERS]}"
    own = {tags.CLUSTER: placement.cluster_id, tags.FLEET: request.fleet_id}
    try:
        api.call(
            "create_launch_template",
            LaunchTemplateName=name,
            ClientToken=tags.client_token(placement.cluster_id, name),
            LaunchTemplateData=content,
            TagSpecifications=tags.specifications(own, "launch-template"),
        )
    except Conflict as error:
        if not code_of(error).startswith("InvalidLaunchTemplateName.AlreadyExists"):
            raise
    return name


def sweep(api: Api, cluster_id: str) -> None:
    """Remove what a cluster that ended leaves beside its machines: templates, placement groups.

    A placement group that still holds a machine on its way out stays; it costs nothing.
    """
    own = filters(tag={tags.CLUSTER: cluster_id})
    for one in list(api.pages("describe_launch_templates", "LaunchTemplates", Filters=own)):
        with suppress(NotFound):
            api.call("delete_launch_template", LaunchTemplateId=one["LaunchTemplateId"])
    for one in api.call("describe_placement_groups", Filters=own)["PlacementGroups"]:
        with suppress(NotFound, Conflict):
            api.call("delete_placement_group", GroupName=one["GroupName"])
