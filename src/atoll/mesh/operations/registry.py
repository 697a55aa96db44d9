"""What an operation is: a function with an address and a right, known to every door.

HTTP routes, commands, the OpenAPI document, Cedar's actions and the matrix of who may do what are
all made from this one list, so none of them can lack one, or decide otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, wraps
from inspect import getdoc
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from atoll.mesh.model.record import Name, Record, Text
from atoll.mesh.policies.decisions import Action


class Right(StrEnum):
    """What an operation takes: the groups of actions that the policies speak of."""

    BROWSE = "Browse"  # read what is there for everybody in the domain
    ACT = "Act"  # act for oneself
    GOVERN = "Govern"  # set the guardrails of a domain unit
    CREATE = "Create"  # make something in a domain unit, by a policy grant
    VIEW = "View"  # see what is a project's own
    DISCOVER = "Discover"  # see what is listed for others
    CONSUME = "Consume"  # ask for data on behalf of a project
    DESCRIBE = "Describe"  # keep descriptions, terms and forms
    CONTRIBUTE = "Contribute"  # make and change what is a project's own
    OWN = "Own"  # decide for a project
    REVIEW = "Review"  # decide on requests for a project's data
    REVOKE = "Revoke"  # take access away
    OVERSEE = "Oversee"  # see who did what with a project's own, and who may


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operation is told, besides what it is about."""

    def given(self) -> dict[str, Any]:
        """Return what was told by its names, without what was left out."""
        found = ((key, getattr(self, key)) for key in self.__struct_fields__)
        return {key: value for key, value in found if value is not None}


class Nothing(Ask, frozen=True):
    """There is nothing to tell."""


class Page(Ask, frozen=True):
    """Which part of a list.

    Attributes:
        limit: how many at most.
        cursor: `next` of the page before.
    """

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, Meta(max_length=200)] = ""


class Described(Ask, frozen=True, kw_only=True):
    """A name, and what it means."""

    name: Name
    description: Text = ""


class Redescribed(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    name: Name | None = None
    description: Text | None = None


class Named(Page, frozen=True, kw_only=True):
    """Which of them: those of a name; empty: all."""

    name: str = ""


class Done(msgspec.Struct, frozen=True):
    """The answer of what leaves nothing to show."""


class ToldOnce(msgspec.Struct, frozen=True):
    """An answer that is not kept to be given again: it holds a secret, or is gone when sent."""


class Download(ToldOnce, frozen=True):
    """A file as an answer; whoever sends it removes it.

    Attributes:
        path: where it is until then.
        name: what to call it.
    """

    path: str
    name: str


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked.

    Attributes:
        name: such as "CreateProject"; the action in Cedar, the `operationId` of OpenAPI.
        method, path: of HTTP; the first name in the path is the id of what it is about.
        on: kind of the record that it is about, and is decided on.
        right: what it takes.
        grant: the policy type that lets somebody do this in a unit; empty: none does.
        ask, answer: types. A list's answer is the type of its items.
        run: called with a `Call`, the record and what was asked.
        before: of a change that takes longer than others may wait: called like `run`, with no
            transaction open that changes anything; `run` gets what it returns instead of `ask`.
    """

    name: str
    method: str
    path: str
    on: type[Record]
    right: Right
    grant: str
    ask: type[Ask]
    answer: Any
    run: Callable[..., Any]
    before: Callable[..., Any] | None = None

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    @property
    def only_looks(self) -> bool:
        """Whether it changes no more than what the audit tells of who looked."""
        return self.is_read or self.right is Right.DISCOVER

    @property
    def action(self) -> Action:
        """Return what policies call it."""
        return Action(self.name, self.level)

    @property
    def level(self) -> str:
        """Return the least that a token must be good for: "read", "write" or "admin"."""
        if self.only_looks:
            return "read"
        return "admin" if self.right is Right.GOVERN else "write"

    @property
    def is_list(self) -> bool:
        """Whether it answers with a page of items."""
        return issubclass(self.ask, Page)

    @cached_property
    def many(self) -> frozenset[str]:
        """Return the names of what can be told several times."""
        hints = get_type_hints(self.ask)
        return frozenset(key for key, hint in hints.items() if get_origin(hint) is tuple)

    @property
    def about(self) -> str:
        """Return the name of the id in the path; empty: it is about the domain."""
        return self.names[0] if self.names else ""

    @property
    def names(self) -> list[str]:
        """List the names in the path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def subject(self) -> str:
        """Return the module it is in, under which help and documents list it."""
        return self.run.__module__.rpartition(".")[2]

    @property
    def told(self) -> str:
        """Return what it does, in words."""
        return getdoc(self.run) or ""


OPERATIONS: dict[str, Operation] = {}
Run = Callable[..., Any]


def operation(
    method: str, path: str, right: Right, *, grant: str = "", before: Run | None = None
) -> Callable[[Run], Run]:
    """Make an operation of a function `(call, record, ask) -> answer`; its types say the rest."""

    def register(run: Run) -> Run:
        answer = get_type_hints(run)["return"]
        hints = {k: v for k, v in get_type_hints(before or run).items() if k != "return"}
        kinds = list(hints.values())[1:]
        name = "".join(part.capitalize() for part in run.__name__.split("_"))
        made = Operation(
            name=name,
            method=method,
            path=path,
            on=kinds[0],
            right=right,
            grant=grant,
            ask=kinds[1] if len(kinds) > 1 else Nothing,
            answer=get_args(answer)[0] if get_origin(answer) is Iterator else answer,
            run=run if len(kinds) > 1 else _without_ask(run),
            before=before,
        )
        assert name not in OPERATIONS, name
        OPERATIONS[name] = made
        return run

    return register


def _without_ask(run: Run) -> Run:
    @wraps(run)
    def called(call: Any, record: Any, _: Any) -> Any:
        return run(call, record)

    return called


def viewing(kind: type[Record]) -> Action:
    """Return the action of looking at a kind of thing: who may not has never heard of it.

    >>> from atoll.mesh.model.organisation import DomainUnit
    >>> viewing(DomainUnit).name
    'GetDomainUnit'
    """
    return Action(f"Get{kind.__name__}", "read")


def actions() -> str:
    """Write the operations down as actions of a Cedar schema, each in the group of its right."""
    context = "context: { scopes: Set<String>, is_in_scope: Bool }"
    told = [f'action "{right}";' for right in Right]
    for one in OPERATIONS.values():
        about = f"principal: [User, Service], resource: [{one.on.__name__}], {context}"
        told.append(f'action "{one.name}" in ["{one.right}"] appliesTo {{ {about} }};')
    return "\n".join(told)
