"""Generates a made-up plant: tables as SAP, MES and SCADA deliver them, with people and dirt.

Nobody in them exists. What is personal, how tables join and which rows are wrong on purpose stands
in the manifest beside them: a truth to hold detectors and quality rules against.

Reading order: `model` the nouns, `draws` and `texts` how values are made, `keys` and `people` what
the tables share, then `sap`, `mes`, `scada`, `office` and `lookalikes`, the tables; `writing`.
"""

from atoll.mesh.plant.model import Column, Dirt, Reference
from atoll.mesh.plant.writing import MANIFEST, Manifest, Table, generate, read_manifest

__all__ = [
    "MANIFEST",
    "Column",
    "Dirt",
    "Manifest",
    "Reference",
    "Table",
    "generate",
    "read_manifest",
]
