"""All parts of a blueprint, in the order in which they are made."""

from __future__ import annotations

from typing import Any

from atoll.mesh.cli.blueprint.catalog import (
    Assets,
    DataProducts,
    DataSources,
    DisabledSources,
    PublishedAssets,
    PublishedProducts,
    Runs,
)
from atoll.mesh.cli.blueprint.describing import (
    AssetTypes,
    DisabledFormTypes,
    DisabledGlossaries,
    DisabledTerms,
    FormTypes,
    Glossaries,
    Rules,
    Terms,
)
from atoll.mesh.cli.blueprint.organisation import (
    Delegations,
    Grants,
    Guardrails,
    Leavers,
    LowerGuardrails,
    Members,
    Owners,
    Projects,
    Units,
)
from atoll.mesh.cli.blueprint.people import Domains, Groups, Users
from atoll.mesh.cli.blueprint.places import Associations, Environments, Removed, Suspended, Targets
from atoll.mesh.cli.blueprint.section import Section

SECTIONS: tuple[Section[Any], ...] = (
    Domains(),
    Groups(),
    Users(),
    Units(),
    LowerGuardrails(),
    Guardrails(),
    Projects(),
    Members(),
    Grants(),
    Removed(),
    Associations(),
    Environments(),
    Glossaries(),
    Terms(),
    FormTypes(),
    AssetTypes(),
    Rules(),
    Delegations(),
    Targets(),
    DataSources(),
    Runs(),
    Assets(),
    PublishedAssets(),
    DataProducts(),
    PublishedProducts(),
    DisabledSources(),
    DisabledFormTypes(),
    DisabledTerms(),
    DisabledGlossaries(),
    Suspended(),
    Leavers(),
    Owners(),
)
