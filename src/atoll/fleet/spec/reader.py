"""Values somebody wrote, taken apart: what is wrong is collected with its path, nothing is ignored.

A `Reader` belongs to one document. Each mapping in it becomes a `Section`, whose accessors turn a
value into what it must be; they put down a problem and return the fallback where it is not. A name
that no accessor asked for is unknown; `Reader.close_sections` says so, with the nearest known name.

Numbers and truth values are taken as such or as text: CloudFormation's users write both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from atoll.core.errors import InvalidInput
from atoll.core.text import counted, printable, some_of

LONGEST_TEXT = 10_280
"""Characters of a text in EMR's API (XmlString)."""

# Source: EMR API reference, pattern of XmlString: no control characters, no lone surrogates.
_TEXT = re.compile("[\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff\r\n\t]*")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(?:\.0+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_SHOWN = 60
# Problems that are listed, or worth a search for what was meant: nobody reads more.
_MOST = 200

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True)
class Problem:
    """Something wrong.

    Attributes:
        path: where, such as "Instances.InstanceFleets[1].TargetSpotCapacity".
        message: what, and how to mend it.
    """

    path: str
    message: str


@dataclass(frozen=True)
class Notice:
    """Something taken, but not done as EMR would.

    Attributes:
        path: where it was asked for; "" for the whole.
        message: what is different.
    """

    path: str
    message: str


def refusal(problems: Iterable[Problem]) -> InvalidInput:
    """Make one error of all problems; `details` have them one by one."""
    found = list(dict.fromkeys(problems))
    said = [f"{one.path}: {one.message}" if one.path else one.message for one in found]
    start = f"{counted(len(found), 'problem')}: " if len(found) > 1 else ""
    listed = [{"path": one.path, "message": one.message} for one in found[:_MOST]]
    return InvalidInput(start + some_of(said, 20, separator="; "), problems=listed)


