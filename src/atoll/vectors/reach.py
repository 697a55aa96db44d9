"""Refuses work whose tasks could not reach what it reads or writes."""

from __future__ import annotations

from collections.abc import Iterable

from atoll.compute.port import Executor
from atoll.core.errors import InvalidInput
from atoll.storage import Storage, local_path
from atoll.vectors.planning import Planned


def require_shared(executor: Executor | None, places: Iterable[str | Storage]) -> None:
    """Refuse places of this machine where tasks run on others.

    Args:
        executor: where they run; None is this machine.
        places: paths or URLs.

    Raises:
        InvalidInput: one is a folder, or the memory, of this machine.
    """
    if executor is None or executor.is_local:
        return
    for place in places:
        url = place.url if isinstance(place, Storage) else place
        if local_path(url) is None and not url.startswith("memory:"):
            continue
        raise InvalidInput(
            f"{place} lies on this machine, where the executor's machines cannot reach it; use an "
            "object store, or an executor that shares this machine's files",
            place=str(place),
        )


def require_shared_build(executor: Executor | None, planned: Planned) -> None:
    """Refuse a build whose sources or collection the executor's machines cannot reach.

    Raises:
        InvalidInput: one lies on this machine.
    """
    require_shared(executor, [planned.storage, *planned.sources])
