"""Writes docs/mesh-operations.md from the operations themselves: python tests/mesh_reference.py"""

import inspect
import pkgutil
import re
from enum import StrEnum
from importlib import import_module
from pathlib import Path

import click

from atoll.mesh import model
from atoll.mesh.cli import subjects
from atoll.mesh.cli.commands import command, dashed
from atoll.mesh.operations.registry import Right, actions
from atoll.mesh.policies.decisions import Authorizer
from atoll.mesh.service import OPERATIONS

PAGE = Path(__file__).parents[1] / "docs" / "mesh-operations.md"
HEAD = """# Operations of the mesh

Written by `tests/mesh_reference.py` from the operations themselves. What they are for:
[the mesh](mesh.md); who may call them: [access](mesh-access.md). Common to all:

- **HTTP.** Paths begin with `/v1`; `/v1/openapi.json` describes them with all fields. What GET
  takes is in the query, what the others take is JSON. A list answers `{"items": [...], "next":
  "..."}`; `limit`, 100 if left out and 1,000 at most, and `cursor`, the `next` of the page before,
  choose a page; an empty `next` ends the list. Answers about one thing carry an `ETag`; `If-Match`
  with it refuses a change of what has changed since. A call repeated with the same
  `Idempotency-Key` is answered as it was and carried out once; rows are read anew.
- **Commands.** What stands in capitals is an id, or a name, see `--help`; what stands
  in brackets may be left out, what ends in dots be given several times. All take `--json`,
  lists `--limit N`, and those that change something `--if-match ETAG`. What is not a plain value is
  JSON, or `@FILE` with it.
- **Right, scope.** [Rights](#rights) are groups of operations that the policies speak of. The scope
  is the least that a token must be good for: `read`, `write` or `admin`.
"""
# No operation shows these.
HIDDEN = {"StrEnum", "ProofType"}


def page():
    """The page as it should be."""
    parts = [HEAD]
    for title, operations in by_subject().items():
        parts.append(f"## {title}\n")
        parts.append(rows("operation | HTTP | command | right, scope | what it does", operations))
    told = Authorizer(actions()).named
    parts += [
        "## Rights\n",
        rows("right | policies that give it", [(f"`{one}`", givers(one, told)) for one in Right]),
        "## Policies\n",
        rows("policy | what it says", [(f"`{name}`", said(told[name])) for name in sorted(told)]),
        "## Values\n",
        rows("of | values | what it says", values()),
    ]
    return "\n".join(parts)


def by_subject():
    """The rows of each subject."""
    sorted_ = subjects.by_subject(map(command, OPERATIONS.values()))
    return {title: [row(one.operation) for one in some] for title, some in sorted_.items()}


def row(one):
    """What a table tells of an operation."""
    told = " ".join(one.told.split("\n\n")[0].split())
    return (
        f"`{one.name}`",
        f"`{one.method} {one.path}`",
        f"`atoll mesh {dashed(one.name)}{usage(command(one))}`",
        f"{one.right}, {one.level}",
        told,
    )


def usage(command):
    """The arguments and options of a command, as its page shows them."""
    found = ""
    for one in command.params:
        if isinstance(one, click.Argument):
            found += f" {one.human_readable_name.upper()}"
        elif one.name not in ("as_json", "at_most", "if_match"):
            flag = "/".join([*one.opts, *one.secondary_opts])
            found += f" {flag}" if one.required else f" [{flag}]"
            found += "..." if one.multiple else ""
    return found


def givers(right, told):
    """The policies that permit what takes a right."""
    named = rf'Action::"{right}"'
    return ", ".join(f"`{name}`" for name, text in sorted(told.items()) if named in text)


def said(text):
    """A policy's description."""
    return re.search(r'@description\("([^"]+)"\)', text)[1]


def values():
    """All words that fields of records take, and what they say."""
    told = {name: " ".join(inspect.getdoc(kind).split()) for name, kind in kinds().items()}
    return [
        (f"`{name}`", ", ".join(f"`{one}`" for one in found), told[name])
        for name, found in sorted(words().items())
    ]


def words():
    """The words of each kind of field."""
    return {name: [str(one) for one in kind] for name, kind in kinds().items()}


def kinds():
    """The enumerations of the model, by name."""
    modules = [f"{model.__name__}.{one.name}" for one in pkgutil.iter_modules(model.__path__)]
    found = [one for name in modules for one in vars(import_module(name)).values()]
    listed = [one for one in found if inspect.isclass(one) and issubclass(one, StrEnum)]
    return {one.__name__: one for one in listed if one.__name__ not in HIDDEN}


def rows(head, cells):
    """A table."""
    width = head.count("|") + 1
    lines = [f"| {head} |", f"|{' --- |' * width}"]
    lines += [f"| {' | '.join(one)} |" for one in cells]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