def shown(value: object) -> str:
    """Write a value of somebody's for a message: short, in one line."""
    text = printable(repr(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


@dataclass
class Reader:
    """What was found in one document.

    Attributes:
        problems: what is wrong, in the order found.
        notices: what is taken but not done.
    """

    problems: list[Problem] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    _wrong: set[str] = field(default_factory=set)
    _sections: list[Section] = field(default_factory=list)

    def problem(self, path: str, message: str) -> None:
        """Put down something wrong."""
        self.problems.append(Problem(path, message))
        self._wrong.add(path)

    def is_wrong(self, path: str) -> bool:
        """Tell whether there is a problem at a path, or at what it is a part of."""
        ends = [found.start() for found in re.finditer(r"[.\[]", path)]
        return any(path[:end] in self._wrong for end in (*ends, len(path)))

    def section(self, value: object, path: str) -> Section:
        """Take a mapping; anything else is a problem and reads as an empty one."""
        values: dict[str, object] = {}
        if isinstance(value, Mapping):
            values = {str(name): one for name, one in value.items()}
        else:
            self.problem(path, f"{shown(value)} is no mapping of names to values")
        section = Section(values, path, self)
        self._sections.append(section)
        return section

    def close_sections(self) -> None:
        """Put down the names that no accessor asked for."""
        for section in self._sections:
            for name in section.unasked():
                is_early = len(self.problems) < _MOST
                near = get_close_matches(name, section.asked, n=1) if is_early else []
                hint = f"did you mean {near[0]}?" if near else _known(section.asked)
                self.problem(section.path_of(name), f"there is no such property; {hint}")
        self._sections.clear()


def _known(names: Iterable[str]) -> str:
    return f"known are {some_of(sorted(names), 12)}"


class Section:
    """One mapping of a document; see the module."""

    def __init__(self, values: Mapping[str, object], path: str, reader: Reader) -> None:
        """Keep the values; `path` is where they stand."""
        self.path = path
        self.asked: set[str] = set()
        self._values = values
        self._reader = reader
        self._inner: dict[str, Section] = {}

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a value under a name."""
        return name in self._values

    def names(self) -> list[str]:
        """List the names, as all of them asked for: each is a key of the user's own."""
        self.asked.update(self._values)
        return list(self._values)

    def unasked(self) -> list[str]:
        """List the names that no accessor asked for."""
        return [name for name in self._values if name not in self.asked]

    def path_of(self, name: str) -> str:
        """Return the path of a value."""
        name = printable(name)
        return f"{self.path}.{name}" if self.path else name

    def problem(self, name: str, message: str) -> None:
        """Put down something wrong with a value; "" is the section itself."""
        self._reader.problem(self.path_of(name) if name else self.path, message)

    def notice(self, name: str, message: str) -> None:
        """Put down that a value is taken but not done as EMR would."""
        self._reader.notices.append(Notice(self.path_of(name), message))

    def refuse(self, name: str, message: str) -> None:
        """Put down a problem if there is a value other than an empty one."""
        if self.raw(name) not in (None, [], {}, ""):
            self.problem(name, f"not supported by Atoll: {message}")

    def accept(self, name: str, message: str) -> None:
        """Put down a notice if there is a value."""
        if self.raw(name) is not None:
            self.notice(name, message)

    def raw(self, name: str) -> object:
        """Return a value as it is written; None where there is none."""
        self.asked.add(name)
        value = self._values.get(name)
        if value is None and name in self._values:
            self.problem(name, "is null; write a value or leave it out")
        return value

    def text(self, name: str, fallback: str = "", *, longest: int = LONGEST_TEXT) -> str:
        """Return a text; a number or a truth value is the text it is written as."""
        value = self.raw(name)
        return fallback if value is None else self._text(name, value, fallback, longest)

    def needed(self, name: str, *, longest: int = LONGEST_TEXT) -> str:
        """Return a text that must be there."""
        value = self.text(name, longest=longest)
        if not value and not self._reader.is_wrong(self.path_of(name)):
            self.problem(name, "is missing; give it")
        return value

    def optional(self, name: str, *, longest: int = LONGEST_TEXT) -> str | None:
        """Return a text, None where there is none or an empty one."""
        return self.text(name, longest=longest) or None

    def whole(self, name: str, fallback: int) -> int:
        """Return a whole number."""
        value = self.raw(name)
        if value is None:
            return fallback
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
            return value
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            return int(value)
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            return int(value.strip().split(".")[0])
        self.problem(name, f"{shown(value)} is no whole number")
        return fallback

    def maybe_whole(self, name: str) -> int | None:
        """Return a whole number, None where there is none."""
        return self.whole(name, 0) if self.raw(name) is not None else None

    def number(self, name: str, fallback: float) -> float:
        """Return a finite number."""
        value = self.raw(name)
        if value is None:
            return fallback
        found = math.nan
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
            try:
                found = float(str(value))
            except ValueError:  # an int of more digits than Python will write
                found = math.nan
        if math.isfinite(found):
            return found
        self.problem(name, f"{shown(value)} is no number")
        return fallback

    def maybe_number(self, name: str) -> float | None:
        """Return a finite number, None where there is none."""
        return self.number(name, 0.0) if self.raw(name) is not None else None

    def flag(self, name: str, fallback: bool) -> bool:
        """Return a truth value."""
        value = self.raw(name)
        if value is None or isinstance(value, bool):
            return fallback if value is None else value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        self.problem(name, f"{shown(value)} is neither true nor false")
        return fallback

    def choice(self, name: str, fallback: Choice) -> Choice:
        """Return one of a few words, however it is spelled: case, "-" and "_" do not count."""
        value = self.raw(name)
        kind = type(fallback)
        if value is None:
            return fallback
        words = {_plain(word): word for word in kind}
        if isinstance(value, str) and _plain(value) in words:
            return words[_plain(value)]
        self.problem(name, f"{shown(value)} is none of {', '.join(kind)}")
        return fallback

    def maybe_choice(self, name: str, kind: type[Choice]) -> Choice | None:
        """Return one of a few words, None where there is none."""
        return self.choice(name, next(iter(kind))) if self.raw(name) is not None else None

    def texts(self, name: str, *, longest: int = LONGEST_TEXT) -> tuple[str, ...]:
        """Return the texts of a list."""
        found = self._list(name)
        return tuple(
            self._text(f"{name}[{place}]", one, "", longest) for place, one in enumerate(found)
        )

    def inner(self, name: str) -> Section:
        """Return the mapping under a name; an empty one where there is none."""
        if name not in self._inner:
            value = self.raw(name)
            found = self._reader.section({} if value is None else value, self.path_of(name))
            self._inner[name] = found
        return self._inner[name]

    def sections(self, name: str) -> list[Section]:
        """Return the mappings of a list."""
        return [
            self._reader.section(one, self.path_of(f"{name}[{place}]"))
            for place, one in enumerate(self._list(name))
        ]

    def _list(self, name: str) -> list[object]:
        value = self.raw(name)
        if isinstance(value, list | tuple):
            return list(value)
        if value is not None:
            self.problem(name, f"{shown(value)} is no list")
        return []

    def _text(self, name: str, value: object, fallback: str, longest: int) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            value = f"{value}" if abs(value) < 10**18 else ""
        if not isinstance(value, str) or not _TEXT.fullmatch(value):
            self.problem(name, f"{shown(value)} is no text, or has control characters")
        elif len(value) > longest:
            self.problem(name, f"has {len(value):,} characters; {longest:,} are the most")
        else:
            return value
        return fallback


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "-")
