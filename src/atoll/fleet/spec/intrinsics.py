"""CloudFormation's functions: `Ref`, `Fn::Sub`, `Fn::If` and the others that a cluster needs.

A `Resolver` turns a value with functions into one without. What a function cannot give is put down
with its path, and stands as an empty text. A function that Atoll does not have is refused by name.

Source: AWS CloudFormation user guide, intrinsic function reference and pseudo parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from atoll.fleet.spec.parameters import Parameter
from atoll.fleet.spec.reader import Reader, shown

LONGEST_RESULT = 100_000
"""Characters that one function may give: Fn::Sub in Fn::Sub could otherwise fill the memory."""
DEEPEST_CONDITION = 8

_VARIABLE = re.compile(r"\$\{(!?)([^{}]*)\}")
_PLACE = re.compile(r"0*([0-9]{1,9})")
_NO_VALUE = object()
Attributes = Mapping[tuple[str, str], str]
"""(logical id, attribute) to value; the attribute "Ref" is what `Ref` gives."""


class Resolver:
    """Resolves the functions in one template."""

    def __init__(
        self,
        reader: Reader,
        *,
        parameters: Mapping[str, Parameter],
        pseudo: Mapping[str, str],
        mappings: object,
        conditions: object,
        attributes: Attributes,
    ) -> None:
        """Take what functions may refer to.

        Args:
            reader: takes what is wrong.
            parameters: by name.
            pseudo: pseudo parameters, such as "AWS::Region", to value.
            mappings, conditions: the template's sections.
            attributes: of the resources; a resource that is not here is not known yet.
        """
        self._reader = reader
        self._parameters = parameters
        self._pseudo = pseudo
        self._mappings = mappings if isinstance(mappings, dict) else {}
        self._conditions = conditions if isinstance(conditions, dict) else {}
        self._attributes = attributes
        self._deep = 0
        self._truths: dict[str, bool | None] = {}
        self._functions: Mapping[str, Callable[[object, str], object]] = {
            "Ref": self._ref,
            "Condition": lambda name, path: self.condition(name, path),
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Split": self._split,
            "Fn::Select": self._select,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Equals": self._equals,
            "Fn::Not": self._not,
            "Fn::And": self._and,
            "Fn::Or": self._or,
        }

    def value(self, value: object, path: str) -> object:
        """Resolve a value and all in it; what is `AWS::NoValue` is left out."""
        found = self._value(value, path)
        return {} if found is _NO_VALUE else found

    def _value(self, value: object, path: str) -> object:
        if isinstance(value, list):
            items = [self._value(one, f"{path}[{place}]") for place, one in enumerate(value)]
            return [one for one in items if one is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        function = next((name for name in value if _is_function(name)), None)
        if function is None:
            found = {name: self._value(one, f"{path}.{name}") for name, one in value.items()}
            return {name: one for name, one in found.items() if one is not _NO_VALUE}
        if len(value) > 1:
            return self._wrong(path, f"{function} stands with other keys; it must stand alone")
        if function not in self._functions:
            known = ", ".join(self._functions)
            return self._wrong(path, f"not supported by Atoll: {function}; it knows {known}")
        return self._functions[function](value[function], path)

    def condition(self, name: object, path: str) -> bool:
        """Tell whether a condition of the template holds."""
        if not isinstance(name, str) or name not in self._conditions:
            self._wrong(path, f"the condition {shown(name)} is not in the template")
            return False
        if name not in self._truths:
            if self._deep == DEEPEST_CONDITION:
                self._wrong(path, f"stands on more than {DEEPEST_CONDITION} conditions in a row")
                return False
            self._truths[name] = None  # being worked out
            self._deep += 1
            self._truths[name] = self._truth(self._conditions[name], f"Conditions.{name}")
            self._deep -= 1
        truth = self._truths[name]
        if truth is None:
            self._wrong(path, f"the condition {shown(name)} depends on itself")
        return bool(truth)

    def _truth(self, value: object, path: str) -> bool:
        found = self._value(value, path)
        if isinstance(found, bool):
            return found
        if found in ("true", "false"):
            return found == "true"
        self._wrong(path, f"{shown(found)} is neither true nor false")
        return False

    def _ref(self, name: object, path: str) -> object:
        if name == "AWS::NoValue":
            return _NO_VALUE
        found = self._named(name)
        if found is None:
            return self._wrong(path, self._why_not(name))
        return found

    def _named(self, name: object) -> str | list[str] | None:
        if not isinstance(name, str):
            return None
        if name in self._parameters:
            return self._parameters[name].resolved
        return self._pseudo.get(name, self._attributes.get((name, "Ref")))

    def _why_not(self, name: object) -> str:
        return (
            f"{shown(name)} is no parameter, no pseudo parameter, and no resource that is known "
            "before the cluster runs"
        )

    def _get_att(self, value: object, path: str) -> object:
        parts = self._texts(value, path, "Fn::GetAtt", (2,))
        if parts is None:
            return ""
        found = self._attributes.get((parts[0], parts[1]))
        return self._wrong(path, self._why_not(".".join(parts))) if found is None else found

    def _sub(self, value: object, path: str) -> object:
        variables: object = {}
        if isinstance(value, list) and len(value) == 2:
            value, variables = value
        if not isinstance(value, str) or not isinstance(variables, dict):
            return self._wrong(path, "Fn::Sub takes a text, or a text and a mapping")
        known = {name: self._value(one, f"{path}.{name}") for name, one in variables.items()}
        pieces: list[str] = []
        size = end = 0
        for found in _VARIABLE.finditer(value):
            pieces += [value[end : found.start()], self._variable(found, known, path)]
            end, size = found.end(), size + len(pieces[-2]) + len(pieces[-1])
            if size > LONGEST_RESULT:
                return self._wrong(path, f"gives more than {LONGEST_RESULT:,} characters")
        return "".join([*pieces, value[end:]])

    def _variable(self, found: re.Match[str], known: Mapping[str, object], path: str) -> str:
        name = found[2].strip()
        if found[1]:
            return f"${{{found[2]}}}"
        if name in known:
            value = known[name]
        elif "." in name:
            value = self._get_att(name.split(".", 1), path)
        else:
            value = self._ref(name, path)
        if isinstance(value, str):
            return value
        self._wrong(path, f"${{{name}}} is no text")
        return ""

    def _join(self, value: object, path: str) -> object:
        if not (isinstance(value, list) and len(value) == 2):
            return self._wrong(path, "Fn::Join takes a delimiter and a list")
        parts = self._texts(value[1], f"{path}[1]", "Fn::Join", None)
        if not isinstance(value[0], str) or parts is None:
            return self._wrong(path, "Fn::Join takes a delimiter and a list")
        if sum(map(len, parts)) + len(parts) * len(value[0]) > LONGEST_RESULT:
            return self._wrong(path, f"gives more than {LONGEST_RESULT:,} characters")
        return value[0].join(parts)

    def _split(self, value: object, path: str) -> object:
        parts = self._texts(value, path, "Fn::Split", (2,))
        if parts is None or not parts[0]:
            return self._wrong(path, "Fn::Split takes a delimiter and a text") and []
        return parts[1].split(parts[0])

    def _select(self, value: object, path: str) -> object:
        if not (isinstance(value, list) and len(value) == 2):
            return self._wrong(path, "Fn::Select takes a place and a list")
        place, items = self._value(value[0], f"{path}[0]"), self._value(value[1], f"{path}[1]")
        digits = _PLACE.fullmatch(place) if isinstance(place, str) else None
        if digits is None or not isinstance(items, list) or int(digits[1]) >= len(items):
            return self._wrong(path, f"Fn::Select finds no item {shown(place)}")
        return items[int(digits[1])]

    def _find_in_map(self, value: object, path: str) -> object:
        keys = self._texts(value, path, "Fn::FindInMap", (3,))
        found: object = self._mappings
        for key in keys or ():
            found = found.get(key) if isinstance(found, dict) else None
        if keys is None or not isinstance(found, str | list | bool):
            return self._wrong(path, f"Fn::FindInMap finds nothing at {shown(keys)}")
        return found

    def _if(self, value: object, path: str) -> object:
        if not (isinstance(value, list) and len(value) == 3):
            return self._wrong(path, "Fn::If takes a condition and two values")
        place = 1 if self.condition(value[0], path) else 2
        return self._value(value[place], path)

    def _equals(self, value: object, path: str) -> object:
        if not (isinstance(value, list) and len(value) == 2):
            return self._wrong(path, "Fn::Equals takes two values")
        first, second = (self._value(one, path) for one in value)
        return _as_text(first) == _as_text(second)

    def _not(self, value: object, path: str) -> object:
        return not self._truths_of(value, path, "Fn::Not", 1, 1)[0]

    def _and(self, value: object, path: str) -> object:
        return all(self._truths_of(value, path, "Fn::And", 2, 10))

    def _or(self, value: object, path: str) -> object:
        return any(self._truths_of(value, path, "Fn::Or", 2, 10))

    def _truths_of(
        self, value: object, path: str, function: str, fewest: int, most: int
    ) -> list[bool]:
        if not (isinstance(value, list) and fewest <= len(value) <= most):
            self._wrong(path, f"{function} takes {fewest} to {most} conditions in a list")
            return [False]
        return [self._truth(one, f"{path}[{place}]") for place, one in enumerate(value)]

    def _texts(
        self, value: object, path: str, function: str, lengths: tuple[int, ...] | None
    ) -> list[str] | None:
        found = self._value(value, path)
        is_list = isinstance(found, list) and all(isinstance(one, str) for one in found)
        if is_list and isinstance(found, list) and (lengths is None or len(found) in lengths):
            return found
        self._wrong(path, f"{function} does not take {shown(value)}")
        return None

    def _wrong(self, path: str, message: str) -> str:
        self._reader.problem(path, message)
        return ""


def _is_function(name: object) -> bool:
    return isinstance(name, str) and (name in ("Ref", "Condition") or name.startswith("Fn::"))


def _as_text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
