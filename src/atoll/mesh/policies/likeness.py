"""Whether policies tell two things apart by more than the caller's roles in them.

Nearly every policy asks of a thing only whether the caller is in some of its roles, and for its
plain values. Under such policies roles that the caller is not in change nothing, nor does the id,
so that one decision holds for all things that are alike but for these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What is compared as it is. Whatever else there is may be asked for by `principal in` alone.
_PLAIN = frozenset({"classification", "status", "unmasks", "is_self", "is_service"})
_SEARCHED = frozenset({"Listing", "Asset", "DataProduct"})


def asks_for_roles_only(policy: Mapping[str, Any]) -> bool:
    """Tell whether a policy is of that form; of one in another, all of a thing must be told.

    Args:
        policy: as Cedar writes it in JSON.
    """
    scope = policy["resource"]
    names_none = scope["op"] == "All" or (scope["op"] == "is" and "in" not in scope)
    return names_none and all(_is_plain(one["body"]) for one in policy["conditions"])


def singled_out(policy: Any) -> str:
    """Name one thing that people search for and that a policy speaks of by its id, if any.

    What is found is counted by project and classification, not thing by thing: such a policy would
    hide something and have it counted all the same.

    Args:
        policy: as Cedar writes it in JSON, or a part of that.
    """
    match policy:
        case {"type": str(kind), "id": str(id_)} if kind in _SEARCHED:
            return f'{kind}::"{id_}"'
        case dict():
            return next(filter(None, map(singled_out, policy.values())), "")
        case list():
            return next(filter(None, map(singled_out, policy)), "")
        case _:
            return ""


def _is_plain(expression: Any) -> bool:
    match expression:
        case {"in": {"left": {"Var": "principal"}, "right": right}} if _is_of_resource(right):
            return True
        case {"has": {"left": left}} if _is_of_resource(left):
            return True
        case {".": {"left": left, "attr": name}} if _is_of_resource(left):
            return name in _PLAIN
        case {"Var": "resource"}:
            return False
        case dict():
            return all(map(_is_plain, expression.values()))
        case list():
            return all(map(_is_plain, expression))
        case _:
            return True


def _is_of_resource(expression: Any) -> bool:
    match expression:
        case {".": {"left": left}}:
            return _is_of_resource(left)
        case _:
            return bool(expression == {"Var": "resource"})
