"""What every mesh begins with: the form that all assets share, and the types of assets."""

from __future__ import annotations

from typing import Any

from atoll.mesh.model.catalog import AssetType
from atoll.mesh.model.describing import COMMON, FieldType, FormField, FormType
from atoll.mesh.model.record import new_id
from atoll.mesh.store.writing import Transaction

REFRESH_FREQUENCIES = (
    "REAL_TIME",
    "HOURLY",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "QUARTERLY",
    "YEARLY",
    "ON_DEMAND",
    "NEVER",
)
ASSET_TYPES = {
    "Table": "Rows and columns: Parquet, CSV or Lance.",
    "VectorCollection": "Vectors that are searched by their nearness.",
    "View": "Rows and columns that are made of others when they are read.",
    "FileSet": "Files that are no table.",
}
# Classification and personal data are no form's: access depends on them.
_FIELDS = (
    FormField(
        name="business_unit",
        description="The line of business that the data belong to.",
        is_required=True,
        is_facet=True,
        most=200,
    ),
    FormField(
        name="data_owner_contact",
        description="How to reach whoever answers for the data.",
        is_required=True,
        most=500,
    ),
    FormField(
        name="product_owner",
        description="Who decides what becomes of the data as a product.",
        is_required=True,
        most=200,
    ),
    FormField(
        name="refresh_frequency",
        type=FieldType.CHOICE,
        description="How often the data are made anew.",
        is_required=True,
        is_facet=True,
        choices=REFRESH_FREQUENCIES,
    ),
)


def add_shipped(changes: Transaction[Any], stamp: dict[str, Any]) -> None:
    """Add what comes with Atoll to a mesh that has just begun.

    Args:
        changes: the transaction that makes the mesh.
        stamp: who makes it, and when: the fields that all records have.
    """
    changes.add(
        FormType(
            id=new_id(FormType.KIND),
            name=COMMON,
            description="What everybody wants to know of data.",
            fields=_FIELDS,
            **stamp,
        )
    )
    for name, description in ASSET_TYPES.items():
        changes.add(
            AssetType(
                id=new_id(AssetType.KIND),
                name=name,
                description=description,
                form_types=(COMMON,),
                **stamp,
            )
        )
