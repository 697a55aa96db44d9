"""What projects and domain units are called, remembered until one of them changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from atoll.mesh.model.organisation import DomainUnit, Project


class Names:
    """Remembers the names that were looked up."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: tuple[int, dict[str, str]] = (0, {})

    def of(
        self,
        ids: Iterable[str],
        number: int,
        find: Callable[[set[str]], Iterable[Project | DomainUnit]],
    ) -> dict[str, str]:
        """Name projects or domain units.

        Args:
            ids: theirs.
            number: of the last change of a project or domain unit.
            find: looks up those that are not known.

        Returns:
            Names by id, of these and of others; none of what is not there.
        """
        as_of, known = self._known
        if as_of != number:
            known = {}
        if unknown := set(ids) - known.keys():
            known.update({one.id: one.name for one in find(unknown)})
            self._known = number, known
        return known
