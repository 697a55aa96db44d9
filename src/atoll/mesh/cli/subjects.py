"""The commands in the order in which somebody meets them, by subject."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from atoll.mesh.operations.registry import Operation

# Modules of `atoll.mesh.service`.
SUBJECTS = {
    "People": "people sessions notices",
    "Organisation": "organisation guardrails places policies",
    "Words, forms and rules": "glossaries forms rules proposals",
    "Assets": "asset_types registering assets revisions sources duplicates sensitivity quality "
    "products listings filters",
    "Finding": "listed search rows",
    "Access": "requests comments delegations subscriptions mydata targets grants reclassification "
    "reviews",
    "Audit": "audit",
}
FIRST, OTHERS = "To begin with", "More"
_MARGIN = 6  # around the two columns of a section


class OperationCommand(click.Command):
    """The command of an operation."""

    def __init__(self, operation: Operation, **given: Any) -> None:
        """Make one; see `click.Command`."""
        super().__init__(**given)
        self.operation = operation


class Subjects(click.Group):
    """Commands whose help lists them by subject."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, one line each; those of no operation first."""
        for title, commands in by_subject(self.commands.values()).items():
            widest = max(len(str(one.name)) for one in commands)
            most = formatter.width - widest - _MARGIN
            with formatter.section(title):
                formatter.write_dl(
                    [(str(one.name), one.get_short_help_str(most)) for one in commands],
                    col_max=widest,
                )


def by_subject(commands: Iterable[click.Command]) -> dict[str, list[click.Command]]:
    """Sort commands under the titles of their subjects; what has none of its own comes last."""
    titles = {module: title for title, modules in SUBJECTS.items() for module in modules.split()}
    order = list(titles)
    found: dict[str, list[click.Command]] = {title: [] for title in (FIRST, *SUBJECTS, OTHERS)}
    places: list[tuple[int, click.Command]] = []
    for one in commands:
        if not isinstance(one, OperationCommand):
            found[FIRST].append(one)
        elif one.operation.subject in titles:
            places.append((order.index(one.operation.subject), one))
        else:
            found[OTHERS].append(one)
    for place, one in sorted(places, key=lambda each: each[0]):
        found[titles[order[place]]].append(one)
    return {title: some for title, some in found.items() if some}
