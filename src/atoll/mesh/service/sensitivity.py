"""How sensitive an asset is: its classification, and which of its columns hold personal data.

Whoever describes an asset may say that it is more sensitive; only its owners say that it is less.
More takes effect at once, everywhere; less once it is published.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.mesh.model.catalog import Asset, Classification, PiiFlag, PiiStatus
from atoll.mesh.model.record import ColumnName, Line
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Right, operation
from atoll.mesh.service.assets import changed_asset, column_of, with_columns

ColumnNames = Annotated[tuple[ColumnName, ...], Meta(min_length=1, max_length=1000)]


class Classified(Ask, frozen=True, kw_only=True):
    """How far data may go."""

    classification: Classification


class PersonalColumns(Ask, frozen=True, kw_only=True):
    """Some columns, and what they tell of persons.

    Attributes:
        kind: such as "email" or "person_name".
        evidence: why you think so; no values of the data.
    """

    columns: ColumnNames
    kind: Annotated[str, Meta(max_length=64, pattern=r"^[a-z][a-z0-9_]*$(?!\n)")]
    evidence: Line = ""


class PiiDecision(Ask, frozen=True, kw_only=True):
    """Whether flagged columns do tell of persons: CONFIRMED, or else REFUSED."""

    columns: ColumnNames
    is_personal: bool


@operation("POST", "/assets/{asset_id}/classification", Right.DESCRIBE)
def classify_asset(call: Call, asset: Asset, ask: Classified) -> Asset:
    """Say that an asset may go less far than it does; that holds at once, published or not."""
    if asset.classification.is_stricter_than(ask.classification):
        raise InvalidInput(
            f"'{asset.name}' is {asset.classification}, which is stricter; an owner lets it go "
            "further by DeclassifyAsset"
        )
    return changed_asset(call, asset, classification=ask.classification)


@operation("POST", "/assets/{asset_id}/declassification", Right.OWN)
def declassify_asset(call: Call, asset: Asset, ask: Classified) -> Asset:
    """Let an asset go further than it does; that holds once it is published."""
    if ask.classification.is_stricter_than(asset.classification):
        raise InvalidInput(
            f"'{asset.name}' is {asset.classification}, which is less strict; use ClassifyAsset"
        )
    return changed_asset(call, asset, classification=ask.classification)


@operation("POST", "/assets/{asset_id}/pii-flags", Right.DESCRIBE)
def flag_pii(call: Call, asset: Asset, ask: PersonalColumns) -> Asset:
    """Say that columns hold personal data: they are masked from now on, until an owner decides.

    A column that is flagged already stays as it is.
    """
    flag = PiiFlag(ask.kind, PiiStatus.PROPOSED, ask.evidence)
    found = [column_of(asset, name) for name in ask.columns]
    said = [one if one.pii and one.pii.is_personal else replace(one, pii=flag) for one in found]
    return changed_asset(call, asset, columns=with_columns(asset, said))


@operation("POST", "/assets/{asset_id}/pii-decisions", Right.OWN)
def decide_pii(call: Call, asset: Asset, ask: PiiDecision) -> Asset:
    """Confirm that flagged columns hold personal data, or refuse it: they are not masked then."""
    status = PiiStatus.CONFIRMED if ask.is_personal else PiiStatus.REFUSED
    said = []
    for name in ask.columns:
        column = column_of(asset, name)
        if column.pii is None:
            raise InvalidInput(f"nobody has flagged a column {name!r}; see FlagPii", column=name)
        said.append(replace(column, pii=replace(column.pii, status=status)))
    call.tell(status=status, count=len(said))
    return changed_asset(call, asset, columns=with_columns(asset, said))
