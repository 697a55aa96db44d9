"""Parameters of a CloudFormation template: what may be given, and what was.

Source: AWS CloudFormation user guide, Parameters. Wordings are CloudFormation's where it has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atoll.fleet.spec.reader import Reader, Section, shown

LONGEST_VALUE = 4096
"""Characters of a parameter's value."""
HIDDEN = "****"
_PATTERN_LENGTH = 1000
_LISTS = ("CommaDelimitedList", "List<")
_NUMBERS = ("Number", "List<Number>")
_AWS_TYPE = re.compile(r"AWS::EC2::[A-Za-z:]+|AWS::Route53::HostedZone::Id")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_NAME = re.compile(r"[A-Za-z0-9]{1,255}")


@dataclass(frozen=True)
class Parameter:
    """One parameter and its value.

    Attributes:
        name: its logical id.
        type: as the template has it.
        value: the text given, or the default.
        is_hidden: the value is not shown (NoEcho).
        description: for people.
    """

    name: str
    type: str
    value: str
    is_hidden: bool = False
    description: str = ""

    @property
    def shown(self) -> str:
        """The value as it may be shown."""
        return HIDDEN if self.is_hidden else self.value

    @property
    def resolved(self) -> str | list[str]:
        """What a `Ref` stands for: a list for the types that are one."""
        if not self.type.startswith(_LISTS):
            return self.value
        return [one.strip() for one in self.value.split(",")] if self.value else []


def read_parameters(
    section: Section, given: Mapping[str, str], reader: Reader, *, is_launched: bool = True
) -> dict[str, Parameter]:
    """Read the parameters of a template.

    Args:
        section: the template's Parameters.
        given: name to value; a list is written with commas.
        reader: takes what is wrong.
        is_launched: whether each must have a value; without one it is read as empty.
    """
    found = {}
    for name in section.names():
        one = section.inner(name)
        if not _NAME.fullmatch(name):
            section.problem(name, "is no name of a parameter: letters and digits only")
        found[name] = _read_parameter(name, one, given.get(name), is_needed=is_launched)
    unknown = sorted(set(given) - set(found))
    if unknown:
        reader.problem("Parameters", f"[{', '.join(unknown)}] do not exist in the template")
    return found


def _read_parameter(
    name: str, section: Section, given: str | None, *, is_needed: bool
) -> Parameter:
    kind = section.needed("Type")
    is_hidden = section.flag("NoEcho", False)
    description = section.text("Description", longest=4000)
    default = section.text("Default", longest=LONGEST_VALUE) if "Default" in section else None
    value = default if given is None else given
    if not _is_type(kind):
        section.problem("Type", f"{shown(kind)} is no type of a parameter that Atoll resolves")
    if value is None and is_needed:
        section.problem("", "must have a value: give one, it has no default")
    parameter = Parameter(name, kind, value or "", is_hidden, description)
    _check(parameter, section, is_given=value is not None)
    return parameter


def _is_type(kind: str) -> bool:
    inner = kind.removeprefix("List<").removesuffix(">") if kind.startswith("List<") else kind
    if kind.startswith("List<"):
        return inner == "Number" or _AWS_TYPE.fullmatch(inner) is not None
    return inner in ("String", "Number", "CommaDelimitedList") or bool(_AWS_TYPE.fullmatch(inner))


def _check(parameter: Parameter, section: Section, *, is_given: bool) -> None:
    said = section.text("ConstraintDescription", longest=4000)
    allowed = section.texts("AllowedValues", longest=LONGEST_VALUE)
    pattern = _pattern(section)
    low, high = section.maybe_number("MinValue"), section.maybe_number("MaxValue")
    shortest, longest = section.maybe_whole("MinLength"), section.maybe_whole("MaxLength")
    if not is_given:
        return

    def wrong(message: str) -> None:
        section.problem("", f"Parameter '{parameter.name}' {said or message}")

    values = parameter.resolved if isinstance(parameter.resolved, list) else [parameter.value]
    if allowed and any(one not in allowed for one in values):
        wrong(f"must be one of AllowedValues: {', '.join(allowed)}")
    if pattern and not all(pattern.fullmatch(one) for one in values):
        wrong(f"must match pattern {pattern.pattern}")
    size = len(parameter.value)
    if size > LONGEST_VALUE or (longest is not None and size > longest):
        wrong(f"must contain at most {LONGEST_VALUE if longest is None else longest} characters")
    if shortest is not None and size < shortest:
        wrong(f"must contain at least {shortest} characters")
    if parameter.type in _NUMBERS:
        _check_numbers(values, low, high, wrong)


def _check_numbers(
    values: list[str], low: float | None, high: float | None, wrong: Callable[[str], None]
) -> None:
    for one in values:
        if not _NUMBER.fullmatch(one):
            wrong("must be a number")
        elif low is not None and float(one) < low:
            wrong(f"must be a number not less than {low:g}")
        elif high is not None and float(one) > high:
            wrong(f"must be a number not greater than {high:g}")


def _pattern(section: Section) -> re.Pattern[str] | None:
    text = section.text("AllowedPattern", longest=_PATTERN_LENGTH)
    try:
        return re.compile(text) if text else None
    except (re.error, OverflowError, RecursionError) as error:
        section.problem("AllowedPattern", f"is no regular expression: {error}")
        return None
