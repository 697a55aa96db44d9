"""Proposes which columns hold personal data, and of what kind; people decide.

Reading order: `model` the nouns, `vocabulary` and `naming` what names say, `values` and `checks`
what values say, `leaves` how nested columns come apart, `detector` how all of it is weighed.
"""

from atoll.mesh.pii.detector import propose
from atoll.mesh.pii.model import Column, Kind, Proposal

__all__ = ["Column", "Kind", "Proposal", "propose"]
