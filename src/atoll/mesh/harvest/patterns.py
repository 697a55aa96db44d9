"""Which assets of a source are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from atoll.core.errors import InvalidInput
from atoll.mesh.harvest.layout import folders_of
from atoll.mesh.harvest.model import Source

MAX_PATTERNS, MAX_PATTERN_CHARACTERS = 100, 500


def check_patterns(source: Source) -> None:
    """Make sure that patterns are few and short.

    Raises:
        InvalidInput: they are not, or one is empty.
    """
    patterns = (*source.include, *source.exclude)
    if len(patterns) > MAX_PATTERNS:
        raise InvalidInput(f"{len(patterns)} patterns; {MAX_PATTERNS} are the most")
    if not all(0 < len(each) <= MAX_PATTERN_CHARACTERS for each in patterns):
        raise InvalidInput(f"a pattern has 1 to {MAX_PATTERN_CHARACTERS} characters")


def is_wanted(source: Source, path: str) -> bool:
    """Tell whether the asset at a path is wanted; see `Source`."""
    names = [path, *folders_of(path)]
    is_in = not source.include or _matches(names, source.include)
    return is_in and not _matches(names, source.exclude)


def _matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    whole = [pattern.rstrip("/") for pattern in patterns]
    return any(fnmatchcase(name, pattern) for name in names for pattern in whole)
