"""What a part of a blueprint is: how it is read from a mesh, and changed in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from atoll.core.errors import InvalidInput
from atoll.mesh.cli.blueprint.remote import Remote, read
from atoll.mesh.cli.blueprint.specs import Spec

S = TypeVar("S", bound=Spec)


class Section(Generic[S]):
    """One part of a blueprint, or some fields of it that others must be there for.

    Attributes:
        name: its key in the file.
        noun: what one of its things is.
        spec: what the file says of one.
        makes: whether it makes things; else it changes those of another section of its name.
        fields: of the spec, that it cares for; empty: all.
        shape: of keys with two names in them, such as "PROJECT/NAME".
        needs: fields without which none is made.
        fixed: fields that do not change once it is there.
        waits: values of fields that are left to a later section, one that makes nothing: what is
            disabled is not newly used, so all that uses it comes first.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    spec: type[S]
    makes: ClassVar[bool] = True
    fields: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[tuple[str, ...]] = ()
    waits: ClassVar[Mapping[str, Any]] = {}

    def current(self, mesh: Remote) -> Iterator[tuple[str, S]]:
        """Yield what is there by its key; what is told twice is not touched."""
        raise NotImplementedError

    def create(self, mesh: Remote, key: str, spec: S) -> None:
        """Make what is not there; `update` follows with what else it should be."""

    def update(self, mesh: Remote, key: str, before: S, changed: dict[str, Any]) -> None:
        """Change what is there.

        Args:
            mesh: where.
            key: of the thing.
            before: as it is; just made: as `current` reads it then.
            changed: fields of the spec that should be otherwise.
        """
        raise NotImplementedError

    def names(self, key: str) -> tuple[str, str]:
        """Read a key with two names in it.

        Raises:
            InvalidInput: it is none.
        """
        first, _, second = key.partition("/")
        if not first or not second or "/" in second:
            raise InvalidInput(f"'{key}' is no {self.noun}'s name; write {self.shape}")
        return read(first), read(second)

    def told(self, spec: Spec) -> dict[str, Any]:
        """Return what a spec says of what this section cares for."""
        return given(spec, *(self.fields or spec.__struct_fields__))

    def is_absent(self, spec: S) -> bool:
        """Tell whether a spec says that the thing is gone: it is neither made nor exported."""
        return False

    def rank(self, key: str) -> int:
        """Say when a thing is changed: those of a lower rank come first, else as in the file."""
        return 0

    def now(self, changed: dict[str, Any]) -> dict[str, Any]:
        """Return the changes that do not wait."""
        waits = self.waits if self.makes else {}
        return {key: one for key, one in changed.items() if waits.get(key) != one}

    def check_new(self, key: str, spec: S) -> None:
        """See that all is said that a new one needs.

        Raises:
            InvalidInput: something is missing, or the key is none.
        """
        if self.shape:
            self.names(key)
        for field in self.needs:
            if getattr(spec, field) is None:
                raise InvalidInput(
                    f"{self.noun} '{key}' is not there yet, and is made only with a `{field}`; "
                    "add it"
                )

    def check_fixed(self, key: str, changed: dict[str, Any]) -> None:
        """See that nothing is to be changed that cannot.

        Raises:
            InvalidInput: something is.
        """
        if others := [field for field in self.fixed if field in changed]:
            raise InvalidInput(
                f"{', '.join(others)} of {self.noun} '{key}' cannot be changed; say it as it is, "
                "or make another one"
            )


def given(spec: Spec, *fields: str) -> dict[str, Any]:
    """Return some fields of a spec, those that it says something of."""
    found = {field: getattr(spec, field) for field in fields}
    return {field: value for field, value in found.items() if value is not None}
